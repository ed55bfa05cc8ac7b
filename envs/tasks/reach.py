"""Reacher's arm, with a goal that is another observation: bring the arm to another posture.

The elbow's stop is what the wall is in `rooms`: postures on both sides of it look alike and lie
nearly a whole turn apart.
"""

from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOLERANCE = 0.02  # metres between the tip and its place at the goal; the arm reaches 0.21
TORQUE = 0.25  # of Reacher's, all of which turns the arm 30 times a second


class Reach(ReacherEnv):
    """Gymnasium's Reacher-v5 without its target: same arm and frames of 0.02 s.

    Observation (6,): cosine and sine of both joints' angles, their velocities in rad/s over 10.
    Action (2,): torques, up to `TORQUE` of Reacher's. An episode begins at rest in a random
    posture with `goal_observation`, that of another random posture at rest. Bringing the tip
    within `TOLERANCE` of where it is at the goal gives reward 1 and ends the episode; all other
    rewards are 0.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = spaces.Box(-np.inf, np.inf, (6,), np.float64)
        self.action_space = spaces.Box(-TORQUE, TORQUE, (2,), np.float32)
        self.goal_observation: Floats = np.zeros(6)

    def step(self, action: Any) -> tuple[Floats, np.float64, bool, bool, dict[str, np.float64]]:
        self.do_simulation(action, self.frame_skip)
        # Reacher's target, a ball that nothing collides with, marks the tip's place at the goal.
        away = self.data.body("fingertip").xpos - self.data.body("target").xpos
        reached = bool(np.linalg.norm(away[:2]) <= TOLERANCE)
        if self.render_mode == "human":
            self.render()  # type: ignore[no-untyped-call]
        return self._get_obs(), np.float64(reached), reached, False, {}

    def reset_model(self) -> Floats:
        start, end = self._postures()
        self._put(end)
        self.goal_observation = self._get_obs()
        self.data.qpos[2:] = self.data.body("fingertip").xpos[:2]
        self._put(start)
        return self._get_obs()

    def _put(self, angles: Floats) -> None:
        self.data.qpos[:2] = angles
        mujoco.mj_forward(self.model, self.data)

    def _postures(self) -> Floats:
        """Two pairs of angles, over all that the joints allow, whose tips are apart."""
        while True:
            angles = self.np_random.uniform([-np.pi, -3.0], [np.pi, 3.0], (2, 2))
            shoulder, elbow = angles[:, 0], angles.sum(1)
            tips = 0.1 * np.exp(1j * shoulder) + 0.11 * np.exp(1j * elbow)
            if abs(tips[0] - tips[1]) > 2 * TOLERANCE:
                return angles

    def _get_obs(self) -> Floats:
        angles, speeds = self.data.qpos[:2], self.data.qvel[:2]
        return np.concatenate([np.cos(angles), np.sin(angles), speeds / 10])
