"""Several copies of one environment, which are never reset automatically.

Shapes: B environments, D observation, A action.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldplan.envs.actions import Array
from worldplan.envs.spec import EnvConfig, EnvironmentSpec
from worldplan.envs.wrappers import FlatEnv

Mask = NDArray[np.bool_]
Seeds = Sequence[int] | NDArray[np.integer[Any]]


class VectorEnv:
    """B environments that are stepped together, for a planner that makes B plans at once.

    Gymnasium's own vector environments step every copy at every call. Evaluation has to leave out
    those whose episode has ended. All returned arrays are copies.

    `max_episode_steps` is the environment's time limit in decisions, `seconds_per_frame` what it
    simulates in one step of its own; None if unknown.
    """

    def __init__(self, envs: Sequence[FlatEnv], config: EnvConfig | None = None) -> None:
        """Takes environments that `make_env` made, by `config` if it is given.

        Raises:
            ValueError: others, or copies whose spaces differ.
        """
        self._envs = list(envs)
        self.num_envs = len(self._envs)
        self.spec = EnvironmentSpec.of(self._envs[0], config)
        for env in self._envs[1:]:
            self.spec.check_same(EnvironmentSpec.of(env, config), of="its first copy")
        self.max_episode_steps: int | None = self._envs[0].get_wrapper_attr("max_episode_steps")
        self.seconds_per_frame: float | None = self._envs[0].metadata.get("seconds_per_frame")
        self._observations: Array = np.zeros(
            (self.num_envs, *self.spec.observation.shape), self.spec.observation.dtype
        )

    def reset(self, seeds: Seeds, mask: Mask | None = None) -> Array:
        """Starts new episodes where `mask` (B,) is true; by default everywhere.

        Args:
            seeds: (B,) reset seeds. Where the mask is false they are not used.
            mask: (B,) bool.

        Returns:
            All observations (B, D); where the mask is false, the last ones.

        Raises:
            ValueError: wrong number of seeds, or wrong mask.
        """
        mask = self._mask(mask)
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, one per environment: got {seeds}")
        for i in np.flatnonzero(mask).tolist():
            self._observations[i], _ = self._envs[i].reset(seed=int(seeds[i]))
        return self._observations.copy()

    def step(self, actions: Array, active: Mask | None = None) -> tuple[Array, Array, Mask, Mask]:
        """Steps the environments where `active` (B,) is true; by default all. Never resets.

        Args:
            actions: (B, A), as `make_env` takes them.
            active: (B,) bool.

        Returns:
            Observations (B, D), rewards (B,), terminated (B,) and truncated (B,). At the end of
            an episode the observation is its final one. An environment that is not active keeps
            its observation, with reward 0 and both flags false.

        Raises:
            ValueError: wrong shape of actions, or wrong mask.
            EnvironmentFault: see `wrappers.Flat`.
        """
        active = self._mask(active)
        expected = (self.num_envs, self.spec.action.size)
        if np.shape(actions) != expected:
            raise ValueError(f"expected actions of shape {expected}, got {np.shape(actions)}")
        rewards = np.zeros(self.num_envs, np.float32)
        terminated = np.zeros(self.num_envs, np.bool_)
        truncated = np.zeros(self.num_envs, np.bool_)
        for i in np.flatnonzero(active).tolist():
            # A copy, because some environments store the action that they get.
            action = np.array(actions[i], np.float32)
            observation, reward, terminated[i], truncated[i], _ = self._envs[i].step(action)
            self._observations[i], rewards[i] = observation, reward
        return self._observations.copy(), rewards, terminated, truncated

    def goals(self) -> Array | None:
        """Goal observations (B, D) of the current episodes; None if the task has no goals."""
        return goals_of(self._envs)

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _mask(self, mask: Mask | None) -> Mask:
        mask = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(f"expected a boolean mask of shape ({self.num_envs},), got {mask!r}")
        return mask


def goals_of(envs: Sequence[FlatEnv]) -> Array | None:
    """Goal observations (B, D) of the current episodes; None if the task has no goals."""
    if not envs[0].has_wrapper_attr("goal_observation"):  # as `EnvironmentSpec.sets_goals`
        return None
    goals = [env.get_wrapper_attr("goal_observation") for env in envs]
    return np.stack(goals).astype(np.float32)
