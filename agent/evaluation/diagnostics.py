"""Measures of a world model and of a policy that a learning curve does not show.

Shapes: S sequences, D observation, A action, H embedding, E latent noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from worldplan.agent.data.batch import Batch
from worldplan.agent.evaluation.shown import shown
from worldplan.agent.learning.heads import Heads
from worldplan.agent.models.world_model import Model, WorldModel, filter_context, imagine_step


def effective_rank(h: Tensor) -> float:
    """exp of the entropy of the normalised singular values of h (S, H): the number
    of directions that embeddings use (Roy & Vetterli 2007; RankMe, Garrido et al. 2023,
    https://arxiv.org/abs/2210.02885). At least 1.

    Embeddings are not centred: if all shrink to one point, their rank is 1, whatever the small
    differences between them.
    """
    values = torch.linalg.svdvals(h)
    share = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(share).sum().exp())


def encode_windows(model: WorldModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Embeddings (S, steps + 1, H) of windows, and the state (S, ...) after their context."""
    h = model.encode(batch.observation)
    return h, filter_context(model, h, batch.action, batch.valid)


def filtered(model: WorldModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Embedding (S, H) and state (S, S') once a window's first `context` observations are seen."""
    h, s = encode_windows(model, batch)
    return h[:, model.context - 1], s


@torch.no_grad()
def diagnose(model: WorldModel, batch: Batch, generator: torch.Generator) -> dict[str, float]:
    """Collapse of Enc, and whether Pred uses the action and z.

    Returns:
        embedding_std: mean standard deviation of an embedding dimension over observations.
        embedding_spread: the same, divided by the size of the embedding. 0: all are the same.
        effective_rank: of the embeddings.
        action_sensitivity, latent_sensitivity: distance that the predicted embedding moves with
            the action of another window, or with another draw of z, divided by the standard
            deviation of embeddings. 0: not used.
        model_error: distance of the one-step prediction from the embedding that followed, on the
            same scale. Predicting the mean has an error of 1.
    """
    first = model.context - 1
    h, s = encode_windows(model, batch)
    now, act, following = h[:, first], batch.action[:, first], h[:, first + 1]
    shuffled = act[torch.randperm(len(act), generator=generator, device=generator.device)]
    shape = (2, len(act), model.noise_dim)
    noise, other = torch.randn(shape, generator=generator, device=generator.device).unbind()

    def predict(action: Tensor, noise: Tensor) -> Tensor:
        return imagine_step(model, now, s, action, noise)[0]

    spread = (following - following.mean(0)).square().sum(-1).mean().clamp(min=1e-12)

    def distance(p: Tensor, q: Tensor) -> float:
        return float(((p - q).square().sum(-1).mean() / spread).sqrt())

    predicted = predict(act, noise)
    return {
        "embedding_std": float(now.std(0).mean()),
        "embedding_spread": float(now.std(0).mean() / now.square().mean().sqrt().clamp(min=1e-12)),
        "effective_rank": effective_rank(now),
        "action_sensitivity": distance(predict(shuffled, noise), predicted),
        "latent_sensitivity": distance(predict(act, other), predicted),
        "model_error": distance(predicted, following),
    }


@torch.no_grad()
def diagnose_policy(
    model: Model, heads: Heads, batch: Batch, generator: torch.Generator
) -> dict[str, float]:
    """Whether the policy is saturated, and whether the value tells actions apart.

    Returns:
        saturated: share of the components of the policy's mode that are above 0.95 in size; of
            numbers only, not of choices.
        q_executed, q_policy, q_random: mean value of replayed states with the action that was
            executed, with the policy's mode, and with uniform actions.
    """
    h, s = filtered(model, batch)
    f, executed = model.features(h, s), batch.action[:, model.context - 1]
    mode, _ = heads.act(f, torch.zeros_like(executed))
    noise = torch.randn(executed.shape, generator=generator, device=generator.device)
    actions = {"executed": executed, "policy": mode, "random": heads.actions.random(noise)}
    values = {
        f"q_{name}": float(heads.code.decode(heads.values(f, a)).mean() * heads.unit.value)
        for name, a in actions.items()
    }
    if not heads.actions.continuous:
        return values
    return {"saturated": float((mode.abs() > 0.95).double().mean()), **values}


class PolicyLag:
    """Notices, once, that the policy alone is far worse than the planner.

    Far is less than a third of what the planner's return has gained on the lowest return of any
    evaluation, and a tenth of that return: a run whose first evaluation is nearly the best has
    gained next to nothing. It says nothing before step `after`: early on, values have not been
    learned.

    Args:
        remedies: what may help, in the words of the command line.
    """

    def __init__(self, after: float, remedies: Sequence[str]) -> None:
        self.after, self.remedies = after, remedies
        self.worst, self.told = math.inf, False

    def notice(self, step: int, planner: float, policy: float) -> str | None:
        """One line that says what to do, or None, after an evaluation with these mean returns."""
        self.worst = min(self.worst, planner, policy)
        lags = policy - self.worst < (planner - self.worst) / 3
        lags &= planner - policy > 0.1 * max(abs(planner), abs(policy))
        if self.told or not lags or step < self.after:
            return None
        self.told = True
        return (
            f"the policy alone returns {shown(policy)} where the planner returns {shown(planner)}: "
            "values bootstrap from a policy that is much worse than what is executed. Try "
            + " or ".join(self.remedies)
        )


def collapse_warning(measures: dict[str, float], dimensions: int) -> str | None:
    """One line that says what to do if embeddings have collapsed, else None.

    Collapse is an effective rank below a tenth of the numbers observed, or a spread below a
    tenth of the embedding's size.
    """
    rank, spread = measures["effective_rank"], measures["embedding_spread"]
    if rank >= max(1.5, 0.1 * dimensions) and spread > 0.1:
        return None
    return (
        f"the embedding has collapsed (effective rank {rank:.1f}, spread {spread:.1e} of its "
        "size): the model predicts well because everything looks the same to it. Try "
        "model.anti_collapse=simnorm or vicreg, learner.task_gradient=true, or a smaller "
        "learner.learning_rate"
    )
