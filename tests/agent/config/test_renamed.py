"""Settings and checkpoints of older versions."""

import pytest

from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.renamed import RENAMED, modernised
from worldplan.agent.config.saved import plain
from worldplan.agent.training.restore import read_config, read_spec
from worldplan.agent.training.trained import identity
from worldplan.envs import EnvironmentSpec

BASE = {"task": "toy", "env": {"id": "Pendulum-v1"}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learner.batch=32", "learner.batch_size=32"),
        ("agent.learner.clip=3", "agent.learner.grad_clip_norm=3"),
        ("average=0.1", "ema_rate=0.1"),
    ],
)
def test_an_old_name_is_read_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(FutureWarning, match=f"is called .*{new.partition('=')[0].split('.')[-1]}"):
        read = resolve(BASE, [old])
    assert read == resolve(BASE, [new])


def test_every_new_name_is_a_setting() -> None:
    content = plain(resolve(BASE))
    for old, new in RENAMED.items():
        at: object = content
        for name in new.split("."):
            assert isinstance(at, dict), new
            at = at[name]
        assert old.rpartition(".")[0] == new.rpartition(".")[0], "it is in the same group"


def test_a_checkpoint_of_the_first_format_is_read() -> None:
    config = resolve(BASE, ["learner.batch_size=32", "ema_rate=0.5", "learner.rho=0.7"])
    old = plain(config)
    agent = old["agent"]
    assert isinstance(agent, dict)
    agent["average"] = agent.pop("ema_rate")
    learner = agent["learner"]
    for name, was in (("batch_size", "batch"), ("rho", "decay"), ("tau", "target_rate")):
        learner[was] = learner.pop(name)
    state = {"config": old, "observation_dim": 3, "action_dim": 1}
    assert read_config(state) == config
    assert read_spec(state, config) == EnvironmentSpec.vectors(3, 1, config.env)


def test_a_new_checkpoint_is_read_unchanged() -> None:
    config = resolve(BASE)
    spec = EnvironmentSpec.vectors(3, 1, config.env)
    state = identity(config, spec)
    assert modernised(plain(config)) == plain(config)
    assert read_config(state) == config
    assert read_spec(state, config) == spec
