"""Simulates many trajectories of an environment at once, with MuJoCo and the task's own reward.

Shapes: R trajectories, T decisions, K = T * action repeat frames, n physics steps per frame,
S state (MuJoCo's, then the task's), A action, U controls, V velocities, E random numbers per
decision.
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
from worldplan.envs.rewards import Bools, Floats, Frames, FrameStart, task_of
from worldplan.envs.spec import EnvConfig, EnvironmentSpec

# Arguments of gymnasium.make that do not change the reward.
_ALLOWED_KWARGS = ("frame_skip", "max_episode_steps", "reset_noise_scale", "task_kwargs")
_CONTROL = mujoco.mjtState.mjSTATE_CTRL
_CONTROL_AND_FORCE = mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_QFRC_APPLIED
_MAX_BYTES = 2**26  # of the arrays of one call; more trajectories are split into several calls


@dataclass(frozen=True)
class Simulated:
    """R simulated trajectories of T decisions."""

    states: Floats  # (R, T, S) after each decision; simulated beyond termination, too
    rewards: Floats  # (R, T), 0 after termination, NaN where the simulation became unstable
    terminated: Bools  # (R, T) whether the task has terminated by then


class Simulator:
    """Physics and reward of an environment, from any of its states.

    States, rewards and terminations equal those of the environment, except for the rounding of the
    initial state and the warm start of MuJoCo's solver. A trajectory depends neither on the number
    of threads nor on the other trajectories.

    Raises:
        ValueError: the reward cannot be computed from the state, or `kwargs` may change it.
    """

    def __init__(self, config: EnvConfig, threads: int = 0) -> None:
        """Makes an environment and copies its model. `threads` 0: one for each processor."""
        self._task = task_of(config.id)
        known = (*_ALLOWED_KWARGS, *self._task.kwargs)
        unknown = sorted(set(config.kwargs) - set(known))
        if unknown:
            raise ValueError(
                f"the reward of {config.id!r} is known for its default settings only, not with "
                f"{', '.join(unknown)}; expected env.kwargs among {', '.join(known)}"
            )
        self._kwargs = config.kwargs
        env = make_env(config.model_copy(update={"observe": "state"}))
        env.reset(seed=0)  # some tasks set constants of the model at the start of an episode
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
        self.uniform_dim = self._task.uniform_dim * self._repeat
        self._substeps = round(seconds / self._model.opt.timestep)  # physics steps per frame
        self._seconds = seconds
        threads = threads or os.cpu_count() or 1
        self._data = [mujoco.MjData(self._model) for _ in range(threads)]
        self._pool = rollout.Rollout(nthread=threads if threads > 1 else 0)

    def rollout(
        self, state: ArrayLike, actions: ArrayLike, uniform: ArrayLike | None = None
    ) -> Simulated:
        """Simulates T decisions from R states.

        Args:
            state: (R, S), as `ObserveState` returns it.
            actions: (R, T, A) in [-1, 1].
            uniform: (R, T, E) in [0, 1], E = `uniform_dim`, from which random events are computed.
                Uniform numbers give the environment's probabilities. Most tasks have E = 0.

        Raises:
            ValueError: wrong shapes, no trajectory or no decision.
        """
        start, acts = np.asarray(state, np.float64), np.asarray(actions, np.float32)
        rows, decisions = (max(1, n) for n in (*acts.shape, 1, 1)[:2])  # MuJoCo crashes on 0
        random = np.asarray(
            np.zeros((rows, decisions, 0)) if uniform is None else uniform, np.float64
        )
        expected = (
            (rows, self.state_dim),
            (rows, decisions, self.action_dim),
            (rows, decisions, self.uniform_dim),
        )
        if (start.shape, acts.shape, random.shape) != expected:
            is_random = self.uniform_dim or uniform is not None
            third = f", uniform (R, T, {self.uniform_dim})" if is_random else ""
            raise ValueError(
                f"expected states (R, {self.state_dim}) and actions (R, T, {self.action_dim})"
                f"{third} with R and T at least 1, got {start.shape} and {acts.shape}"
                f"{f', {random.shape}' if third else ''}"
            )
        steps = acts.shape[1] * self._repeat * self._substeps + self._task.sensors
        width = self.state_dim + self.action_dim + self._model.nsensordata
        turns = min(rows, -(-rows * steps * width * start.itemsize // _MAX_BYTES))
        split = (np.array_split(u, turns) for u in (start, acts, random))
        parts = [self._simulate(*part) for part in zip(*split, strict=True)]
        return Simulated(
            np.concatenate([p.states for p in parts]),
            np.concatenate([p.rewards for p in parts]),
            np.concatenate([p.terminated for p in parts]),
        )

    def _simulate(self, start: Floats, actions: NDArray[np.float32], uniform: Floats) -> Simulated:
        R, T, _ = actions.shape
        action = np.repeat(np.asarray(self._rescale(actions), np.float64), self._repeat, 1)
        if self._task.actuate is None:
            found = [self._frames(start, action)]
        else:  # frame by frame, because the actuation depends on the state
            random, found = uniform.reshape(R, T * self._repeat, -1), []
            for k in range(T * self._repeat):
                found.append(self._actuated(start, action[:, k], random[:, k]))
                start = found[-1].states[:, -1]
        states, reward, over = (
            np.concatenate([getattr(f, name) for f in found], 1)
            for name in ("states", "rewards", "terminated")
        )
        over = np.logical_or.accumulate(over, 1)
        reward[:, 1:][over[:, :-1]] = 0.0
        for k in range(1, states.shape[1]):  # an episode ends within a decision too
            states[over[:, k - 1], k] = states[over[:, k - 1], k - 1]
        last = slice(self._repeat - 1, None, self._repeat)
        return Simulated(states[:, last], reward.reshape(R, T, -1).sum(-1), over[:, last])

    def _actuated(self, start: Floats, action: Floats, uniform: Floats) -> Simulated:
        """One frame of a task with its own `actuate`."""
        assert self._task.actuate is not None
        nq, size = self._model.nq, self._size
        control, forces, task_state = self._task.actuate(
            FrameStart(start[:, 1 : 1 + nq], start[:, size:], action, uniform, self._kwargs)
        )
        actuation = np.concatenate([control, forces], -1)
        start = np.concatenate([start[:, :size], task_state], -1)
        return self._frames(start, action[:, None], actuation[:, None])

    def _frames(self, start: Floats, action: Floats, actuation: Floats | None = None) -> Simulated:
        """K frames. Their rewards and terminations do not depend on earlier terminations.

        Args:
            start: (R, S).
            action: (R, K, A) in the environment's own bounds.
            actuation: (R, K, U + V) controls and applied forces. None: the action is the control.
        """
        (R, K), n = action.shape[:2], self._substeps
        start, task_state = start[:, : self._size], start[:, None, self._size :]
        steps = np.repeat(action if actuation is None else actuation, n, axis=1)
        if self._task.sensors:  # one more physics step, see below
            steps = np.concatenate([steps, steps[:, -1:]], 1)
        spec = _CONTROL if actuation is None else _CONTROL_AND_FORCE
        path, sensors = self._pool.rollout(
            self._model, self._data, start, steps, control_spec=int(spec)
        )
        # MuJoCo reads its sensors before it moves: those of a state come with the next one.
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
            task_state=task_state,
            seconds=self._seconds,
        )
        reward, over = self._task.outcome(self._model, frames)
        # After an instability MuJoCo stops or resets, which its clock shows.
        clock = start[:, :1] + self._seconds * np.arange(1, K + 1)
        reward[np.abs(states[..., 0] - clock) > self._seconds / 2] = np.nan
        task_state = np.broadcast_to(task_state, (R, K, task_state.shape[-1]))
        return Simulated(np.concatenate([states, task_state], -1), reward, over)
