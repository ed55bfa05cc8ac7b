"""Presets, ids, the environments of Gymnasium and dm_control, and rendering."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from pydantic import ValidationError

from tests.helpers.small_models import rng
from tests.helpers.suites import HAS_DM_CONTROL, TASKS, needs_dm_control, preset
from worldplan.agent.acting.spaces import action_space
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset, tasks
from worldplan.envs import make_env, make_vector
from worldplan.envs.rendering import choose
from worldplan.envs.spec import EnvConfig
from worldplan.envs.wrappers import EnvironmentFault

IDS = ["HalfCheetah-v5", "Hopper-v5", "dm_control/cheetah-run-v0"]


def test_a_preset_defines_the_task_only() -> None:
    assert len(tasks()) == 27
    for name, task in tasks().items():
        content = preset(name)
        assert {"description", "suite", "env", "steps"} <= set(content)
        assert set(content) <= {"description", "suite", "needs", "env", "steps", "solved"}
        known = "gymnasium", "dm_control", "box2d", "goals", "worldplan", "goals-pixels", "pixels"
        assert task.suite in known
        extras = {"dm_control": "dm-control", "LunarLander-v3": "box2d"}
        extras |= {"gymnasium_robotics": "robotics"}
        assert task.needs == extras.get(re.split("[/:]", task.env_id)[0], "")
        assert EnvConfig(**content["env"]).id == task.env_id
        preset(f"suite-{task.suite}")  # its hyper-parameters


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_made_and_stepped(name: str) -> None:
    config = resolve(load_preset(name)).env
    if config.observe == "pixels" and "MUJOCO_GL" not in os.environ:
        pytest.skip("nothing renders here")
    vector = make_vector(config, 1)
    limits = {
        "hopper": 250,
        "walker2d": 250,
        "reacher": 25,
        "reach": 25,
        "two-rooms": 40,
        "gusts": 40,
        "fetch-reach": 50,
        "point-maze": 60,
        "mountain-car": 200,
    }
    limits |= {"cartpole": 500, "acrobot": 500, "cartpole-swingup-pixels": 250}
    limits |= {"two-rooms-pixels": 40, "reach-pixels": 25}
    assert vector.max_episode_steps == limits.get(
        name, 1000 if tasks()[name].suite == "gymnasium" else 500
    )
    observations = vector.reset([3])
    assert observations.shape == (1, vector.spec.observation.size)
    space = action_space(vector.spec.action)
    for seed in range(3):
        actions = space.random(torch.randn(1, space.size, generator=rng(seed)))
        observations, rewards, *_ = vector.step(actions.numpy())
    assert observations.dtype == vector.spec.observation.dtype
    assert rewards.dtype == np.float32
    vector.close()


@pytest.mark.parametrize(
    "env_id", [pytest.param(i, marks=needs_dm_control if "/" in i else ()) for i in IDS]
)
def test_an_episode_depends_on_its_seed_and_actions_only(env_id: str) -> None:
    """Bit for bit: resuming a run relies on it."""
    config = EnvConfig(id=env_id, action_repeat=2)
    fresh, used = make_vector(config, 1), make_vector(config, 1)
    actions = np.random.default_rng(1).uniform(-1, 1, (40, 1, fresh.spec.action.size))
    for seed in (5, 6):
        used.reset([seed])
        for action in actions[: 10 * (seed - 4)]:
            if any(end[0] for end in used.step(-action.astype(np.float32))[2:]):
                break

    def trajectory(vector: Any) -> list[bytes]:
        steps = [vector.reset([7]).tobytes()]
        for action in actions.astype(np.float32):
            observation, reward, terminated, _ = vector.step(action)
            steps += [observation.tobytes(), reward.tobytes()]
            if terminated[0]:
                break
        return steps

    assert trajectory(used) == trajectory(fresh)
    assert fresh.reset([8]).tobytes() != fresh.reset([7]).tobytes()


@needs_dm_control
def test_dm_control_truncates_at_its_limit_and_does_not_start_the_next_episode() -> None:
    limit = {"task_kwargs": {"time_limit": 0.05}}
    vector = make_vector(
        EnvConfig(id="dm_control/cheetah-run-v0", action_repeat=2, kwargs=limit), 1
    )
    assert vector.max_episode_steps == 3  # of 5 frames
    vector.reset([0])
    ends = [vector.step(np.zeros((1, 6), np.float32))[2:] for _ in range(3)]
    assert [(bool(a[0]), bool(b[0])) for a, b in ends] == [(False, False)] * 2 + [(False, True)]
    with pytest.raises(ResetNeeded):
        vector.step(np.zeros((1, 6), np.float32))


@pytest.mark.parametrize("field", ["qpos", "qvel"])
def test_unstable_mujoco_is_a_fault(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MuJoCo only warns, resets its state within the episode, and continues."""
    monkeypatch.chdir(tmp_path)  # MuJoCo writes MUJOCO_LOG.TXT to the working directory
    env = make_env(EnvConfig(id="HalfCheetah-v5"))
    env.reset(seed=0)
    inner: Any = env.unwrapped
    getattr(inner.data, field)[0] = 1e12
    with pytest.raises(EnvironmentFault, match=r"HalfCheetah-v5, step 1 .* unstable"):
        env.step(np.zeros(6, np.float32))
    env.reset(seed=0)
    env.step(np.zeros(6, np.float32))


