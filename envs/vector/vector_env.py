"""Several copies of one environment, which are never reset automatically.

Shapes: B environments, D observation, A action.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldplan.envs.actions import Array
from worldplan.envs.spec import EnvConfig, EnvironmentSpec
from worldplan.envs.wrappers import FlatEnv

Mask = NDArray[np.bool_]
Seeds = Sequence[int] | NDArray[np.integer[Any]]
Outcome = tuple[Array, Mask, Mask]
"""Rewards (B,), terminated (B,), truncated (B,)."""


class VectorEnv(ABC):
    """B environments that are stepped together, for a planner that makes B plans at once.

    Gymnasium's own vector environments step every copy at every call. Evaluation has to leave out
    those whose episode has ended. All returned arrays are copies.

    `max_episode_steps` is the environment's time limit in decisions, `seconds_per_frame` what it
    simulates in one step of its own; None if unknown.
    """

    def __init__(
        self,
        num_envs: int,
        spec: EnvironmentSpec,
        max_episode_steps: int | None = None,
        seconds_per_frame: float | None = None,
    ) -> None:
        self.num_envs, self.spec = num_envs, spec
        self.max_episode_steps, self.seconds_per_frame = max_episode_steps, seconds_per_frame
        self._observations: Array = np.zeros(
            (num_envs, *spec.observation.shape), spec.observation.dtype
        )

    @property
    def ready(self) -> Mask:
        """(B,) where a reset of some begins an episode at once; elsewhere after another step.

        A reset of all always does.
        """
        return np.ones(self.num_envs, np.bool_)

    @property
    def restarts(self) -> bool:
        """Whether an episode may begin where the last one has not ended."""
        return True

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
        self._reset([int(seed) for seed in seeds], mask)
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
        outcome = self._step(np.asarray(actions, np.float32), active)
        return self._observations.copy(), *outcome

    @abstractmethod
    def goals(self) -> Array | None:
        """Goal observations (B, D) of the current episodes; None if the task has no goals."""

    @abstractmethod
    def close(self) -> None:
        """Frees what the environments hold."""

    @abstractmethod
    def _reset(self, seeds: list[int], mask: Mask) -> None:
        """`reset`; sets the observations where the mask is true."""

    @abstractmethod
    def _step(self, actions: Array, active: Mask) -> Outcome:
        """`step`; sets the observations of those that are active."""

    def _nothing(self) -> Outcome:
        """The outcome of a step in which no environment is active."""
        over = np.zeros((2, self.num_envs), np.bool_)
        return np.zeros(self.num_envs, np.float32), over[0], over[1]

    def _mask(self, mask: Mask | None) -> Mask:
        mask = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(f"expected a boolean mask of shape ({self.num_envs},), got {mask!r}")
        return mask


class SyncVectorEnv(VectorEnv):
    """Environments in this process, one stepped after the other."""

    def __init__(self, envs: Sequence[FlatEnv], config: EnvConfig | None = None) -> None:
        """Takes environments that `make_env` made, by `config` if it is given.

        Raises:
            ValueError: others, or copies whose spaces differ.
        """
        self._envs = list(envs)
        first = self._envs[0]
        spec = EnvironmentSpec.of(first, config)
        for env in self._envs[1:]:
            spec.check_same(EnvironmentSpec.of(env, config), of="its first copy")
        seconds = first.metadata.get("seconds_per_frame")
        super().__init__(len(envs), spec, first.get_wrapper_attr("max_episode_steps"), seconds)

    def goals(self) -> Array | None:
        return goals_of(self._envs)

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _reset(self, seeds: list[int], mask: Mask) -> None:
        for i in np.flatnonzero(mask).tolist():
            self._observations[i], _ = self._envs[i].reset(seed=seeds[i])

    def _step(self, actions: Array, active: Mask) -> Outcome:
        rewards, terminated, truncated = self._nothing()
        for i in np.flatnonzero(active).tolist():
            # A copy, because some environments store the action that they get.
            observation, reward, terminated[i], truncated[i], _ = self._envs[i].step(
                actions[i].copy()
            )
            self._observations[i], rewards[i] = observation, reward
        return rewards, terminated, truncated


def goals_of(envs: Sequence[FlatEnv]) -> Array | None:
    """Goal observations (B, D) of the current episodes; None if the task has no goals."""
    if not envs[0].has_wrapper_attr("goal_observation"):  # as `EnvironmentSpec.sets_goals`
        return None
    goals = [env.get_wrapper_attr("goal_observation") for env in envs]
    return np.stack(goals).astype(np.float32)
