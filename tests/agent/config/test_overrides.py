"""Configuration: presets, overrides and error messages."""

from pathlib import Path
from typing import Any

import pytest

from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset, of_environment, tasks
from worldplan.agent.models.jepa import JEPAConfig
from worldplan.planners import ICEMConfig
from worldplan.planners.risk import CVaR


@pytest.mark.parametrize("name", list(tasks()))
def test_every_preset_resolves_and_sets_only_its_task(name: str) -> None:
    preset = load_preset(name)
    config = resolve(preset)
    assert config.task == name
    assert config.env.id == tasks()[name].env_id
    assert set(preset) <= {
        *("task", "env", "steps", "solved", "seed_steps", "agent", "compile"),
        "compile_after",
        *("num_envs", "updates_per_step", "replay"),
    }


@pytest.mark.parametrize(
    ("env", "like"),
    [
        ("Hopper-v5", "half-cheetah"),
        ("their_module:Their/Task-v0", "half-cheetah"),
        ("dm_control/fish-swim-v0", "walker-walk"),
    ],
)
def test_an_environment_without_a_preset_has_the_settings_of_its_suite(env: str, like: str) -> None:
    settings, preset = of_environment(env), load_preset(like)
    assert settings.pop("env") == {"id": env}
    assert settings.pop("task") == env
    assert settings == {k: v for k, v in preset.items() if k not in ("task", "env", "steps")}


def test_tasks_of_a_suite_share_their_settings() -> None:
    agents = {t.suite: set() for t in tasks().values()}  # type: dict[str, set[str]]
    for name, task in tasks().items():
        config = resolve(load_preset(name))
        agents[task.suite].add(config.agent.model_dump_json() + str(config.seed_steps))
    assert {suite: len(found) for suite, found in agents.items()} == {
        "gymnasium": 1, "dm_control": 1, "box2d": 1, "goals": 1, "goals-pixels": 1,
        "pixels": 1, "worldplan": 1,
    }  # fmt: skip


def test_a_size_stands_between_the_preset_and_what_is_asked_for() -> None:
    base = load_preset("cheetah-run")
    for words in (["size=large", "planner.samples=100"], ["planner.samples=100", "size=large"]):
        config = resolve(base, words)
        assert isinstance(config.agent.model, JEPAConfig)
        assert (config.size, config.agent.model.embedding, config.agent.heads.values) == (
            "large", 512, 5,
        )  # fmt: skip
        assert config.agent.planner.samples == 100
        assert config.agent.learner.learning_rate == base["agent"]["learner"]["learning_rate"]
    assert resolve(base, ["size=small"]) == resolve(base)
    # A saved run has a size, and what its settings are; it is not enlarged again.
    saved = resolve(base, ["size=large", "model.width=300"]).model_dump()
    again = resolve(saved, ["seed=1"])
    assert isinstance(again.agent.model, JEPAConfig)
    assert again.agent.model.width == 300
    for family in ("ensemble", "autoregressive", "simulator"):
        assert resolve(base, ["size=large", f"model={family}"]).agent.heads.values == 5
    with pytest.raises(ValueError, match=r"size: .*'small', 'medium' or 'large'"):
        resolve(base, ["size=huge"])


def test_overrides(toy: dict[str, Any], tmp_path: Path) -> None:
    config = resolve(
        toy, ["seed=3", "steps=20000", f"run_dir={tmp_path}", "planner.horizon=5", "compile=off"]
    )
    assert (config.seed, config.steps, config.run_dir) == (3, 20000, tmp_path)
    assert config.agent.planner.horizon == 5
    assert config.compile == "off"
    assert config.eval_interval == 2000  # a tenth of the steps
    assert resolve(toy, ["steps=2e4"]).log_interval == 400
    assert resolve(toy, ["eval_interval=7"]).eval_interval == 7
    assert resolve(toy, ["agent.planner.horizon=4"]).agent.planner.horizon == 4


