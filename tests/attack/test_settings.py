"""A fuzzer of settings: whatever is asked for is done, or refused in one line.

`resolve` raises nothing but its own error. What it accepts trains for two steps, or is refused
within two seconds. `pytest -m slow tests/attack` tries thousands.
"""

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.helpers.settings import SMALL
from worldplan.agent.config.names import dotted
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.run import RunConfig
from worldplan.agent.training.trainer import Trainer

TOY: dict[str, Any] = {"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}}
KINDS = {
    "model": ["jepa", "ensemble", "autoregressive", "simulator"],
    "planner": ["cem", "icem", "mppi", "random_shooting", "gradient"],
    "planner.risk": ["mean", "cvar", "worst", "best", "entropic", "adversarial", "optimistic"],
    "model.latent": ["none", "gaussian", "categorical"],
    "model.anti_collapse": ["simnorm", "layernorm", "vicreg", "sigreg", "none"],
}


def names() -> list[str]:
    """Every setting of every kind, as a user writes it."""
    found: dict[str, None] = {}
    for kind, values in KINDS.items():
        for value in values:
            config = resolve(TOY | {"env": {"id": "Hopper-v5"}}, [f"{kind}={value}"])
            for name, _ in dotted(config.model_dump()):
                found[name.removeprefix("agent.")] = None
    return list(found)


NAMES = names()
NUMBERS = ["0", "1", "2", "3", "7", "64", "1000", "1e5", "1e10", "-1", "0.5", "1e-30", "1e300"]
ODD = [
    *(".inf", "-.inf", ".nan", "on", "off", "null", "", "{}", "[]", "[1, 2]", "{kind: icem}", "~"),
    *("'1'", "${seed}", "${oc.env:HOME}", "???", "!!python/object:os.system x", "&a *a", "[[[["),
    *("x: y: z", "a\nb: c", "\x00", "\x1b[2J", "1_000", "0x10", "2026-01-01", "1" + "0" * 5000),
]

kinds = st.sampled_from([f"{kind}={value}" for kind, all_ in KINDS.items() for value in all_])
values = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(ODD), st.text(max_size=8))
keys = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES).map(lambda name: name[:-1]),
    st.sampled_from(NAMES).map(lambda name: name + ".x"),
    st.sampled_from(["", ".", "a..b", "agent", "agent.", "[0]", "env[id]", "planner.risk", "kind"]),
    st.text(max_size=8),
)
anything = st.lists(
    st.one_of(kinds, st.builds("{}={}".format, keys, values), st.text(max_size=8)), max_size=4
)


def attacked(overrides: list[str]) -> RunConfig | None:
    """The configuration, or None if it was refused as it should be."""
    refused: ValueError | None = None
    try:
        return resolve(TOY, overrides)
    except ValueError as error:
        refused = error
    assert type(refused) is ValueError, "not its own error"
    assert 0 < len(str(refused)) < 5000
    return None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(anything)
def test_resolve_raises_nothing_but_its_own_error(overrides: list[str]) -> None:
    attacked(overrides)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(anything)
def test_resolve_raises_nothing_but_its_own_error_long(overrides: list[str]) -> None:
    attacked(overrides)


# What changes nothing about two steps of training, or would only take long.
_APART = ("env.", "task", "run_dir", "video", "device", "compile", "threads", "steps", "seed_steps",
          "num_envs", "eval_", "final_", "updates_per_step", "model.threads")  # fmt: skip
plausible = st.lists(
    st.one_of(
        kinds.filter(lambda word: word != "model=simulator"),
        st.builds(
            "{}={}".format,
            st.sampled_from([name for name in NAMES if not name.startswith(_APART)]),
            # Some that are larger are borne, but take minutes.
            st.sampled_from([n for n in NUMBERS if n not in ("1000", "1e5")]),
        ),
    ),
    max_size=3,
)


def trains_or_is_refused(overrides: list[str]) -> None:
    two = ["steps=2", "seed_steps=1", "eval_episodes=1", "final_episodes=1", "compile=off"]
    # What makes a jepa small is no setting of another family; and a search of one round has others.
    families = [word for word in overrides if word.startswith("model=") and word != "model=jepa"]
    apart = {word.split("=")[0] for word in [*two, *overrides]}
    apart |= {"planner.iterations"} if "planner=random_shooting" in overrides else set()
    kept = [word for word in SMALL if word.split("=")[0] not in apart]
    kept = [word for word in kept if not (families and word.startswith("model."))]
    config = attacked([*kept, *two, "env.kwargs.limit=3", *overrides])
    if config is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        try:
            trainer = Trainer(config, Path(folder) / "run", Console(quiet=True))
        except ValueError:
            assert time.process_time() - began < 2
            return
        with suppress(FloatingPointError):  # it diverges with such settings, and says so
            trainer.run()
        assert trainer.step == 2


QUIET = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@settings(QUIET, max_examples=12)
@given(plausible)
def test_what_is_accepted_trains_or_is_refused(overrides: list[str]) -> None:
    trains_or_is_refused(overrides)


@pytest.mark.slow
@settings(QUIET, max_examples=500, derandomize=False)
@given(plausible)
def test_what_is_accepted_trains_or_is_refused_long(overrides: list[str]) -> None:
    trains_or_is_refused(overrides)
