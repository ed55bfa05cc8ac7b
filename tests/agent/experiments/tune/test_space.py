"""What is searched over, as it is written."""

from typing import Any

import pytest

from worldplan.agent.experiments.tune.search import make_plan
from worldplan.agent.experiments.tune.space import Choice, Range, read_space

TOY = {"task": "toy", "env": {"id": "toy_envs:ToyPoint-v0"}, "steps": 120}


def test_ranges_choices_and_fixed_settings_are_told_apart() -> None:
    config, fixed, space = read_space(
        TOY,
        [
            *(
                "planner.horizon=2..6",
                "learner.learning_rate=1e-4..3e-3:log",
                "updates_per_step=1..4",
            ),
            *("seed_steps=20, 40", "planner=mppi,cem", "data=../x.npz", "seed=3"),
            "env.kwargs={limit: 3, fault_at: 2}",
        ],
    )
    assert space == [
        Range("planner.horizon", 2, 6, whole=True, log=False),
        Range("learner.learning_rate", 1e-4, 3e-3, whole=False, log=True),
        Range("updates_per_step", 1, 4, whole=False, log=False),
        Choice("seed_steps", ("20", "40")),
        Choice("planner", ("mppi", "cem")),
    ]
    assert fixed == ["data=../x.npz", "seed=3", "env.kwargs={limit: 3, fault_at: 2}"]
    assert (config.seed, config.env.kwargs["limit"]) == (3, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=3"], "expected a setting to search over, as planner.horizon=2..6"),
        (["planner.horizn=2..6"], "Did you mean 'planner.horizon'"),
        (["planner.horizon=6..2"], r"expected LOW below HIGH.*Did you mean 'planner.horizon=2..6'"),
        (["discount=0.1..0.9:lgo"], "got '0.1..0.9:lgo'. Did you mean 'discount=0.1..0.9:log'"),
        (["discount=0..0.9:log"], "expected a LOW above 0 for a logarithm"),
        (["planner.horizon=2..x"], "expected numbers as planner.horizon=LOW..HIGH.*got '2..x'"),
        (["planner.horizon=1..3,5"], "expected numbers as planner.horizon=LOW..HIGH"),
        (["planner=mppi,mppi"], "expected different values as planner=A,B,C, got 'mppi,mppi'"),
        (["planner=mppi,"], "expected different values"),
        (["planner=mppi,icm"], "icm"),
        (["planner.horizon=2.5..4.5"], "valid integer"),
        (["discount=0.5..1.5"], "less than 1; got 1.5"),
        (["steps=100..200"], "steps is the same in all trials; expected one value"),
        (["planner.horizon=2..3", "planner.horizon=4"], "planner.horizon is given twice"),
        (["planner.horizon=2..3", "run_dir=x"], "expected --out, got run_dir"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_trial(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_space(TOY, words)


def test_a_value_may_go_with_others_that_are_searched_over() -> None:
    """Four samples have no 64 elites, the default, but they may have two."""
    words = ["planner.samples=4..512:log", "planner.elites=2..64"]
    assert len(read_space(TOY, words)[2]) == 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"objective": "are"}, "Did you mean 'area'"),
        ({"pruner": "medain"}, "Did you mean 'median'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_plan(TOY, ["planner.horizon=2..6"], **how)


def test_a_family_that_learns_nothing_has_nothing_to_tune() -> None:
    with pytest.raises(ValueError, match="simulator learns nothing"):
        make_plan(TOY, ["planner.horizon=2..6", "model.kind=simulator"])
