"""Rewards and ends of tasks, computed from MuJoCo's state for many trajectories at once.

They repeat what the environments compute one step at a time: Gymnasium's v5 tasks and dm_control's
suite. To add a task, write a function of `Frames` and give it a line in `TASKS`.

Shapes: R trajectories, K frames (steps of the environment), n physics steps of a frame,
Q positions, V velocities, A action, U controls, G numbers beside MuJoCo's state, E of chance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldplan.envs.tasks import gorge

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Frames:
    """What happened in K frames of R trajectories."""

    before: Floats  # (R, K, Q) positions where each frame began
    qpos: Floats  # (R, K, Q) and where it ended
    qvel: Floats  # (R, K, V)
    path: Floats  # (R, K, n, Q) positions after each physics step
    action: Floats  # (R, K, A) as the environment got it
    sensors: Floats  # (R, K, sensordata) of position and velocity; of no frames unless asked for
    beside: Floats  # (R, 1, G)
    seconds: float  # of a frame


Outcome = tuple[Floats, Bools]  # reward (R, K), and whether the task ended there (R, K)


@dataclass(frozen=True)
class Onset:
    """Where R trajectories stand when a frame begins."""

    qpos: Floats  # (R, Q)
    beside: Floats  # (R, G)
    action: Floats  # (R, A) as the environment gets it
    chance: Floats  # (R, E) uniform in [0, 1]
    kwargs: Mapping[str, Any]  # of the environment


Driven = tuple[Floats, Floats, Floats]  # controls (R, U), applied forces (R, V), beside (R, G)


@dataclass(frozen=True)
class Task:
    """How a task is judged: what frames give, what it keeps beside the state, what it reads."""

    outcome: Callable[[mujoco.MjModel, Frames], Outcome]
    # (G,) what else the future hangs on: a goal, say, that is drawn anew for each episode
    beside: Callable[[mujoco.MjModel, mujoco.MjData], Floats] | None = None
    sensors: bool = False
    # What an action does to MuJoCo where it is not simply its control; then by chance, perhaps.
    drive: Callable[[Onset], Driven] | None = None
    chances: int = 0  # E, of a frame
    kwargs: tuple[str, ...] = ()  # of the environment, that `drive` knows of


def task_of(env_id: str) -> Task:
    """The task of an environment's id.

    Raises:
        ValueError: its reward cannot be computed from the state; names the tasks whose can.
    """
    name = _name(env_id)
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1, cutoff=0.7)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"the reward of {name!r} cannot be computed from MuJoCo's state: nobody wrote down "
            f"how.{hint} It can for {', '.join(TASKS)}"
        )
    return TASKS[name]


def beside_of(env_id: str, model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    """What the future hangs on beside the state (G,); nothing for most tasks, and unknown ones."""
    task = TASKS.get(_name(env_id))
    return np.empty(0) if task is None or task.beside is None else task.beside(model, data)


def _name(env_id: str) -> str:
    return env_id.rpartition(":")[2]


def _lasting(reward: Floats) -> Outcome:
    """Of a task that only its time limit ends."""
    return reward, np.zeros(reward.shape, np.bool_)


# --- Gymnasium, v5. Where its integrator is Runge-Kutta, what it reads of bodies and sites is a
# fraction of a physics step old (MuJoCo's last stage); here it is of the frame's end.


def _inverted_pendulum(model: mujoco.MjModel, f: Frames) -> Outcome:
    fallen = ~(np.abs(f.qpos[..., 1]) <= 0.2)  # NaN has fallen too
    return (~fallen).astype(np.float64), fallen


def _inverted_double_pendulum(model: mujoco.MjModel, f: Frames) -> Outcome:
    first, second = model.body("pole2").pos[2], model.site("tip").pos[2]
    angle = f.qpos[..., 1]
    both = angle + f.qpos[..., 2]
    x = f.qpos[..., 0] + first * np.sin(angle) + second * np.sin(both)
    y = first * np.cos(angle) + second * np.cos(both)
    fallen = y <= 1
    distance = 0.01 * x**2 + (y - 2) ** 2
    speed = 1e-3 * f.qvel[..., 1] ** 2 + 5e-3 * f.qvel[..., 2] ** 2
    return 10.0 * ~fallen - distance - speed, fallen


def _reacher(model: mujoco.MjModel, f: Frames) -> Outcome:
    lengths = model.body("body1").pos[0], model.body("fingertip").pos[0]
    reach = _two_links(f.qpos, *lengths) - f.qpos[..., 2:4]
    return _lasting(-np.linalg.norm(reach, axis=-1) - _squares(f.action))


def _half_cheetah(model: mujoco.MjModel, f: Frames) -> Outcome:
    return _lasting(_advance(f) - 0.1 * _squares(f.action))


def _hopper(model: mujoco.MjModel, f: Frames) -> Outcome:
    height, angle = f.qpos[..., 1], f.qpos[..., 2]
    rest = np.concatenate([f.qpos[..., 2:], f.qvel], -1)
    healthy = (np.abs(rest) < 100).all(-1) & (height > 0.7) & (np.abs(angle) < 0.2)
    return _advance(f) + healthy - 1e-3 * _squares(f.action), ~healthy


def _walker2d(model: mujoco.MjModel, f: Frames) -> Outcome:
    height, angle = f.qpos[..., 1], f.qpos[..., 2]
    healthy = (height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0)
    return _advance(f) + healthy - 1e-3 * _squares(f.action), ~healthy


def _advance(f: Frames) -> Floats:
    """Mean speed along x within each frame (R, K), m/s."""
    speed: Floats = (f.qpos[..., 0] - f.before[..., 0]) / f.seconds
    return speed


def _squares(control: Floats) -> Floats:
    total: Floats = np.square(control).sum(-1)
    return total


# --- dm_control's suite


def _cartpole_swingup(model: mujoco.MjModel, f: Frames) -> Outcome:
    upright = (np.cos(f.qpos[..., 1]) + 1) / 2
    centred = (1 + _gaussian(f.qpos[..., 0] / 2)) / 2
    small_control = (4 + np.maximum(1 - f.action[..., 0] ** 2, 0)) / 5
    small_velocity = (1 + _gaussian(f.qvel[..., 1] / 5)) / 2
    return _lasting(upright * small_control * small_velocity * centred)


def _ball_in_cup_catch(model: mujoco.MjModel, f: Frames) -> Outcome:
    target, room = model.site("target"), model.geom("ball").size[0]
    cup = (model.body("cup").pos + target.pos)[[0, 2]] + f.qpos[..., :2]
    ball = model.body("ball").pos[[0, 2]] + f.qpos[..., 2:4]
    inside = np.abs(cup - ball) < target.size[[0, 2]] - room
    return _lasting(inside.all(-1).astype(np.float64))


def _finger_spin(model: mujoco.MjModel, f: Frames) -> Outcome:
    return _lasting((f.qvel[..., 2] <= -15.0).astype(np.float64))


def _reacher_easy(model: mujoco.MjModel, f: Frames) -> Outcome:
    lengths = model.body("hand").pos[0], model.body("finger").pos[0]
    distance = np.linalg.norm(_two_links(f.qpos, *lengths) - f.beside, axis=-1)
    radii = model.geom("target").size[0] + model.geom("finger").size[0]
    return _lasting((distance <= radii).astype(np.float64))


def _reacher_goal(model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    place: Floats = model.geom("target").pos[:2].copy()
    return place


def _cheetah_run(model: mujoco.MjModel, f: Frames) -> Outcome:
    return _lasting(np.clip(_speed(model, f) / 10, 0, 1))


def _walker_walk(model: mujoco.MjModel, f: Frames) -> Outcome:
    height = model.body("torso").pos[2] + f.qpos[..., 0]
    standing = _gaussian(np.maximum(1.2 - height, 0) / 0.6)
    upright = (1 + np.cos(f.qpos[..., 2])) / 2
    # Linear: 1 from 1 m/s on, 1/2 at 0.5 m/s, 0 at 0.
    moving = np.clip(_speed(model, f), 0, 1)
    return _lasting((3 * standing + upright) / 4 * (5 * moving + 1) / 6)


def _speed(model: mujoco.MjModel, f: Frames) -> Floats:
    """Of the centre of mass along x (R, K), m/s."""
    speed: Floats = f.sensors[..., model.sensor("torso_subtreelinvel").adr[0]]
    return speed


def _gaussian(x: Floats) -> Floats:
    """dm_control's usual tolerance: 1 at 0, 0.1 at 1."""
    value: Floats = 0.1 ** (x**2)
    return value


