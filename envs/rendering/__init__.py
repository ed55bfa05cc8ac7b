"""How worlds are drawn: the OpenGL backend, frames as pictures, a translucent second body."""
