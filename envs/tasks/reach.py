"""Reacher's arm with a goal observation: move the arm to another posture.

The joint limit of the elbow plays the part of the wall in `rooms`: postures on both sides of it
have similar observations, but the way between them is nearly a full turn.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from numpy.typing import NDArray

from worldplan.envs.physics import frame_at

Floats = NDArray[np.float64]

TOLERANCE = 0.02  # m between the tip and its position at the goal; the arm is 0.21 m long
TORQUE = 0.25  # of Reacher's torque, which at full size turns the arm 30 times a second

_ABOVE = {"lookat": np.zeros(3), "distance": 0.6, "elevation": -90.0, "azimuth": 90.0}


class Reach(ReacherEnv):
    """Gymnasium's Reacher-v5 without its target: the same arm, and frames of 0.02 s.

    Observation (6,): cosines and sines of both joint angles, and their velocities in 10 rad/s.
    Action (2,): torques, up to `TORQUE` of Reacher's. An episode starts at rest in a random
    posture. `goal_observation` is the observation of another random posture at rest. When the tip
    is within `TOLERANCE` of its position at the goal, the reward is 1 and the episode ends; all
    other rewards are 0.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"default_camera_config": _ABOVE, **kwargs})
        self.observation_space = spaces.Box(-np.inf, np.inf, (6,), np.float64)
        self.action_space = spaces.Box(-TORQUE, TORQUE, (2,), np.float32)
        self.goal_observation: Floats = np.zeros(6)
        self._goal: Floats = np.zeros(2)  # its joint angles

    def step(self, action: Any) -> tuple[Floats, np.float64, bool, bool, dict[str, np.float64]]:
        self.do_simulation(action, self.frame_skip)
        # Reacher's target, which collides with nothing, is at the tip's position at the goal.
        away = self.data.body("fingertip").xpos - self.data.body("target").xpos
        reached = bool(np.linalg.norm(away[:2]) <= TOLERANCE)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self._get_obs(), np.float64(reached), reached, False, {}

    def reset_model(self) -> Floats:
        start, self._goal = self._postures()
        self._put(self._goal)
        self.goal_observation = self._get_obs()
        self.data.qpos[2:] = self.data.body("fingertip").xpos[:2]
        self._put(start)
        return self._get_obs()

    def goal_frame(self) -> Any:
        """A rendered frame of the arm in the goal's posture."""
        return frame_at(self, np.concatenate([self._goal, self.data.qpos[2:]]))

    def hide_goal(self) -> None:
        """Draws no goal, so that frames show what is and not what ought to be."""
        self.model.geom("target").rgba[3] = 0

    def _put(self, angles: Floats) -> None:
        self.data.qpos[:2] = angles
        mujoco.mj_forward(self.model, self.data)

    def _postures(self) -> Floats:
        """Joint angles (2, 2) of two random postures whose tips are apart."""
        while True:
            angles = self.np_random.uniform([-np.pi, -3.0], [np.pi, 3.0], (2, 2))
            shoulder, elbow = angles[:, 0], angles.sum(1)
            tips = 0.1 * np.exp(1j * shoulder) + 0.11 * np.exp(1j * elbow)
            if abs(tips[0] - tips[1]) > 2 * TOLERANCE:
                return angles

    def _get_obs(self) -> Floats:
        angles, speeds = self.data.qpos[:2], self.data.qvel[:2]
        return np.concatenate([np.cos(angles), np.sin(angles), speeds / 10])
