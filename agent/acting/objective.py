"""What plans are for: the score of an imagined trajectory. The more, the better.

Shapes: B plans, D observation, H embedding, T horizon, R imagined rows, F features, A action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.world_model import ImaginedTrajectory, WorldModel, imagine_step


class Objective(Protocol):
    """Scores imagined trajectories, and tells what each score is made of."""

    @property
    def exploring(self) -> Objective:
        """What to plan for instead where plans are to find out how right it is."""

    @property
    def unit(self) -> Tensor | None:
        """() of the scores; None: 1."""

    @property
    def caution(self) -> Tensor | None:
        """() what a search divides scores by where nothing is to be explored; None: 1."""

    def __call__(self, imagined: ImaginedTrajectory, /) -> Tensor:
        """The score of each row (R,)."""

    def items(self, imagined: ImaginedTrajectory, /) -> Tensor:
        """What the score adds up (T+1, R): each step's part, and last what comes after them."""


@dataclass(frozen=True, eq=False)
class LearnedReturn:
    """Predicted rewards over the horizon, then the policy's value, if it is `terminal`.

    Each step is discounted by the probability that the episode has lasted so far, so that a plan
    which falls loses what it would have earned after.

    A value is a few percent wrong, which is more than what three steps can gain; so plans led to
    where it is overrated, and stayed there. The policy does not stay there. So it acts on in the
    model for `depths` steps, and the value after the plan is the mean of what is found from each:
    EfficientTDMPC (https://arxiv.org/abs/2605.16692) averages over depths too. Unlike there, not
    while exploring: an agent learns faster that goes where the value is overrated, and finds out
    (docs/experiments.md, tenth round).
    """

    heads: Heads
    discount: float
    terminal: bool = True
    model: WorldModel | None = None  # in which the policy acts on
    depths: int = 0

    @property
    def exploring(self) -> LearnedReturn:
        return replace(self, depths=0)

    @property
    def unit(self) -> Tensor:
        """Scores are in the heads' unit, so that a planner's temperature suits any rewards."""
        return self.heads.unit.value

    @property
    def caution(self) -> Tensor:
        """At least 0.15 of the spread of values: a planner's temperature of 2 is 0.3 of it then.

        Where values are in the hundreds the best elite had all the weight otherwise: a plan is then
        what the value overrates most. An agent that explores finds that out, and it learns faster
        for it (docs/experiments.md, sixth and eighth round); one that is to act well falls.
        """
        return (0.15 * self.heads.unit.spread).clamp(min=1)

    def __call__(self, imagined: ImaginedTrajectory) -> Tensor:
        return self._sum(imagined, since=0)

    def rest(self, imagined: ImaginedTrajectory) -> Tensor:
        """What is left (R,) once the first action is done."""
        return self._sum(imagined, since=1)

    def _sum(self, imagined: ImaginedTrajectory, since: int) -> Tensor:
        reward, go_on, total = self._outlook(imagined)
        for t in reversed(range(since, len(reward))):
            total = reward[t] + self.discount * go_on[t] * total
        return total

    def items(self, imagined: ImaginedTrajectory) -> Tensor:
        reward, go_on, value = self._outlook(imagined)
        weight, items = torch.ones_like(value), []
        for r, chance in zip(reward, go_on, strict=True):
            items.append(weight * r)
            weight = weight * self.discount * chance
        return torch.stack([*items, weight * value])

    def _outlook(self, imagined: ImaginedTrajectory) -> tuple[Tensor, Tensor, Tensor]:
        """Each step's reward (T, R) and probability to go on (T, R); the value (R,) after them."""
        # Heads read all steps in one batch once the dynamics are unrolled.
        heads = self.heads
        reward_logits, go_on = heads.outcomes(imagined.features[:-1], imagined.z, imagined.actions)
        rewards = heads.code.decode(reward_logits)
        if not self.terminal:
            return rewards, go_on.sigmoid(), torch.zeros_like(rewards[0])
        return rewards, go_on.sigmoid(), self._after(imagined)

    def _after(self, imagined: ImaginedTrajectory) -> Tensor:
        """The policy's value (R,) where the plan ends, mean over depths."""
        heads, model, still = self.heads, self.model, torch.zeros_like(imagined.actions[0])
        h, s, f = imagined.h[-1], imagined.s, imagined.features[-1]
        action, _ = heads.act(f, still)
        fs, actions, zs = [f], [action], []
        for _ in range(self.depths):
            assert model is not None, "depths need one"
            assert s is not None, "learned models tell it"
            h, s, z = imagine_step(model, h, s, action, f.new_zeros(len(f), model.noise_dim))
            f = model.features(h, s)
            action, _ = heads.act(f, still)
            fs.append(f)
            actions.append(action)
            zs.append(z)
        features, acted = torch.stack(fs), torch.stack(actions)
        values = heads.code.decode(heads.values(features, acted)).mean(0)
        if not zs:
            return values[0]
        logits, go_on = heads.outcomes(features[:-1], torch.stack(zs), acted[:-1])
        reward, total = heads.code.decode(logits), values[-1]
        for d in reversed(range(self.depths)):  # the sum of what the deeper ones find
            later = (self.depths - d) * reward[d] + self.discount * go_on[d].sigmoid() * total
            total = values[d] + later
        return total / (self.depths + 1)


