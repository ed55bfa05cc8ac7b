"""What is compiled before an agent goes on with it."""

from typing import Any

import pytest

from tests.helpers.acting_agents import agent
from worldplan.agent.agent import Agent
from worldplan.agent.training.compiled.switching import rehearse


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {(True, False)}),
        ({"sample_elite": 1.0}, {(True, False), (True, True)}),
        ({"sample_elite": 0.5}, {(True, False), (True, True)}),
        ({"greedy_episodes": 0.5}, {(True, False), (False, False)}),
    ],
)
def test_every_kind_of_episode_is_decided_once(
    settings: dict[str, float], expected: set[tuple[bool, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = agent()
    a = Agent(a.config.model_copy(update=settings), a.spec)
    whole, found = a.controller._whole, []

    def watched(*given: Any) -> Any:
        found.append(given[-2:])  # whether it explores, whether it executes an elite
        return whole(*given)

    monkeypatch.setattr(a.controller, "_whole", watched)
    rehearse(a, a.make_learner(), [1])
    assert set(found) == expected
    del found[:]
    rehearse(a, a.make_learner(), [1, 2])  # two at once are those of an evaluation
    assert set(found) == expected | {(False, False)}
