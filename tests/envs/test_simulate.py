"""The simulator against the environments that it copies."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.suites import TASKS, needs_dm_control, preset
from worldplan.envs import EnvConfig, Simulator, make_env
from worldplan.envs.physics import physics_of

# Here Gymnasium reads positions at the last stage of the Runge-Kutta integrator.
STALE = ("InvertedDoublePendulum-v5", "Reacher-v5")
# States (positions, velocities) with rewards that random actions seldom reach.
AT_THE_REWARD: dict[str, tuple[list[float], list[float]]] = {
    "ball-in-cup-catch": ([0.01, 0.02, 0.02, 0.36], [0, 0, 0, 0]),
    "finger-spin": ([0, 0, 0], [0, 0, -20]),
    "cheetah-run": ([0] * 9, [12, *[0] * 8]),
    "walker-walk": ([0] * 9, [0, 0.5, *[0] * 7]),
    "cartpole-swingup": ([0.5, 0.3], [0, 1]),
}


def config(name: str) -> EnvConfig:
    made = EnvConfig(**{**preset(name)["env"], "observe": "state"})
    return made.model_copy(update={"action_repeat": 1}) if made.id in STALE else made


def put(env: Any, qpos: list[float], qvel: list[float]) -> NDArray[np.float32]:
    """Moves a reset environment to another state, and returns it as observed."""
    found = physics_of(env)
    assert found is not None
    model, data = found
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
    state: NDArray[np.float32] = env.get_wrapper_attr("_state")().astype(np.float32)
    return state


def acts(env: Any, seed: int, *shape: int) -> NDArray[np.float32]:
    width = env.action_space.shape
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, *width)).astype(np.float32)


def lists() -> tuple[list[Any], ...]:
    return [], [], [], [], []


# The rewards of five are not written in envs/rewards.py; gusts is random and tested below.
NO_MUJOCO = "acrobot", "cartpole", "lunar-lander", "mountain-car"
LEFT_OUT = (
    *("acrobot-swingup", "gusts", "hopper-hop", "quadruped-walk", "reach", "two-rooms"),
    *("reach-pixels", "two-rooms-pixels", "cartpole-swingup-pixels"),
    *NO_MUJOCO,
)


@pytest.mark.parametrize("name", [task for task in TASKS if task.values[0] not in LEFT_OUT])
def test_states_rewards_and_terminations_equal_the_environments(name: str) -> None:
    """30 random decisions for each of several seeds, each simulated from the state before it."""
    env, simulator = make_env(config(name)), Simulator(config(name), threads=1)
    before, actions, after, rewards, ends = lists()
    for seed in range(4):
        state, _ = env.reset(seed=seed)
        if name in AT_THE_REWARD and seed % 2:
            state = put(env, *AT_THE_REWARD[name])
        for action in acts(env, seed, 30):
            before.append(state)
            state, reward, terminated, _, _ = env.step(action)
            inner: Any = env.unwrapped
            if config(name).id in STALE:  # the same formula, with positions at the end
                mujoco.mj_kinematics(inner.model, inner.data)
                if name == "reacher":
                    reward, _ = inner._get_rew(action)
                else:
                    x, _, y = inner.data.site_xpos[0]
                    reward, _ = inner._get_rew(x, y, terminated)
            for kept, value in zip(
                (actions, after, rewards, ends), (action, state, reward, terminated), strict=True
            ):
                kept.append(value)
            if terminated:
                break
    found = simulator.rollout(np.stack(before), np.stack(actions)[:, None])
    np.testing.assert_allclose(found.rewards[:, 0], rewards, atol=1e-4)
    np.testing.assert_array_equal(found.terminated[:, 0], ends)
    # Velocities after a contact differ most: the solver has no warm start here.
    np.testing.assert_allclose(found.states[:, 0], np.stack(after), atol=1e-3, rtol=1e-3)
    assert np.ptp(rewards) > 0 or name in ("inverted-pendulum", "reacher-easy")
    if name in ("hopper", "walker2d", "inverted-pendulum", "inverted-double-pendulum"):
        assert any(ends)


@needs_dm_control
def test_the_goal_is_part_of_the_state() -> None:
    """The reacher's target is stored in the model, not in MuJoCo's state."""
    made = config("reacher-easy")
    env, simulator = make_env(made), Simulator(made, threads=1)
    inner: Any = env.unwrapped
    rows, places, truth, *_ = lists()
    for seed in range(6):
        env.reset(seed=seed)
        places.append(inner.physics.model.geom("target").pos[:2].copy())
        # The arm points at the target, straight or bent: sometimes too long, sometimes too short.
        angle = np.arctan2(places[-1][1], places[-1][0])
        rows.append(put(env, [angle, 0.0 if seed % 2 else 2.2], [0, 0]))
        _, reward, *_ = env.step(np.zeros(2, np.float32))
        truth.append(reward)
    found = simulator.rollout(np.stack(rows), np.zeros((6, 1, 2)))
    np.testing.assert_allclose(np.stack(rows)[:, -2:], places, rtol=1e-6)
    np.testing.assert_allclose(found.states[:, 0, -2:], np.stack(rows)[:, -2:])
    np.testing.assert_allclose(found.rewards[:, 0], truth, atol=1e-4)
    assert 0 < sum(r > 0 for r in truth) < 6


@pytest.mark.parametrize("repeat", [1, 3])
def test_a_long_trajectory_equals_the_environments(repeat: int) -> None:
    """Rewards of frames are summed over a decision, up to the frame in which the pole falls."""
    made = EnvConfig(id="InvertedDoublePendulum-v5", action_repeat=repeat, observe="state")
    env: Any = make_env(made)
    simulator = Simulator(made, threads=1)
    for seed in range(4):
        start, _ = env.reset(seed=seed)
        actions, rewards = acts(env, seed, 12), []
        found = simulator.rollout(start[None], actions[None])
        for t, action in enumerate(actions):
            state, reward, terminated, _, _ = env.step(action)
            rewards.append(reward)
            assert found.terminated[0, t] == terminated
            if terminated:
                break
            np.testing.assert_allclose(found.states[0, t], state, atol=1e-3)
        assert terminated
        np.testing.assert_allclose(found.rewards[0, : len(rewards)], rewards, atol=1e-3)
        assert found.terminated[0, len(rewards) :].all()
        assert not found.rewards[0, len(rewards) :].any()


def test_a_trajectory_depends_neither_on_threads_nor_on_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = EnvConfig(id="Hopper-v5", observe="state")
    env = make_env(made)
    start = np.stack([env.reset(seed=seed)[0] for seed in range(7)])
    actions = acts(env, 0, 7, 10)
    alone, threaded = Simulator(made, threads=1), Simulator(made, threads=3)
    once, again = alone.rollout(start, actions), threaded.rollout(start, actions)
    np.testing.assert_array_equal(once.states, again.states)
    np.testing.assert_array_equal(once.rewards, again.rewards)
    for row in range(7):
        single = threaded.rollout(start[row : row + 1], actions[row : row + 1])
        np.testing.assert_array_equal(single.states[0], once.states[row])
    monkeypatch.setattr("worldplan.envs.simulate._MAX_BYTES", 1)  # as many calls as rows
    np.testing.assert_array_equal(alone.rollout(start, actions).rewards, once.rewards)


def test_an_unstable_simulation_has_nan_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT to the working directory
    made = EnvConfig(id="HalfCheetah-v5", observe="state")
    env, simulator = make_env(made), Simulator(made, threads=1)
    start = np.stack([env.reset(seed=0)[0]] * 2)
    start[1, 1 + 9] = 1e12  # a velocity that MuJoCo does not accept
    found = simulator.rollout(start, np.zeros((2, 3, 6)))
    assert np.isfinite(found.rewards[0]).all()
    assert np.isnan(found.rewards[1]).all()


@needs_dm_control
def test_constants_of_the_model_that_reset_sets_are_copied() -> None:
    """finger-spin lowers the spinner's damping when an episode starts."""
    simulator = Simulator(config("finger-spin"), threads=1)
    assert simulator._model.joint("hinge").damping[0] == 0.03


