"""Rewards and terminations of tasks, computed from MuJoCo's state for many trajectories at once.

They equal what the environments compute one step at a time: Gymnasium's v5 tasks, dm_control's
suite and this project's own. To add a task, write a function of `Frames` and add it to `TASKS`.

Shapes: R trajectories, K frames (steps of the environment), n physics steps per frame,
Q positions, V velocities, A action, U controls, G task state, E random numbers per frame.
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
    """States and actions in K frames of R trajectories."""

    before: Floats  # (R, K, Q) positions at the start of each frame
    qpos: Floats  # (R, K, Q) positions at its end
    qvel: Floats  # (R, K, V) velocities at its end
    path: Floats  # (R, K, n, Q) positions after each physics step
    action: Floats  # (R, K, A) in the environment's own bounds
    sensors: Floats  # (R, K, sensordata), position and velocity stages; only if Task.sensors
    task_state: Floats  # (R, 1, G)
    seconds: float  # duration of a frame


Outcome = tuple[Floats, Bools]  # reward (R, K), terminated (R, K)


@dataclass(frozen=True)
class FrameStart:
    """State and inputs of R trajectories at the start of a frame."""

    qpos: Floats  # (R, Q)
    task_state: Floats  # (R, G)
    action: Floats  # (R, A) in the environment's own bounds
    uniform: Floats  # (R, E) in [0, 1], for random events
    kwargs: Mapping[str, Any]  # of the environment


# controls (R, U), applied forces (R, V), task state (R, G)
Actuation = tuple[Floats, Floats, Floats]


@dataclass(frozen=True)
class Task:
    """Reward, termination and, where needed, task state and actuation of a task."""

    outcome: Callable[[mujoco.MjModel, Frames], Outcome]
    # (G,) what the future depends on outside MuJoCo's state, such as the goal of an episode
    task_state: Callable[[mujoco.MjModel, mujoco.MjData], Floats] | None = None
    sensors: bool = False  # whether `outcome` reads sensors
    # effect of an action that is not simply MuJoCo's control, or that is random
    actuate: Callable[[FrameStart], Actuation] | None = None
    uniform_dim: int = 0  # E
    kwargs: tuple[str, ...] = ()  # of the environment, which `actuate` takes into account


def task_of(env_id: str) -> Task:
    """The task of an environment's id.

    Raises:
        ValueError: its reward is not written here; the message names the tasks that are.
    """
    name = _name(env_id)
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1, cutoff=0.7)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"the reward of {name!r} cannot be computed from MuJoCo's state.{hint} Expected one of "
            f"{', '.join(TASKS)}"
        )
    return TASKS[name]


def task_state_of(env_id: str, model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    """The task state (G,), on which the future depends besides MuJoCo's state.

    Most tasks have none (G = 0). So have unknown ones.
    """
    task = TASKS.get(_name(env_id))
    if task is None or task.task_state is None:
        return np.empty(0)
    return task.task_state(model, data)


def _name(env_id: str) -> str:
    return env_id.rpartition(":")[2]


def _lasting(reward: Floats) -> Outcome:
    """Outcome of a task that ends by its time limit only."""
    return reward, np.zeros(reward.shape, np.bool_)


# --- Gymnasium, v5. With a Runge-Kutta integrator it reads positions of bodies and sites that are a
# fraction of a physics step old (MuJoCo's last stage). Here they are those at the frame's end.


def _inverted_pendulum(model: mujoco.MjModel, f: Frames) -> Outcome:
    fallen = ~(np.abs(f.qpos[..., 1]) <= 0.2)  # NaN counts as fallen
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
    distance = np.linalg.norm(_two_links(f.qpos, *lengths) - f.task_state, axis=-1)
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
    """Speed of the centre of mass along x (R, K), m/s."""
    speed: Floats = f.sensors[..., model.sensor("torso_subtreelinvel").adr[0]]
    return speed


def _gaussian(x: Floats) -> Floats:
    """dm_control's default `tolerance`: 1 at 0, 0.1 at 1."""
    value: Floats = 0.1 ** (x**2)
    return value


def _two_links(qpos: Floats, first: float, second: float) -> Floats:
    """Tip (..., 2) of a planar arm; its two joint angles are the first of qpos (..., Q)."""
    angle = qpos[..., 0]
    both = angle + qpos[..., 1]
    return np.stack(
        [
            first * np.cos(angle) + second * np.cos(both),
            first * np.sin(angle) + second * np.sin(both),
        ],
        -1,
    )


# --- This project's own


def _gusts(model: mujoco.MjModel, f: Frames) -> Outcome:
    x, y = f.path[..., 0], f.path[..., 1]
    fallen = np.logical_or.accumulate(~gorge.on_land(x, y), -1)
    crossed = (~fallen & (x >= gorge.FINISH)).any(-1)
    reward = gorge.STEP_REWARD + gorge.GOAL_REWARD * np.asarray(crossed, np.float64)
    return reward, crossed | fallen[..., -1]


def _gusts_was_on_bridge(model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    was_on_bridge: Floats = data.userdata.copy()
    return was_on_bridge


def _gusts_actuate(f: FrameStart) -> Actuation:
    gust, strength = f.kwargs.get("gust", gorge.GUST), f.kwargs.get("strength", gorge.STRENGTH)
    bridge = gorge.on_bridge(*f.qpos.T)[:, None]
    gusts = bridge & (f.task_state == 0) & (f.uniform < gust)
    forces = np.concatenate([np.zeros_like(f.uniform), gorge.wind_force(strength) * gusts], -1)
    return gorge.velocity(f.action[:, 0]), forces, np.maximum(f.task_state, bridge)


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
        _gusts,
        _gusts_was_on_bridge,
        actuate=_gusts_actuate,
        uniform_dim=1,
        kwargs=("gust", "strength", "start"),
    ),
}
