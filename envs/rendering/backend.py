"""MuJoCo's OpenGL backend, which MuJoCo chooses by MUJOCO_GL when it is imported.

Import this before MuJoCo: a backend that cannot work then breaks nothing where nothing is drawn.
"""

import importlib
import os
import sys
from typing import Any

_PLATFORM = "PYOPENGL_PLATFORM"  # MuJoCo sets it for what it chose
_CONTEXTS = ("mujoco.rendering.classic.gl_context", "mujoco.gl_context")


def _import_mujoco() -> str | None:
    """Imports MuJoCo; returns the backend with which that was not possible, or None."""
    wanted, platform = os.environ.get("MUJOCO_GL"), os.environ.get(_PLATFORM)
    if wanted is None:
        return None
    try:
        importlib.import_module("mujoco")
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError):
        os.environ.pop(_PLATFORM, None)
        if platform is not None:
            os.environ[_PLATFORM] = platform
        for name in list(sys.modules):  # half imported; another backend needs them whole
            if name.split(".")[0] == "OpenGL" or name in ("mujoco.osmesa", "mujoco.egl"):
                del sys.modules[name]
        os.environ["MUJOCO_GL"] = "off"
        try:
            importlib.import_module("mujoco")
        finally:
            os.environ["MUJOCO_GL"] = wanted
        return wanted
    return None


_broken = _import_mujoco()


def is_broken() -> bool:
    """Whether MUJOCO_GL names a backend with which MuJoCo cannot be imported."""
    return _broken is not None and os.environ.get("MUJOCO_GL") == _broken


def use(backend: str) -> None:
    """Sets MUJOCO_GL, also for MuJoCo's own renderer, which has been imported by now."""
    os.environ["MUJOCO_GL"] = backend
    mujoco: Any = importlib.import_module("mujoco")
    for name in _CONTEXTS:
        if name in sys.modules:
            context = importlib.reload(sys.modules[name])
            mujoco.GLContext = getattr(context, "GLContext", None)
