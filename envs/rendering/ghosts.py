"""Pictures of a pose with other, translucent poses ("ghosts") over it.

Shapes: Q positions (MuJoCo's qpos), M ghosts.
"""

from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray

from worldplan.envs.physics import physics_of
from worldplan.envs.pose import Floats

_COLOUR = np.array([0.25, 0.55, 1.0], np.float32)
_CAMERA = ("type", "fixedcamid", "trackbodyid", "distance", "azimuth", "elevation")


class GhostRenderer:
    """Draws with the environment's own camera, and draws the moving bodies again for each ghost.

    Everything except the positions is copied from `env` by the constructor: make it after a reset.
    A camera that does not move looks at the place of the pose `position` (Q,).

    Raises:
        ValueError: the environment has no MuJoCo `model` and `data`.
    """

    def __init__(
        self, env: gym.Env[Any, Any], position: Floats, height: int = 480, width: int = 480
    ) -> None:
        found = physics_of(env)
        if found is None:
            raise ValueError(
                f"expected an environment with a MuJoCo model and data to draw, got {env.unwrapped}"
            )
        self._model, data = found
        self._data = mujoco.MjData(self._model)
        mujoco.mj_copyData(self._data, self._model, data)
        self._place(position)
        self._camera = _camera(env, self._model, self._data)
        self._renderer = mujoco.Renderer(self._model, height, width)

    def draw(self, position: Floats, ghosts: Floats, alpha: float) -> NDArray[np.uint8]:
        """Picture (height, width, 3) of position (Q,), with ghosts (M, Q) of opacity `alpha`."""
        scene = self._renderer.scene
        self._place(position)
        self._renderer.update_scene(self._data, self._camera)
        for ghost in ghosts:
            self._place(ghost)
            first = scene.ngeom
            mujoco.mjv_addGeoms(
                self._model, self._data, mujoco.MjvOption(), mujoco.MjvPerturb(),
                mujoco.mjtCatBit.mjCAT_DYNAMIC.value, scene,
            )  # fmt: skip
            for geom in scene.geoms[first : scene.ngeom]:
                geom.rgba[:3] = _COLOUR
                geom.rgba[3] *= alpha  # invisible geoms stay invisible
                geom.matid = -1
                geom.emission = 0.5  # visible in dark scenes
                geom.size[:] *= 1.02  # else it is random which of two equal surfaces is in front
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        self._renderer.close()

    def _place(self, position: Floats) -> None:
        self._data.qpos[:] = position
        mujoco.mj_fwdPosition(self._model, self._data)


def _camera(env: gym.Env[Any, Any], model: mujoco.MjModel, data: mujoco.MjData) -> Any:
    """The camera of Gymnasium's MuJoCo renderer, of dm_control by shimmy, else MuJoCo's own."""
    inner = env.unwrapped
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    renderer = getattr(inner, "mujoco_renderer", None)
    if renderer is None:
        fixed = (getattr(inner, "render_kwargs", None) or {}).get("camera_id", -1)
    else:
        fixed = renderer.camera_id
    if fixed is not None and fixed >= 0:
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED.value, fixed
    elif renderer is not None:
        # As Gymnasium's OffScreenViewer does for a model without a camera.
        camera.lookat[:] = np.median(data.geom_xpos, 0)
        camera.distance = model.stat.extent
        # By name, because a checkpoint may have named them.
        for name, value in (renderer.default_cam_config or {}).items():
            if name == "lookat":
                camera.lookat[:] = value
            elif name in _CAMERA:
                setattr(camera, name, value)
    return camera
