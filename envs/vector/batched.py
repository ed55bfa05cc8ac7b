"""Environments that step as one batch: any of `gymnasium.vector`, such as a simulator on a GPU.

Shapes: B environments, D observation, A action.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from worldplan.envs.actions import Array, decoder
from worldplan.envs.observations.pictures import is_picture, resized
from worldplan.envs.spec import EnvConfig, EnvironmentSpec
from worldplan.envs.vector.vector_env import Mask, Outcome, VectorEnv
from worldplan.envs.wrappers import EnvironmentFault, FlatEnv

Batch = gym.vector.VectorEnv[Any, Any, Any]


class BatchedVectorEnv(VectorEnv):
    """A vector environment of Gymnasium's, which steps all its B at every call.

    Those that are not active step too, and nobody sees it. Where an episode ends, its true last
    observation is returned, and the next reset begins the episode that the environment has begun
    by itself (autoreset modes NEXT_STEP, after one step in which it is not `ready`, and SAME_STEP)
    or is told to begin (DISABLED). A reset of all is always one of the environment itself.

    Gymnasium's own vector environments take a seed for each copy, others one for all, the first.
    What resets itself draws its later episodes from that, too.
    """

    def __init__(self, env: Batch, one: FlatEnv, side: int, config: EnvConfig | None) -> None:
        """Takes the environment, and `one` of it as `make_env` would make it; see `adapt_vector`.

        Args:
            side: height and width of pictures.

        Raises:
            ValueError: it does not say in which mode it resets itself.
        """
        self._mode = _mode_of(env)
        self._env, self._side = env, side
        self._name = one.get_wrapper_attr("name")
        limit = one.get_wrapper_attr("max_episode_steps")
        super().__init__(env.num_envs, EnvironmentSpec.of(one, config), limit)
        self._decode = decoder(env.single_action_space)
        self._idle = np.zeros(self.spec.action.size, np.float32)  # an action that is valid
        if self.spec.action.choices is not None:
            self._idle[self.spec.action.starts] = 1
        # Its own are one ahead of what is seen from outside.
        self._now = self._observations.copy()
        self._ended = np.zeros(self.num_envs, np.bool_)  # it, and has not begun anew
        self._over = np.ones(self.num_envs, np.bool_)  # the episode that is seen, or none was
        self._begun = np.zeros(self.num_envs, np.bool_)  # by itself, with the observation of now

    @property
    def ready(self) -> Mask:
        if self._mode is AutoresetMode.NEXT_STEP:
            return ~self._over | self._begun
        return super().ready

    @property
    def restarts(self) -> bool:
        return self._mode is AutoresetMode.DISABLED or self.num_envs == 1

    def goals(self) -> None:
        return None

    def close(self) -> None:
        self._env.close()

    def _reset(self, seeds: list[int], mask: Mask) -> None:
        if mask.all():
            self._restart(seeds, mask, None)
        elif self._mode is AutoresetMode.DISABLED:
            self._restart(seeds, mask, {"reset_mask": mask.copy()})
        elif (mask & ~self._begun).any():
            raise ValueError(
                f"{self._name}: expected a reset of all, or of those whose episode has ended and "
                f"which are ready, for it resets itself ({self._mode}); got {mask!r}"
            )
        self._check_finite(self._now, mask)
        self._observations[mask] = self._now[mask]
        self._over &= ~mask
        self._begun &= ~mask

    def _restart(self, seeds: list[int], mask: Mask, options: dict[str, Any] | None) -> None:
        own = gym.vector.SyncVectorEnv | gym.vector.AsyncVectorEnv
        seed: Any = seeds if isinstance(self._env.unwrapped, own) else seeds[mask.argmax()]
        seen, _ = self._env.reset(seed=seed, options=options)
        self._now[mask] = self._flat(seen)[mask]
        self._ended &= ~mask

    def _step(self, actions: Array, active: Mask) -> Outcome:
        if (active & self._over).any():
            raise gym.error.ResetNeeded(f"{self._name}: the episode is over, call reset first")
        if not self.spec.action.valid(actions[active]).all():
            expected = self.spec.action.expected
            raise ValueError(f"{self._name}: expected as actions {expected}, got {actions!r}")
        begins = self._ended & ~active
        if self._mode is AutoresetMode.DISABLED and begins.any():  # none may step after its end
            self._env.reset(options={"reset_mask": begins})
        taken = self._decode(np.where(active[:, None], actions, self._idle))
        seen, given, *flags, infos = self._env.step(taken)
        reward = as_numbers(given).reshape(self.num_envs).astype(np.float32)
        terminated, truncated = (
            as_numbers(flag).reshape(self.num_envs).astype(np.bool_) for flag in flags
        )
        done = terminated | truncated
        self._now = self._flat(seen)
        last = self._now.copy()
        if self._mode is AutoresetMode.SAME_STEP:
            for i in np.flatnonzero(done & active).tolist():
                space = self._env.single_observation_space
                alone = _batch_of_one(space, _final(space, infos, i))
                last[i] = flattened(space, alone, self._side)[0]
        self._check_finite(last, active)
        self._check_finite(reward[:, None], active, "reward")
        self._observations[active] = last[active]
        self._over |= done & active
        self._begun = done if self._mode is AutoresetMode.SAME_STEP else self._ended
        self._ended = done
        return np.where(active, reward, np.float32(0)), terminated & active, truncated & active

    def _flat(self, seen: Any) -> NDArray[Any]:
        """Observations of the environment as (B, D)."""
        found = flattened(self._env.single_observation_space, seen, self._side)
        if found.shape != self._observations.shape:
            raise ValueError(
                f"{self._name}: expected observations of {self._observations.shape} numbers, got "
                f"{found.shape}"
            )
        with np.errstate(over="ignore"):  # overflow gives inf, which is reported
            rounded: NDArray[Any] = found.astype(self._observations.dtype)
        return rounded

    def _check_finite(self, x: NDArray[Any], where: Mask, what: str = "observation") -> None:
        wrong = where & ~np.isfinite(x).all(1)
        if wrong.any():
            i = int(wrong.argmax())
            raise EnvironmentFault(
                f"{self._name}, environment {i} of the batch: the {what} is not finite: {x[i]}"
            )


class One(gym.Env[Any, Any]):
    """A vector environment of one as a single environment; it is never seen to reset itself."""

    def __init__(self, env: Batch) -> None:
        self.batch, self._mode = env, _mode_of(env)
        self.observation_space = env.single_observation_space
        self.action_space = env.single_action_space
        self.spec, self.render_mode = env.spec, env.render_mode
        self.metadata = {key: env.metadata[key] for key in env.metadata if key != "autoreset_mode"}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        seen, _ = self.batch.reset(seed=seed, options=options)
        return _row(self.observation_space, seen, 0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        taken = np.asarray(action, self.batch.action_space.dtype)[None]
        seen, reward, terminated, truncated, infos = self.batch.step(taken)
        over = bool(as_numbers(terminated)[0]), bool(as_numbers(truncated)[0])
        observation = _row(self.observation_space, seen, 0)
        if any(over) and self._mode is AutoresetMode.SAME_STEP:
            observation = _final(self.observation_space, infos, 0)
        return observation, float(as_numbers(reward)[0]), *over, {}

    def render(self) -> Any:
        frames = self.batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        self.batch.close()


def _mode_of(env: Batch) -> AutoresetMode:
    """How the environment resets itself. Raises ValueError if it does not say."""
    told = env.metadata.get("autoreset_mode")
    for mode in AutoresetMode:
        if told in (mode, mode.value):
            return mode
    raise ValueError(
        f"expected metadata['autoreset_mode'] of the vector environment {env} to be a "
        f"gymnasium.vector.AutoresetMode, got {told!r}"
    )


def _final(space: spaces.Space[Any], infos: dict[str, Any], i: int) -> Any:
    """The last observation of an episode that has ended where the next one has begun already."""
    found = infos.get("final_obs", infos.get("final_observation"))
    if found is None:
        raise ValueError(
            "expected the last observations of episodes in infos['final_obs'] of a vector "
            f"environment that resets itself in the same step, got {', '.join(infos) or '{}'}"
        )
    alone = isinstance(found, np.ndarray) and found.dtype == object  # not as a batch
    return found[i] if alone else _row(space, found, i)


def as_numbers(given: Any) -> NDArray[Any]:
    """What an environment gives as an array: of PyTorch too, from any device."""
    for door in ("detach", "cpu"):
        given = getattr(given, door)() if hasattr(given, door) else given
    return np.asarray(given)


def flattened(space: spaces.Space[Any], given: Any, side: int) -> NDArray[Any]:
    """B observations of a space, given as one batch, as (B, D): the rows are those of `Flat`."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        return np.concatenate([flattened(part, given[key], side) for key, part in parts], 1)
    rows = as_numbers(given)
    if is_picture(space):
        rows = np.stack([resized(row, side) for row in rows])
    if isinstance(space, spaces.Box):
        return rows.reshape(len(rows), -1)
    flat: list[Any] = [spaces.flatten(space, row) for row in rows]
    return np.stack(flat)


def _row(space: spaces.Space[Any], given: Any, i: int) -> Any:
    """One observation of a batch."""
    if isinstance(space, spaces.Dict):
        return {key: _row(part, given[key], i) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_row(part, x, i) for part, x in zip(space.spaces, given, strict=True))
    return as_numbers(given)[i]


def _batch_of_one(space: spaces.Space[Any], given: Any) -> Any:
    """Inverse of `_row`."""
    if isinstance(space, spaces.Dict):
        return {key: _batch_of_one(part, given[key]) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_batch_of_one(p, x) for p, x in zip(space.spaces, given, strict=True))
    return as_numbers(given)[None]
