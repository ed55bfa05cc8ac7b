"""MuJoCo within an environment: its model, its data and its full state.

Shapes: S state.
"""

from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from worldplan.envs.rewards import task_state_of

STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS  # time, qpos, qvel, activations, plugins


def physics_of(env: gym.Env[Any, Any]) -> tuple[mujoco.MjModel, mujoco.MjData] | None:
    """MuJoCo's model and data of an environment of Gymnasium or dm_control; else None."""
    inner = env.unwrapped
    physics = getattr(inner, "physics", None)
    model, data = getattr(inner, "model", None), getattr(inner, "data", None)
    if physics is not None:
        model, data = getattr(physics.model, "ptr", None), getattr(physics.data, "ptr", None)
    known = isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)
    return (model, data) if known else None


def frame_at(env: MujocoEnv, positions: NDArray[np.float64]) -> Any:
    """Renders an environment with other positions (qpos), at rest; its state stays as it is."""
    kept = np.empty(mujoco.mj_stateSize(env.model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(env.model, env.data, kept, mujoco.mjtState.mjSTATE_INTEGRATION)
    env.data.qpos[:], env.data.qvel[:] = positions, 0
    mujoco.mj_forward(env.model, env.data)
    frame = env.render()  # type: ignore[no-untyped-call]
    mujoco.mj_setState(env.model, env.data, kept, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(env.model, env.data)
    return frame


class ObserveState(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Replaces the observation by MuJoCo's state (S,).

    The state is `mjSTATE_FULLPHYSICS` (time, positions, velocities, activations), followed by the
    task's own state, such as a goal (`rewards.task_state_of`). The future depends on nothing else
    but random events and the solver's warm start. `Flat` rounds it to float32, seven digits.

    Raises:
        ValueError: the environment has no MuJoCo `model` and `data`.
    """

    def __init__(self, env: gym.Env[Any, Any], name: str) -> None:
        RecordConstructorArgs.__init__(self, name=name)
        super().__init__(env)
        self.name = name
        self.observation_space = spaces.Box(-np.inf, np.inf, self._state().shape, np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        _, info = self.env.reset(seed=seed, options=options)
        return self._state(), info

    def step(self, action: Any) -> tuple[NDArray[np.float64], Any, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._state(), reward, terminated, truncated, info

    def _state(self) -> NDArray[np.float64]:
        found = physics_of(self.env)
        if found is None:
            raise ValueError(
                f"{self.name!r}: observe=state needs an environment that shows MuJoCo's model and "
                "data, as Gymnasium's and dm_control's do; expected observe=observation"
            )
        model, data = found
        state = np.empty(mujoco.mj_stateSize(model, STATE))
        mujoco.mj_getState(model, data, state, STATE)
        return np.concatenate([state, task_state_of(self.name, model, data)])