@dataclass(frozen=True)
class TrueReturn:
    """Discounted true rewards over the horizon, of a model that knows them; nothing after."""

    discount: float
    unit: ClassVar[None] = None
    caution: ClassVar[None] = None

    @property
    def exploring(self) -> TrueReturn:
        return self

    def __call__(self, imagined: ImaginedTrajectory) -> Tensor:
        reward = self._reward(imagined)
        return (reward.T @ self._weights(reward)).to(imagined.h.dtype)

    def items(self, imagined: ImaginedTrajectory) -> Tensor:
        reward = self._reward(imagined)
        items = reward * self._weights(reward)[:, None]
        return torch.cat([items, torch.zeros_like(items[:1])]).to(imagined.h.dtype)

    def _reward(self, imagined: ImaginedTrajectory) -> Tensor:
        assert imagined.reward is not None, "only a model that knows the rewards comes here"
        return imagined.reward

    def _weights(self, reward: Tensor) -> Tensor:
        return self.discount ** torch.arange(len(reward), dtype=reward.dtype, device=reward.device)


@dataclass(frozen=True)
class DecodedCost:
    """Minus a cost of decoded observations, summed over the horizon; see `Agent.minimise`."""

    cost: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    unit: ClassVar[None] = None
    caution: ClassVar[None] = None

    @property
    def exploring(self) -> DecodedCost:
        return self

    def __call__(self, imagined: ImaginedTrajectory) -> Tensor:
        return -self._costs(imagined).sum(0)

    def items(self, imagined: ImaginedTrajectory) -> Tensor:
        items = -self._costs(imagined)
        return torch.cat([items, torch.zeros_like(items[:1])])

    def _costs(self, imagined: ImaginedTrajectory) -> Tensor:
        """(T, R)."""
        features = imagined.features[1:]
        x = _called("decode", self.decode, features, features)
        if x.ndim != 3 or x.shape[:2] != features.shape[:2]:
            raise ValueError(
                f"decode must return (T, R, D) with {tuple(features.shape[:2])} for T and R, not "
                f"{tuple(x.shape)}"
            )
        each = _called("cost", self.cost, x, features)
        if each.shape != x.shape[:-1]:
            raise ValueError(
                f"the cost must return (T, R) = {tuple(x.shape[:-1])}, not {tuple(each.shape)}"
            )
        return each


def _called(name: str, function: Callable[[Tensor], Any], x: Tensor, like: Tensor) -> Tensor:
    """What a user's function returns for x, as a tensor like another, of float32 at least."""
    try:
        found = function(x)
    except (RuntimeError, TypeError) as error:
        if not x.requires_grad and x.device.type == "cpu":
            raise  # it can be no matter of NumPy
        raise ValueError(
            f"{name} gets a tensor on {x.device}"
            f"{' with gradients, which planner.kind=gradient needs' * x.requires_grad}; expected "
            f"operations of torch in it, got {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor):
        found = torch.as_tensor(np.asarray(found))
    if found.is_complex():
        raise ValueError(f"{name} must return real numbers, not {found.dtype}")
    return found.to(like.device, torch.promote_types(like.dtype, torch.float32))