@pytest.mark.parametrize(
    ("env", "answer"),
    [
        ({"id": "Ant-v5"}, "'Ant-v5' cannot be computed .* Expected one of InvertedPendulum-v5, "),
        ({"id": "Hoper-v5"}, "Did you mean 'Hopper-v5'"),
        ({"id": "Hopper-v5", "kwargs": {"healthy_reward": 2.0}}, "not with healthy_reward"),
    ],
)
def test_rewards_that_are_not_known_are_refused(env: dict[str, Any], answer: str) -> None:
    with pytest.raises(ValueError, match=answer):
        Simulator(EnvConfig(**env))


@pytest.mark.parametrize(
    "shapes", [((2, 4), (2, 3, 1)), ((2, 5), (3, 3, 1)), ((2, 5), (2, 0, 1)), ((0, 5), (0, 3, 1))]
)
def test_shapes_are_checked(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    simulator = Simulator(EnvConfig(id="InvertedPendulum-v5"), threads=1)
    with pytest.raises(ValueError, match=r"expected states \(R, 5\) and actions \(R, T, 1\) with"):
        simulator.rollout(*(np.zeros(shape) for shape in shapes))


def test_random_events_equal_the_environments() -> None:
    """Gusts with random starts and actions: each decision simulated, given whether a gust came."""
    made = EnvConfig(id="worldplan/Gusts-v0", kwargs={"gust": 0.5}, observe="state")
    env, simulator = make_env(made), Simulator(made, threads=1)
    assert simulator.uniform_dim == 1
    before, actions, after, rewards, ends = lists()
    gusts, crossed, whole, *_ = lists()
    for seed in range(200):
        state, _ = env.reset(seed=seed)
        first, over, start = len(before), False, state
        for action in 0.6 * acts(env, seed, 40):
            before.append(state)
            state, reward, over, _, info = env.step(action)
            for kept, value in zip(
                (actions, after, rewards, ends, gusts, crossed),
                (action, state, reward, over, info["gust"], over and not info["fell"]),
                strict=True,
            ):
                kept.append(value)
            if over:
                break
        whole.append((start, slice(first, len(before))))
    assert min(sum(gusts), sum(crossed), sum(ends) - sum(crossed)) > 10
    uniform = np.where(gusts, 0.49, 0.5)
    found = simulator.rollout(np.stack(before), np.stack(actions)[:, None], uniform[:, None, None])
    np.testing.assert_allclose(found.rewards[:, 0], rewards, atol=1e-6)
    np.testing.assert_array_equal(found.terminated[:, 0], ends)
    on = ~np.array(crossed)  # the environment stops at the finish line itself
    np.testing.assert_allclose(found.states[on, 0], np.stack(after)[on], atol=1e-5)
    for start, at in whole:
        long = np.stack(actions)[None, at]
        found = simulator.rollout(start[None], long, uniform[None, at, None])
        np.testing.assert_allclose(found.rewards[0], rewards[at], atol=1e-6)


def test_a_random_task_needs_uniform_numbers() -> None:
    simulator = Simulator(EnvConfig(id="worldplan/Gusts-v0"), threads=1)
    with pytest.raises(ValueError, match=r"uniform \(R, T, 1\) with .*, \(2, 3, 0\)"):
        simulator.rollout(np.zeros((2, simulator.state_dim)), np.zeros((2, 3, 1)))


def test_only_mujoco_environments_can_be_observed_by_state() -> None:
    with pytest.raises(ValueError, match="observe=state needs an environment that shows MuJoCo"):
        make_env(EnvConfig(id="toy_envs:ToyPoint-v0", observe="state"))
