"""MuJoCo environments whose model is written down beside them, not in a file."""

from typing import Any, ClassVar

import mujoco
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv


class FromXML(MujocoEnv):
    """A `MujocoEnv` of the model `xml`, seen by its camera "above"."""

    xml: ClassVar[str]

    def __init__(
        self, frame_skip: int, observation_space: spaces.Space[Any], **kwargs: Any
    ) -> None:
        # The path is asked for and not read: see _initialize_simulation.
        super().__init__(__file__, frame_skip, observation_space, camera_name="above", **kwargs)

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = mujoco.MjModel.from_xml_string(self.xml)
        model.vis.global_.offwidth, model.vis.global_.offheight = self.width, self.height
        return model, mujoco.MjData(model)
