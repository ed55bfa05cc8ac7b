"""MuJoCo itself as a predictor: many trajectories at once, in threads, with the task's own reward.

Shapes: R trajectories, T decisions, K = T * action repeat frames, n physics steps of a frame,
S state, A action, E of chance.
"""

import copy
import os
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco import rollout
from numpy.typing import ArrayLike, NDArray

from worldplan.envs.make import make_env
from worldplan.envs.physics import STATE, physics_of
from worldplan.envs.rewards import Bools, Floats, Frames, Onset, task_of
from worldplan.envs.spec import EnvConfig, EnvironmentSpec

# Of gymnasium.make's arguments, those that leave the reward as it is.
_HARMLESS = ("frame_skip", "max_episode_steps", "reset_noise_scale", "task_kwargs")
_CONTROL = mujoco.mjtState.mjSTATE_CTRL
_DRIVE = mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_QFRC_APPLIED
_MOST = 2**26  # bytes of one call's arrays; more trajectories are done in turns


@dataclass(frozen=True)
class Simulated:
    """What R trajectories of T decisions came to."""

    states: Floats  # (R, T, S) after each decision; where the task has ended they go on regardless
    rewards: Floats  # (R, T) 0 once the task has ended; NaN where the simulation broke
    terminated: Bools  # (R, T) the task had ended by then


