"""Small environments for the tests. Importing registers them, as with a user's module."""

from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces

Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Point(gym.Env[np.ndarray, np.ndarray]):
    """A mass on a line, with reward 1 - |x|; terminates at |x| > 2.

    `limit` is its own time limit in steps. `fault_at` makes the observation NaN at that step.
    """

    def __init__(self, limit: int = 25, fault_at: int | None = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        self.action_space = spaces.Box(-1.0, 1.0, (1,))
        self.limit, self.fault_at = limit, fault_at

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        self.x = self.np_random.uniform(-1, 1, 2) * (1.0, 0.1)
        return self.x.astype(np.float32), {}

    def step(self, action: np.ndarray) -> Step:
        self.t += 1
        position, speed = self.x
        speed = 0.9 * speed + 0.2 * float(action[0])
        self.x = np.array([position + speed, speed])
        observation = self.x.astype(np.float32)
        if self.t == self.fault_at:
            observation[0] = np.nan
        fallen = bool(abs(self.x[0]) > 2)
        return observation, float(1 - abs(self.x[0])), fallen, self.t >= self.limit, {}


gym.register("ToyPoint-v0", entry_point="toy_envs:Point")


class Slider(gym.Env[np.ndarray, np.ndarray]):
    """A MuJoCo body that slides and spins without friction, with one action for each.

    In a decision of 0.1 s the speed changes by 0.1 times the action, then the position by 0.1 s
    times the new speed. Observation: position (not if `blind`), speed, cosine, sine, spin.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    XML = """<mujoco><option gravity="0 0 0" timestep="0.1"/><statistic extent="2"/>
      <worldbody><light pos="0 0 4"/>
      <body>
        <joint name="x" type="slide" axis="1 0 0"/><joint name="turn" type="hinge" axis="0 1 0"/>
        <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
        <geom type="box" size="0.4 0.1 0.1"/>
      </body>
    </worldbody><actuator><motor joint="x"/><motor joint="turn"/></actuator></mujoco>"""

    def __init__(
        self, blind: bool = False, limit: int = 60, render_mode: str | None = None
    ) -> None:
        self.model = mujoco.MjModel.from_xml_string(self.XML)
        self.data = mujoco.MjData(self.model)
        self.blind, self.limit, self.render_mode = blind, limit, render_mode
        self.observation_space = spaces.Box(-np.inf, np.inf, (4 if blind else 5,))
        self.action_space = spaces.Box(-1.0, 1.0, (2,))

    def _see(self) -> np.ndarray:
        (x, turn), (speed, spin) = self.data.qpos, self.data.qvel
        seen = np.array([x, speed, np.cos(turn), np.sin(turn), spin], np.float32)
        return seen[1:] if self.blind else seen

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.np_random.uniform(-1, 1, 2)
        self.data.qvel[:] = self.np_random.uniform(-1, 1, 2)
        mujoco.mj_forward(self.model, self.data)
        self.t = 0
        return self._see(), {}

    def step(self, action: np.ndarray) -> Step:
        self.t += 1
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data)
        return self._see(), 0.0, False, self.t >= self.limit, {}


gym.register("ToySlider-v0", entry_point="toy_envs:Slider")


class Levers(gym.Env[np.ndarray, np.ndarray]):
    """A mark on a line, moved by choices: left, stay or right, slow or fast. Reward 1 - |x|."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(-3, 3, (1,))
        self.action_space = spaces.MultiDiscrete([3, 2], start=[-1, 1])
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1)
        return np.array([self.x], np.float32), {}

    def step(self, action: np.ndarray) -> Step:
        assert action in self.action_space
        way, speed = action.tolist()
        self.t += 1
        self.x = float(np.clip(self.x + 0.1 * way * speed, -3, 3))
        return np.array([self.x], np.float32), 1 - abs(self.x), False, self.t >= 12, {}

    def render(self) -> Any:
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[:, int(32 + 10 * self.x)] = 255
        return picture


gym.register("ToyLevers-v0", entry_point="toy_envs:Levers")


class Dot(gym.Env[Any, np.ndarray]):
    """A bright square on a line, pushed left and right; reward 1 - |x|.

    It is seen as a picture (12, 16, 3), or beside its place as a number if `mixed`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, mixed: bool = False, render_mode: str | None = None) -> None:
        picture = spaces.Box(0, 255, (12, 16, 3), np.uint8)
        both = spaces.Dict({"camera": picture, "place": spaces.Box(-1, 1, (1,))})
        self.observation_space: spaces.Space[Any] = both if mixed else picture
        self.action_space = spaces.Box(-1.0, 1.0, (1,))
        self.mixed, self.render_mode = mixed, render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.x = 0, self.np_random.uniform(-1, 1)
        return self._see(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        self.x = float(np.clip(self.x + 0.3 * float(action[0]), -1, 1))
        return self._see(), 1 - abs(self.x), False, self.t >= 12, {}

    def render(self) -> Any:
        picture = np.zeros((12, 16, 3), np.uint8)
        left = round(6 * (self.x + 1))
        picture[4:8, left : left + 4] = (255, 100, 0)
        return picture

    def _see(self) -> Any:
        place = np.array([self.x], np.float32)
        return {"camera": self.render(), "place": place} if self.mixed else self.render()


gym.register("ToyDot-v0", entry_point="toy_envs:Dot")
gym.register("ToyDotMixed-v0", entry_point="toy_envs:Dot", kwargs={"mixed": True})


class Goal(Dot):
    """A square that sets a goal and cannot show it."""

    goal_observation = np.zeros(1)


gym.register("ToyGoal-v0", entry_point="toy_envs:Goal")
