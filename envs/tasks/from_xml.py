"""MuJoCo environments whose model is a string, not a file."""

from typing import Any, ClassVar

import mujoco
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv


class FromXML(MujocoEnv):
    """A `MujocoEnv` of the model `xml`, which has a camera named "above"."""

    xml: ClassVar[str]

    def __init__(
        self, frame_skip: int, observation_space: spaces.Space[Any], **kwargs: Any
    ) -> None:
        # Gymnasium needs the path of an existing file; _initialize_simulation reads `xml` instead.
        super().__init__(__file__, frame_skip, observation_space, camera_name="above", **kwargs)

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = mujoco.MjModel.from_xml_string(self.xml)
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)