@needs_dm_control
def test_unstable_dm_control_is_a_fault() -> None:
    env = make_env(EnvConfig(id="dm_control/cheetah-run-v0"))
    env.reset(seed=0)
    inner: Any = env.unwrapped
    inner.physics.data.qvel[0] = 1e12
    with pytest.raises(EnvironmentFault, match="cheetah-run-v0, step 1"):
        env.step(np.zeros(6, np.float32))
    env.reset(seed=0)
    env.step(np.zeros(6, np.float32))


# --- ids


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("HalfCheeta-v5", "Did you mean 'HalfCheetah-v5'"),
        ("halfcheetah-v5", "Did you mean 'HalfCheetah-v5'"),
        ("HalfCheetah-v99", "Did you mean 'HalfCheetah-v5'"),
        ("zzzzzzzz", "has the form 'module:EnvId'"),
        ("no_such_module:Env-v0", "cannot import 'no_such_module'"),
    ],
)
def test_unknown_ids(wrong: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(EnvConfig(id=wrong))


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ((3, 12, 9), r"cheetah-run-v0' needs: pip install 'worldplan\[dm-control\]'"),
        ((3, 13, 0), r"cheetah-run-v0' needs Python 3\.12 or older, got 3\.13: dm_control "),
        ((3, 14, 1), r"cheetah-run-v0' needs Python 3\.12 or older, got 3\.14: dm_control "),
    ],
)
def test_a_missing_extra_is_named_where_it_can_be_installed(
    version: tuple[int, int, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("worldplan.envs.make.sys", SimpleNamespace(version_info=version))
    with pytest.raises(ValueError, match=message):
        make_env(EnvConfig(id="dm_control/cheetah-run-v0"))


def test_config_refuses_unknown_keys_and_zero_repeat() -> None:
    with pytest.raises(ValidationError):
        EnvConfig(id="x", action_repeats=2)  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        EnvConfig(id="x", action_repeat=0)


def test_users_own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_module.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "gymnasium.register('Own-v0', PendulumEnv, max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    vector = make_vector(EnvConfig(id="users_module:Own-v0"), 1)
    assert (vector.spec.observation.size, vector.spec.action.size, vector.max_episode_steps) == (
        3,
        1,
        7,
    )


# --- rendering, in separate processes: dm_control and MuJoCo select their backend at import


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY")}
    return subprocess.run(
        [sys.executable, "-c", code], env=keep | environment, capture_output=True, text=True
    )


def test_frames_are_rendered() -> None:
    if not choose._works("osmesa"):
        pytest.skip("needs libosmesa6")
    result = run(
        "from worldplan.envs import *\n"
        f"for id in {IDS[:: 2 if HAS_DM_CONTROL else 3]}:\n"
        "    env = make_env(EnvConfig(id=id, action_repeat=2), render_mode='rgb_array')\n"
        "    env.reset(seed=0)\n"
        "    frame = env.render()\n"
        "    assert frame.shape == (480, 480, 3) and frame.std() > 10, id\n"
        "    print(env.metadata['render_fps'])\n"
        "    env.close()\n",
        MUJOCO_GL="osmesa",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == (["10", "50"] if HAS_DM_CONTROL else ["10"])


@needs_dm_control
def test_without_a_display_training_is_silent_and_rendering_names_the_variable_to_set() -> None:
    result = run(
        "import os\n"
        "from worldplan.envs import *\n"
        "config = EnvConfig(id='dm_control/cheetah-run-v0')\n"
        "make_env(config); make_env(EnvConfig(id='HalfCheetah-v5'))\n"
        "assert 'MUJOCO_GL' not in os.environ\n"
        "try: make_env(config, 'rgb_array')\n"
        "except ValueError as error: print(error)\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "Set MUJOCO_GL" in result.stdout


def test_a_backend_that_is_set_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(choose, "_works", lambda backend: True)
    assert choose.choose_backend() == "osmesa"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
@pytest.mark.parametrize(
    ("working", "display", "chosen"),
    [
        ({"egl", "osmesa"}, "", "egl"),
        ({"osmesa"}, "", "osmesa"),
        ({"osmesa"}, ":0", "osmesa"),
        ({"glfw", "egl"}, ":0", "glfw"),
    ],
)
def test_first_backend_that_works_is_chosen(
    working: set[str], display: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(choose, "_works", lambda backend: backend in working)
    assert choose.choose_backend() == chosen


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_no_backend_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(choose, "_works", lambda backend: False)
    with pytest.raises(ValueError, match=r"libegl1 .* libosmesa6"):
        choose.choose_backend()


def test_a_broken_backend_is_detected() -> None:
    assert not choose._works("no-such-backend")
