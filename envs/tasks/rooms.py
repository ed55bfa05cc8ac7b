"""Two rooms and a door: a point must reach a place in the other room.

A common small test of planning in a latent space: Two-Rooms of PLDM (Sobal et al. 2025,
https://arxiv.org/abs/2502.14819) and Wall of DINO-WM (Zhou et al. 2024,
https://arxiv.org/abs/2411.04983), which observe images from above. Here it is a MuJoCo model and
coordinates are observed. The straight line to the goal ends at the wall: an agent that minimises
the distance between observations is stuck there.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldplan.envs.physics import frame_at
from worldplan.envs.tasks.from_xml import FromXML

Floats = NDArray[np.float64]

RADIUS = 0.05  # of the point, which is a ball
WALL = 0.05  # half the thickness of the wall at x = 0
DOOR = (0.3, 0.7)  # the wall's opening in y
TOLERANCE = 0.1  # the goal is reached within this distance

_XML = f"""
<mujoco model="two rooms">
  <option timestep="0.005" gravity="0 0 0"/>
  <visual><headlight ambient="0.6 0.6 0.6" diffuse="0.4 0.4 0.4"/></visual>
  <default>
    <!-- Frictionless and hard: the ball slides along walls and sinks in by less than 0.02. -->
    <geom condim="1" solref="0.01 1"/>
    <default class="wall"><geom type="box" rgba="0.35 0.38 0.45 1"/></default>
  </default>
  <worldbody>
    <camera name="above" pos="0 0 3.2" fovy="40"/>
    <geom type="plane" size="1.2 1.2 0.1" pos="0 0 -0.06" contype="0" conaffinity="0"
          rgba="0.93 0.93 0.9 1"/>
    <geom class="wall" pos="-1.05 0 0" size="0.05 1.1 0.06"/>
    <geom class="wall" pos="1.05 0 0" size="0.05 1.1 0.06"/>
    <geom class="wall" pos="0 -1.05 0" size="1 0.05 0.06"/>
    <geom class="wall" pos="0 1.05 0" size="1 0.05 0.06"/>
    <geom class="wall" pos="0 {(DOOR[0] - 1) / 2} 0" size="{WALL} {(DOOR[0] + 1) / 2} 0.06"/>
    <geom class="wall" pos="0 {(DOOR[1] + 1) / 2} 0" size="{WALL} {(1 - DOOR[1]) / 2} 0.06"/>
    <site name="goal" type="cylinder" size="{TOLERANCE} 0.002" pos="0 0 -0.05"
          rgba="0.2 0.7 0.3 0.7"/>
    <body name="ball">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <geom type="sphere" size="{RADIUS}" mass="1" rgba="0.85 0.3 0.2 1"/>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="x" kv="100" ctrlrange="-1.5 1.5"/>
    <velocity joint="y" kv="100" ctrlrange="-1.5 1.5"/>
  </actuator>
</mujoco>
"""


class TwoRooms(FromXML):
    """A ball in a square [-1, 1] x [-1, 1] with a wall at x = 0, open for y in `DOOR`.

    Observation (2,): the ball's centre (x, y), within +-0.95, or 0.97 where it presses a wall.
    Action (2,): target velocity, up to 1.5/s in each direction, which the ball follows with a lag
    of 0.005 s. A frame lasts 0.02 s. An episode starts at a random place in a random room.
    `goal_observation` is a random place in the other room. When the ball is within `TOLERANCE` of
    it, the reward is 1 and the episode ends; all other rewards are 0.
    """

    xml = _XML
    metadata = {  # noqa: RUF012 (gymnasium's own)
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 50,
    }

    def __init__(self, **kwargs: Any) -> None:
        space = spaces.Box(-1.0, 1.0, (2,), np.float64)
        super().__init__(4, space, **kwargs)
        self.goal_observation: Floats = np.zeros(2)

    def step(self, action: Any) -> tuple[Floats, np.float64, bool, bool, dict[str, np.float64]]:
        self.do_simulation(action, self.frame_skip)
        observation: Floats = self.data.qpos.copy()
        reached = bool(np.linalg.norm(observation - self.goal_observation) <= TOLERANCE)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return observation, np.float64(reached), reached, False, {}

    def reset_model(self) -> Floats:
        side = self.np_random.choice([-1.0, 1.0])
        start, self.goal_observation = self._place(side), self._place(-side)
        self.model.site("goal").pos[:2] = self.goal_observation
        self.data.qpos[:] = start
        mujoco.mj_forward(self.model, self.data)
        return start

    def goal_frame(self) -> Any:
        """A rendered frame of the ball at the goal."""
        return frame_at(self, self.goal_observation)

    def hide_goal(self) -> None:
        """Draws no goal, so that frames show what is and not what ought to be."""
        self.model.site("goal").rgba[3] = 0

    def _place(self, side: float) -> Floats:
        """A random place (2,) in the room on that side, which touches no wall."""
        x = self.np_random.uniform(WALL + RADIUS, 1 - RADIUS)
        return np.array([side * x, self.np_random.uniform(RADIUS - 1, 1 - RADIUS)])
