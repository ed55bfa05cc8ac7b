"""MuJoCo itself as a predictor: many trajectories at once, in threads, with the task's own reward.

Shapes: R trajectories, T decisions, K = T * action repeat frames, S state, A action.
"""

import copy
import os
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco import rollout
from numpy.typing import ArrayLike, NDArray

from worldplan.envs.make import EnvConfig, make_env
from worldplan.envs.physics import STATE, physics_of
from worldplan.envs.rewards import Bools, Floats, Frames, task_of

# Of gymnasium.make's arguments, those that leave the reward as it is.
_HARMLESS = ("frame_skip", "max_episode_steps", "reset_noise_scale", "task_kwargs")
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
        unknown = sorted(set(config.kwargs) - set(_HARMLESS))
        if unknown:
            raise ValueError(
                f"the reward of {config.id!r} is known as it is by default, not with "
                f"{', '.join(unknown)}; expected no env.kwargs but {', '.join(_HARMLESS)}"
            )
        env = make_env(config.model_copy(update={"observe": "state"}))
        env.reset(seed=0)  # some tasks set constants of the model when they start an episode
        found = physics_of(env)
        assert found is not None
        self._model = copy.copy(found[0])
        self._rescale = env.get_wrapper_attr("rescale")
        seconds: float = env.get_wrapper_attr("dt")
        (self.state_dim,) = env.observation_space.shape or (0,)
        (self.action_dim,) = env.action_space.shape or (0,)
        env.close()
        self._repeat = config.action_repeat
        self._substeps = round(seconds / self._model.opt.timestep)  # physics steps of a frame
        self._seconds = seconds
        threads = threads or os.cpu_count() or 1
        self._data = [mujoco.MjData(self._model) for _ in range(threads)]
        self._pool = rollout.Rollout(nthread=threads if threads > 1 else 0)

    def rollout(self, state: ArrayLike, actions: ArrayLike) -> Simulated:
        """Acts from states (R, S), as `ObserveState` shows them, for T decisions (R, T, A).

        Raises:
            ValueError: another shape, or no decision.
        """
        start, acts = np.asarray(state, np.float64), np.asarray(actions, np.float32)
        expected = (len(start), self.state_dim), (len(start), max(1, *acts.shape[1:2]))
        if start.shape != expected[0] or acts.shape != (*expected[1], self.action_dim):
            raise ValueError(
                f"expected states (R, {self.state_dim}) and actions (R, T, {self.action_dim}) "
                f"with T at least 1, got {start.shape} and {acts.shape}"
            )
        steps = acts.shape[1] * self._repeat * self._substeps + self._task.sensors
        width = self.state_dim + self.action_dim + self._model.nsensordata
        turns = max(1, -(-len(start) * steps * width * start.itemsize // _MOST))
        parts = [
            self._simulate(*part)
            for part in zip(np.array_split(start, turns), np.array_split(acts, turns), strict=True)
        ]
        return Simulated(
            np.concatenate([p.states for p in parts]),
            np.concatenate([p.rewards for p in parts]),
            np.concatenate([p.terminated for p in parts]),
        )

    def _simulate(self, start: Floats, actions: NDArray[np.float32]) -> Simulated:
        R, T, _ = actions.shape
        K, n = T * self._repeat, self._substeps
        size = mujoco.mj_stateSize(self._model, STATE)
        start, goal = start[:, :size], start[:, None, size:]
        control = np.asarray(self._rescale(actions), np.float64)
        steps = np.repeat(control, self._repeat * n, axis=1)
        if self._task.sensors:  # one physics step more, see below
            steps = np.concatenate([steps, steps[:, -1:]], 1)
        states, sensors = self._pool.rollout(self._model, self._data, start, steps)
        # MuJoCo measures before it moves: what it measures of a state comes with the next one.
        sensors = sensors[:, n::n]
        states = states[:, n - 1 : K * n : n]
        frames = self._frames(start, states, np.repeat(control, self._repeat, 1), sensors, goal)
        reward, over = self._task.outcome(self._model, frames)
        # MuJoCo stands still, or starts anew, once it has become unstable.
        clock = start[:, :1] + self._seconds * np.arange(1, K + 1)
        reward[np.abs(states[..., 0] - clock) > self._seconds / 2] = np.nan
        over = np.logical_or.accumulate(over, 1)
        reward[:, 1:][over[:, :-1]] = 0.0
        last = slice(self._repeat - 1, None, self._repeat)
        states = np.concatenate([states, np.broadcast_to(goal, (R, K, goal.shape[-1]))], -1)
        return Simulated(states[:, last], reward.reshape(R, T, -1).sum(-1), over[:, last])

    def _frames(
        self, start: Floats, states: Floats, control: Floats, sensors: Floats, goal: Floats
    ) -> Frames:
        nq, nv = self._model.nq, self._model.nv
        before = np.concatenate([start[:, None], states[:, :-1]], 1)
        return Frames(
            before=before[..., 1 : 1 + nq],
            qpos=states[..., 1 : 1 + nq],
            qvel=states[..., 1 + nq : 1 + nq + nv],
            control=control,
            sensors=sensors,
            goal=goal,
            seconds=self._seconds,
        )
