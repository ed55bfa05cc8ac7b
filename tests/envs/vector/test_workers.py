"""Environments in worker processes: the same steps, the same errors, and no process left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tests.helpers.settings import HELPERS
from worldplan.agent.training import foreign
from worldplan.envs import EnvConfig, EnvironmentFault, make_vector
from worldplan.envs.vector.workers import AsyncVectorEnv


def workers_of(env: AsyncVectorEnv) -> list[int]:
    return [worker.process.pid for worker in env._workers]


def test_the_same_steps_as_in_this_process() -> None:
    """Masked resets and steps, goals, and a second life after closing."""
    config = EnvConfig(id="worldplan/TwoRooms-v0", action_repeat=5)
    here, there = make_vector(config, 3), make_vector(config.model_copy(update={"workers": 2}), 3)
    assert isinstance(there, AsyncVectorEnv)
    assert (here.spec.id, here.spec.observation) == (there.spec.id, there.spec.observation)
    assert here.max_episode_steps == there.max_episode_steps == 40
    assert here.seconds_per_frame == there.seconds_per_frame
    rng = np.random.default_rng(0)
    for life in range(2):
        assert np.array_equal(here.reset([1, 2, 3]), there.reset([1, 2, 3]))
        assert len(set(workers_of(there))) == 2
        for _ in range(30):
            actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
            active = rng.random(3) < 0.7
            for a, b in zip(here.step(actions, active), there.step(actions, active), strict=True):
                assert np.array_equal(a, b)
                assert a.dtype == b.dtype
            begins, seeds = rng.random(3) < 0.1, rng.integers(99, size=3)
            assert np.array_equal(here.reset(seeds, begins), there.reset(seeds, begins))
            goals, theirs = here.goals(), there.goals()
            assert goals is not None
            assert theirs is not None
            assert np.array_equal(goals, theirs)
        if life == 0:
            there.close()
            assert workers_of(there) == []
            with pytest.raises(gym.error.ResetNeeded, match="reset first"):
                there.step(actions)
    there.close()


@pytest.fixture(scope="module")
def moody() -> Iterator[AsyncVectorEnv]:
    env = make_vector(EnvConfig(id="bad_envs:ToyMoody-v0", workers=2), 3)
    assert isinstance(env, AsyncVectorEnv)
    yield env
    env.close()


def act(env: AsyncVectorEnv, third: float) -> None:
    env.step(np.array([[0], [0], [third]], np.float32))


def test_errors_arrive_as_they_are(moody: AsyncVectorEnv) -> None:
    moody.reset([0, 1, 2])
    before = workers_of(moody)
    caught: Any
    with pytest.raises(Exception, match="the joint broke with 7") as caught:
        act(moody, 0.2)
    assert type(caught.value) is sys.modules["bad_envs"].Broken
    assert (caught.value.part, caught.value.code) == ("the joint", 7)
    assert foreign.origin(caught.value) == "the environment"
    report = foreign.report(caught.value)
    assert 'raise Broken("the joint", 7)' in report
    assert "serve.py" not in report, "frames of this package"
    with pytest.raises(SystemExit, match="enough"):
        act(moody, 0.7)
    with pytest.raises(ValueError, match="expected as action numbers"):
        act(moody, 3)
    with pytest.raises(ValueError, match="3 seeds"):
        moody.reset([0])
    moody.reset([0, 1, 2])
    act(moody, 0)  # it goes on
    assert workers_of(moody) == before


def test_what_environments_say(moody: AsyncVectorEnv, capfd: pytest.CaptureFixture[str]) -> None:
    moody.reset([0, 1, 2])
    with pytest.warns(UserWarning, match="getting hot") as said:
        act(moody, 0.5)
    assert said[0].filename.endswith("bad_envs.py")
    act(moody, 0.6)
    assert capfd.readouterr().out == "", "what is printed stands in nobody's way"


def test_a_worker_that_dies(moody: AsyncVectorEnv) -> None:
    moody.reset([0, 1, 2])
    with pytest.raises(EnvironmentFault, match=r"environments 2 to 2 ended by signal 9; with env"):
        act(moody, 0.3)
    with pytest.raises(gym.error.ResetNeeded):
        act(moody, 0)
    moody.reset([0, 1, 2])
    act(moody, 0)


def test_an_interrupted_step_leaves_nothing_behind(moody: AsyncVectorEnv) -> None:
    moody.reset([0, 1, 2])
    before = workers_of(moody)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        act(moody, 0.4)
    assert not any(map(alive, before)), "one hangs"
    assert workers_of(moody) == []


def test_an_environment_that_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="cannot be made with"):
        make_vector(EnvConfig(id="toy_envs:ToyPoint-v0", kwargs={"typo": 1}, workers=2), 2)


# Without `if __name__`: importing it again would start workers that start workers.
SCRIPT = """
import sys, time
sys.path.append({helpers!r})
import gymnasium as gym, numpy as np
from toy_envs import Point
from worldplan.envs import EnvConfig, make_vector

class Mine(Point):
    def step(self, action):
        if action[0] > 0.5:
            time.sleep(60)
        return super().step(action)

gym.register("Mine-v0", Mine)  # of no module that could be imported
env = make_vector(EnvConfig(id="Mine-v0", workers=2), 2)
env.reset([0, 1])
env.step(np.zeros((2, 1), np.float32))
print(*(worker.process.pid for worker in env._workers), flush=True)
env.step(np.array([[0], [1]], np.float32))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    """Killed by `kill -9` while one worker is idle and the other hangs in a step."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(helpers=HELPERS))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 30
    while any(map(alive, pids)):
        assert time.monotonic() < until, "a worker is left"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be collected by a parent does not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