def _two_links(qpos: Floats, first: float, second: float) -> Floats:
    """Tip (..., 2) of a planar arm whose joint angles come first in qpos (..., Q)."""
    angle = qpos[..., 0]
    both = angle + qpos[..., 1]
    return np.stack(
        [
            first * np.cos(angle) + second * np.cos(both),
            first * np.sin(angle) + second * np.sin(both),
        ],
        -1,
    )


# --- The project's own


def _gusts(model: mujoco.MjModel, f: Frames) -> Outcome:
    x, y = f.path[..., 0], f.path[..., 1]
    fallen = np.logical_or.accumulate(~gorge.on_land(x, y), -1)
    crossed = (~fallen & (x >= gorge.FINISH)).any(-1)
    reward = gorge.STEP_REWARD + gorge.GOAL_REWARD * np.asarray(crossed, np.float64)
    return reward, crossed | fallen[..., -1]


def _gusts_met(model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    met: Floats = data.userdata.copy()
    return met


def _gusts_drive(o: Onset) -> Driven:
    gust, strength = o.kwargs.get("gust", gorge.GUST), o.kwargs.get("strength", gorge.STRENGTH)
    bridge = gorge.on_bridge(*o.qpos.T)[:, None]
    comes = bridge & (o.beside == 0) & (o.chance < gust)
    forces = np.concatenate([np.zeros_like(o.chance), gorge.pull(strength) * comes], -1)
    return gorge.velocity(o.action[:, 0]), forces, np.maximum(o.beside, bridge)


TASKS = {
    "InvertedPendulum-v5": Task(_inverted_pendulum),
    "InvertedDoublePendulum-v5": Task(_inverted_double_pendulum),
    "Reacher-v5": Task(_reacher),
    "HalfCheetah-v5": Task(_half_cheetah),
    "Hopper-v5": Task(_hopper),
    "Walker2d-v5": Task(_walker2d),
    "dm_control/cartpole-swingup-v0": Task(_cartpole_swingup),
    "dm_control/ball_in_cup-catch-v0": Task(_ball_in_cup_catch),
    "dm_control/finger-spin-v0": Task(_finger_spin),
    "dm_control/reacher-easy-v0": Task(_reacher_easy, _reacher_goal),
    "dm_control/cheetah-run-v0": Task(_cheetah_run, sensors=True),
    "dm_control/walker-walk-v0": Task(_walker_walk, sensors=True),
    "worldplan/Gusts-v0": Task(
        _gusts, _gusts_met, drive=_gusts_drive, chances=1, kwargs=("gust", "strength", "start")
    ),
}
