"""An agent outside of training: at a fixed rate, behind a socket, or as one file."""