class Simulator:
    """An environment's physics and reward, from any of its states.

    Positions, rewards and ends are those of the environment itself, up to the rounding of the state
    that it starts from and the warm start of MuJoCo's solver. Results depend neither on the number
    of threads nor on what else is simulated.

    Raises:
        ValueError: the reward cannot be computed from the state, or is changed by `kwargs`.
    """

    def __init__(self, config: EnvConfig, threads: int = 0) -> None:
        """Copies the model of an environment of its own; threads 0: one for each processor."""
        self._task = task_of(config.id)
        known = (*_HARMLESS, *self._task.kwargs)
        unknown = sorted(set(config.kwargs) - set(known))
        if unknown:
            raise ValueError(
                f"the reward of {config.id!r} is known as it is by default, not with "
                f"{', '.join(unknown)}; expected no env.kwargs but {', '.join(known)}"
            )
        self._kwargs = config.kwargs
        env = make_env(config.model_copy(update={"observe": "state"}))
        env.reset(seed=0)  # some tasks set constants of the model when they start an episode
        found = physics_of(env)
        assert found is not None
        self._model = copy.copy(found[0])
        self._size = mujoco.mj_stateSize(self._model, STATE)
        self._rescale = env.get_wrapper_attr("rescale")
        seconds: float = env.get_wrapper_attr("dt")
        self.spec = EnvironmentSpec.of(env, config)
        self.state_dim, self.action_dim = self.spec.observation.size, self.spec.action.size
        env.close()
        self._repeat = config.action_repeat
        self.chances = self._task.chances * self._repeat
        self._substeps = round(seconds / self._model.opt.timestep)  # physics steps of a frame
        self._seconds = seconds
        threads = threads or os.cpu_count() or 1
        self._data = [mujoco.MjData(self._model) for _ in range(threads)]
        self._pool = rollout.Rollout(nthread=threads if threads > 1 else 0)

    def rollout(
        self, state: ArrayLike, actions: ArrayLike, chance: ArrayLike | None = None
    ) -> Simulated:
        """Acts from states (R, S), as `ObserveState` shows them, for T decisions (R, T, A).

        Args:
            chance: (R, T, E) numbers in [0, 1], E = `chances`, which decide what is random: as
                often as in the environment, if they are uniform. Most tasks have none.

        Raises:
            ValueError: another shape, no trajectory or no decision.
        """
        start, acts = np.asarray(state, np.float64), np.asarray(actions, np.float32)
        rows, decisions = (max(1, n) for n in (*acts.shape, 1, 1)[:2])  # MuJoCo crashes on none
        lots = np.asarray(np.zeros((rows, decisions, 0)) if chance is None else chance, np.float64)
        expected = (
            (rows, self.state_dim),
            (rows, decisions, self.action_dim),
            (rows, decisions, self.chances),
        )
        if (start.shape, acts.shape, lots.shape) != expected:
            lot = f", chance (R, T, {self.chances})" if self.chances or chance is not None else ""
            raise ValueError(
                f"expected states (R, {self.state_dim}) and actions (R, T, {self.action_dim}){lot} "
                f"with R and T at least 1, got {start.shape} and {acts.shape}"
                f"{f', {lots.shape}' if lot else ''}"
            )
        steps = acts.shape[1] * self._repeat * self._substeps + self._task.sensors
        width = self.state_dim + self.action_dim + self._model.nsensordata
        turns = min(rows, -(-rows * steps * width * start.itemsize // _MOST))
        split = (np.array_split(u, turns) for u in (start, acts, lots))
        parts = [self._simulate(*part) for part in zip(*split, strict=True)]
        return Simulated(
            np.concatenate([p.states for p in parts]),
            np.concatenate([p.rewards for p in parts]),
            np.concatenate([p.terminated for p in parts]),
        )

    def _simulate(self, start: Floats, actions: NDArray[np.float32], chance: Floats) -> Simulated:
        R, T, _ = actions.shape
        action = np.repeat(np.asarray(self._rescale(actions), np.float64), self._repeat, 1)
        if self._task.drive is None:
            found = [self._frames(start, action)]
        else:  # one by one: what comes hangs on where one is
            lots, found = chance.reshape(R, T * self._repeat, -1), []
            for k in range(T * self._repeat):
                found.append(self._driven(start, action[:, k], lots[:, k]))
                start = found[-1].states[:, -1]
        states, reward, over = (
            np.concatenate([getattr(f, name) for f in found], 1)
            for name in ("states", "rewards", "terminated")
        )
        over = np.logical_or.accumulate(over, 1)
        reward[:, 1:][over[:, :-1]] = 0.0
        last = slice(self._repeat - 1, None, self._repeat)
        return Simulated(states[:, last], reward.reshape(R, T, -1).sum(-1), over[:, last])

    def _driven(self, start: Floats, action: Floats, chance: Floats) -> Simulated:
        """A frame of a task that says itself what actions do."""
        assert self._task.drive is not None
        nq, size = self._model.nq, self._size
        control, forces, beside = self._task.drive(
            Onset(start[:, 1 : 1 + nq], start[:, size:], action, chance, self._kwargs)
        )
        drive = np.concatenate([control, forces], -1)
        after = np.concatenate([start[:, :size], beside], -1)
        return self._frames(after, action[:, None], drive[:, None])

    def _frames(self, start: Floats, action: Floats, drive: Floats | None = None) -> Simulated:
        """K frames each on its own: rewards and ends as if none had ended before.

        Args:
            start: (R, S), action: (R, K, A), drive: (R, K, U + V) controls and applied forces,
                where they are not the action.
        """
        (R, K), n = action.shape[:2], self._substeps
        start, beside = start[:, : self._size], start[:, None, self._size :]
        steps = np.repeat(action if drive is None else drive, n, axis=1)
        if self._task.sensors:  # one physics step more, see below
            steps = np.concatenate([steps, steps[:, -1:]], 1)
        spec = _CONTROL if drive is None else _DRIVE
        path, sensors = self._pool.rollout(
            self._model, self._data, start, steps, control_spec=int(spec)
        )
        # MuJoCo measures before it moves: what it measures of a state comes with the next one.
        sensors = sensors[:, n::n]
        path = path[:, : K * n].reshape(R, K, n, -1)
        states = path[:, :, -1]
        nq, nv = self._model.nq, self._model.nv
        before = np.concatenate([start[:, None], states[:, :-1]], 1)
        frames = Frames(
            before=before[..., 1 : 1 + nq],
            qpos=states[..., 1 : 1 + nq],
            qvel=states[..., 1 + nq : 1 + nq + nv],
            path=path[..., 1 : 1 + nq],
            action=action,
            sensors=sensors,
            beside=beside,
            seconds=self._seconds,
        )
        reward, over = self._task.outcome(self._model, frames)
        # MuJoCo stands still, or starts anew, once it has become unstable.
        clock = start[:, :1] + self._seconds * np.arange(1, K + 1)
        reward[np.abs(states[..., 0] - clock) > self._seconds / 2] = np.nan
        beside = np.broadcast_to(beside, (R, K, beside.shape[-1]))
        return Simulated(np.concatenate([states, beside], -1), reward, over)