def test_kinds_by_their_bare_name_in_any_order(toy: dict[str, Any]) -> None:
    words = ["planner=icem", "model.latent=gaussian", "planner.risk=cvar", "planner.risk.alpha=0.5"]
    for overrides in (words, words[::-1]):
        config = resolve(toy, overrides)
        assert isinstance(config.agent.model, JEPAConfig)
        kinds = config.agent.planner, config.agent.model.latent, config.agent.planner.risk
        assert [part.kind for part in kinds] == ["icem", "gaussian", "cvar"]
        assert config.agent.planner.risk == CVaR(alpha=0.5)


def test_another_planner_by_its_name(toy: dict[str, Any]) -> None:
    config = resolve(toy, ["planner.kind=icem", "planner.beta=0.5", "planner.risk=worst"])
    planner = config.agent.planner
    assert isinstance(planner, ICEMConfig)
    assert (planner.beta, planner.risk.kind) == (0.5, "worst")


def test_another_kind_leaves_out_what_a_preset_sets_for_its_own() -> None:
    """gusts sets icem's beta, a jepa's embedding and a categorical z's weight of the KL."""
    base = load_preset("gusts")
    base["agent"]["model"]["latent"]["groups"] = 2
    config = resolve(base, ["planner=mppi", "model.latent.kind=gaussian"])
    assert isinstance(config.agent.model, JEPAConfig)
    latent = config.agent.model.latent
    assert (config.agent.planner.kind, config.agent.planner.horizon) == ("mppi", 8)
    assert (latent.kind, latent.kl_weight) == ("gaussian", 1.0)
    assert resolve(base, ["model=simulator"]).agent.model.kind == "simulator"
    assert base["agent"]["planner"]["beta"] == 3.0
    # What the user sets is never left out, but answered, in whatever order it comes.
    for overrides in (["planner=mppi", "planner.beta=2"], ["planner.beta=2", "planner=mppi"]):
        with pytest.raises(ValueError, match=r"unknown key 'agent\.planner\.beta'"):
            resolve(base, overrides)


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("sede=3", "unknown key 'sede'. Did you mean 'seed'"),
        ("horizon=3", "Did you mean 'learner.horizon' or 'planner.horizon'?"),
        ("learner.lr=3", "Did you mean 'learner.learning_rate'?"),
        ("total_timesteps=3", "Did you mean 'steps'?"),
        ("planner.name=cem", "Did you mean 'planner.kind'?"),
        ("action_repeats=3", "Did you mean 'env.action_repeat'?"),
        ("buffer_size=3", "Did you mean 'replay.capacity'?"),
        ("zzz=3", "unknown key 'zzz'; valid here: agent, "),
        ("planner.horizont=3", "Did you mean 'planner.horizon'"),
        ("planer.horizon=3", "unknown key 'planer'. Did you mean 'planner'"),
        ("planner.kind=icme", "Did you mean 'icem'"),
        ("learner.lr=1", "unknown key 'agent.learner.lr'"),
        ("steps=many", "steps: Input should be a valid integer"),
        ("steps=99.5", "steps: Input should be a valid integer"),
        ("steps=.inf", "steps: "),
        ("steps=0", "greater than or equal to 1"),
        ("steps", "expected KEY=VALUE, got 'steps'"),
        ("model.embedding=100", "nearest: 96"),
        ("model.latent.kind=gauss", "Did you mean 'gaussian'"),
        ("compile=[1, 2]", "compile: Input should be 'auto', 'on' or 'off'"),
        ("seed=${oc.env:NO_SUCH}", "cannot read the value in 'seed=${oc.env:NO_SUCH}'"),
        ("a..b=1", "unknown key 'a'"),
        ("planner.elites=1000", "agent.planner: elites (1000) must not exceed samples (64)"),
    ],
)
def test_mistakes_are_explained(toy: dict[str, Any], override: str, answer: str) -> None:
    with pytest.raises(ValueError, match=r"(?s).*") as error:
        resolve(toy, [override])
    assert answer in str(error.value), str(error.value)


def test_a_wrong_preset_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'cheetah-run'"):
        load_preset("cheeta-run")


def test_configs_are_frozen(toy: dict[str, Any]) -> None:
    config = resolve(toy)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
