"""Finds an OpenGL backend that can render on this machine."""

import functools
import os
import subprocess
import sys

# A backend can be installed and not work (EGL without a GPU), so a frame is rendered.
_PROBE = """
import mujoco
ball = '<mujoco><worldbody><geom size="1"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(ball)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 8, 8)
renderer.update_scene(data)
assert renderer.render().any()
"""


def choose_backend() -> str:
    """The value of MUJOCO_GL for rendering: the one that is set, if it works, else the first.

    MuJoCo and dm_control select their backend when they are imported: give the returned value to
    `backend.use` before the first environment is made. Each backend is tried in a separate
    process, which takes about a second.

    Raises:
        ValueError: no backend works; the message names the packages to install.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen and _works(chosen):
        return chosen
    if not sys.platform.startswith("linux"):
        return "glfw"
    display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    for backend in (*(["glfw"] if display else []), "egl", "osmesa"):
        if backend != chosen and _works(backend):
            return backend
    raise ValueError(
        "no OpenGL backend can render here: install libegl1 (with a GPU) or libosmesa6 (without), "
        "for example with `apt-get install libosmesa6`"
    )


@functools.cache
def _works(backend: str) -> bool:
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE],  # -P: ignore modules in the current folder
            env={**os.environ, "MUJOCO_GL": backend},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0
