"""A policy over choices, on tiny known problems."""

import pytest
import torch
from torch import Tensor

from tests.helpers.small_models import make, rng, train, window
from worldplan.agent.data.batch import Batch
from worldplan.planners import Categorical

SPACE = Categorical((3, 2))


def choices(*lead: int, generator: torch.Generator) -> Tensor:
    return SPACE.random(torch.randn(*lead, SPACE.size, generator=generator))


@pytest.mark.parametrize("best", [(0, 0), (1, 1), (2, 0)])
def test_the_policy_climbs_the_value(best: tuple[int, int]) -> None:
    """One place, one step; the reward is the number of choices that are the best."""
    wanted = torch.cat([torch.eye(3)[best[0]], torch.eye(2)[best[1]]])

    def draw(generator: torch.Generator) -> Batch:
        a = choices(64, 1, generator=generator)
        ends = torch.ones(64, 1)
        return Batch(torch.zeros(64, 2, 1), a, a @ wanted, ends, ends > 0)

    learner = make(1, SPACE, learning_rate=3e-3, value=1.0)
    noise = torch.randn(500, SPACE.size, generator=rng())
    f = learner.model.encode(torch.zeros(500, 1))

    def right() -> Tensor:
        """How often each choice is the best one."""
        action = learner.heads.act(f, noise)[0].detach()
        assert torch.equal(action, SPACE.executable(action))
        first, second = (action * wanted).split_with_sizes((3, 2), -1)
        return torch.stack([first.sum(-1), second.sum(-1)]).mean(1)

    torch.testing.assert_close(right(), torch.tensor([1 / 3, 1 / 2]), atol=0.1, rtol=0)
    train(learner, draw, 100)
    f = learner.model.encode(torch.zeros(500, 1))
    assert (right() > 0.9).all()
    assert torch.equal(learner.heads.act(f, torch.zeros_like(noise))[0][0].detach(), wanted)


def test_entropy_keeps_choices_that_are_as_good_alike() -> None:
    def draw(generator: torch.Generator) -> Batch:
        a = choices(64, 1, generator=generator)
        return window(torch.zeros(64, 2, 1), a)

    learner = make(1, SPACE, learning_rate=3e-3, entropy=1.0)
    with torch.no_grad():
        last = learner.heads.policy[-1]
        last.bias.copy_(torch.tensor([2.0, 0.0, -2.0, 1.0, 0.0]))  # type: ignore[operator]
    metrics = train(learner, draw, 150)
    assert metrics["entropy"] == pytest.approx(float(torch.tensor(6.0).log()), abs=0.05)


def test_a_policy_in_imagination_climbs_the_return() -> None:
    """x' is the first choice, 0, 1 or 2, and the reward is x: the next step's, not this one's."""

    def draw(generator: torch.Generator) -> Batch:
        x = torch.randint(3, (128, 1), generator=generator)
        a = choices(128, 1, generator=generator)
        after = a[..., :3].argmax(-1)
        seen = torch.eye(3)[torch.cat([x, after], 1)]
        return window(seen, a, x.float())

    learner = make(3, SPACE, imagination=2, learning_rate=3e-3, value=1.0, reward=1.0)
    train(learner, draw, 200)
    mode = learner.heads.act(learner.model.encode(torch.eye(3)), torch.zeros(3, SPACE.size))[0]
    assert (mode[:, :3].argmax(-1) == 2).all()
