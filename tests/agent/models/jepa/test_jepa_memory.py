"""The memory in s: the same in training and in acting, bounded, and of use."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.acting import initial, take
from tests.helpers.small_models import (
    LATENTS,
    make,
    rng,
    stir,
    stirred,
    train,
    window,
)
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.data.batch import Batch
from worldplan.agent.data.replay import Replay
from worldplan.agent.evaluation.diagnostics import diagnose
from worldplan.envs import EnvironmentSpec

# The contract


@pytest.mark.parametrize("context", [2, 4])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_training_and_acting_give_the_same_state(
    tmp_path: Path, kind: str, context: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two environments fill a replay; in one of them an episode ends.

    The state at the start of every training window equals that of the actor at that step.
    """
    config = AgentConfig.model_validate(
        {
            "ema_rate": 1.0,
            "model": {"embedding": 16, "width": 32, "memory": 8, "context": context}
            | {"latent": LATENTS[kind]},
            "heads": {"width": 16, "outcome_width": 16},
            "learner": {"horizon": 2},
        }
    )
    torch.manual_seed(0)
    agent = Agent(config, EnvironmentSpec.vectors(3, 2))
    stir(agent.model)
    x = torch.randn(8, 2, 3, generator=rng())
    replay = Replay(tmp_path / "replay", agent.spec, 2, 100, 0)
    state = initial(agent, 2)
    acted: dict[tuple[float, ...], Tensor] = {}
    for t in range(7):
        for env in range(2):
            if t == 0 or (env, t) == (1, 4):
                replay.begin(env, x[t, env].numpy())
        _, s = state.filter(agent.model, x[t])
        acted |= {tuple(x[t, env].tolist()): s[env] for env in range(2)}
        action, state, _ = take(agent, x[t], state, rng(t), actor="random")
        over = torch.tensor([False, t == 3])
        for env in range(2):
            # The final observation of an episode is not the first of the next.
            after = x[t + 1, env] + (100.0 if over[env] else 0.0)
            replay.add(env, action[env].numpy(), 0.0, False, bool(over[env]), after.numpy())
        state = state.begin(over)

    seen: list[tuple[Tensor, Tensor]] = []
    predict = agent.model.predict

    def record(h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        seen.append((h, s))
        return predict(h, s, z, a)

    monkeypatch.setattr(agent.model, "predict", record)
    batch = replay.sample(np.random.default_rng(0), 200, context - 1, 2)
    agent.make_learner().update(batch, rng())
    # Filtering predicts context - 1 times; the next call is the first imagined step.
    h, s = seen[context - 1]
    now = batch.observation[:, context - 1]
    torch.testing.assert_close(h, agent.model.encode(now).detach(), atol=1, rtol=1)
    starts = {tuple(row) for row in now.tolist()}
    assert starts == set(acted)
    for i, row in enumerate(now.tolist()):
        torch.testing.assert_close(s[i], acted[tuple(row)])
    # All but the first steps of the episodes have a memory.
    memories = torch.stack(list(acted.values()))[:, 16:]
    assert int((memories == 0).all(-1).sum()) == 3  # the first step of each episode


def test_filtering_gives_the_initial_state_where_a_step_is_not_valid() -> None:
    model = stirred("gaussian", 4)
    h = model.encode(torch.randn(3, 6, 3, generator=rng()))
    a = torch.randn(6, 2, generator=rng(1))
    valid = torch.tensor([True, False] * 3)
    s = model.filter(h[0], model.initial_state(h[0]), a, h[1], torch.ones(6, dtype=torch.bool))
    after = model.filter(h[1], s, a, h[2], valid)
    assert torch.equal(after[~valid], model.initial_state(h[2])[~valid])
    assert (after[valid][:, 32:] != 0).all()
    # There the result does not depend on earlier steps.
    other = model.filter(h[0], s + 1, -a, h[2], valid)
    assert torch.equal(after[~valid], other[~valid])
    assert not torch.allclose(after[valid], other[valid])


@pytest.mark.parametrize("kind", list(LATENTS))
def test_filtering_uses_the_mode_of_the_posterior(kind: str) -> None:
    model = stirred(kind, 2)
    h, h_next = model.encode(torch.randn(2, 6, 3, generator=rng())).unbind()
    s, a = model.initial_state(h), torch.randn(6, 2, generator=rng(1))
    z = model.posterior(h, s, a, h_next).mode()
    filtered = model.filter(h, s, a, h_next, torch.ones(6, dtype=torch.bool))
    assert torch.equal(filtered, model.predict(h, s, z, a))


def test_memory_stays_bounded() -> None:
    model = stirred("none", 2)
    h = model.encode(3 * torch.randn(50, 3, generator=rng()))
    s = model.initial_state(h)
    for _ in range(30):
        s = model.predict(h, s, h[:, :0], torch.ones(50, 2))
    assert 0.3 < s[:, 32:].abs().max() < 1


def test_a_reset_of_one_environment_keeps_the_state_of_the_other() -> None:
    torch.manual_seed(0)
    model = {"embedding": 16, "width": 32, "memory": 8, "context": 3}
    agent = Agent(AgentConfig.model_validate({"model": model}), EnvironmentSpec.vectors(3, 2))
    stir(agent.model)
    x = torch.randn(4, 2, 3, generator=rng())
    state = initial(agent, 2)
    for t in range(3):
        _, state, _ = take(agent, x[t], state, rng(t), actor="random")
    _, kept = state.filter(agent.model, x[3])
    h, reset = state.begin(torch.tensor([True, False])).filter(agent.model, x[3])
    assert torch.equal(reset[0], agent.model.initial_state(h)[0])
    assert torch.equal(reset[1], kept[1])
    assert not torch.allclose(reset[0], kept[0])


def drift(generator: torch.Generator, context: int) -> Batch:
    """x' = x + v: the velocity v is constant in an episode, and not observed."""
    x, v = torch.randn(64, 1, generator=generator), 2 * torch.rand(64, 1, generator=generator) - 1
    steps = context - 1 + 1
    return window(
        (x + v * torch.arange(steps + 1)).unsqueeze(-1),
        2 * torch.rand(64, steps, 1, generator=generator) - 1,
    )


def test_memory_infers_a_velocity_that_is_not_observed() -> None:
    error = {}
    for context in (1, 3):
        learner = make(1, 1, {"context": context}, learning_rate=3e-3)
        train(learner, partial(drift, context=context), 150)
        batches = [drift(rng(100 + i), context) for i in range(8)]
        fields = (torch.cat([getattr(b, k) for b in batches]) for k in vars(batches[0]))
        error[context] = diagnose(learner.model, Batch(*fields), rng())["model_error"]
    # Without memory at least a third of the variance cannot be predicted.
    assert error[1] > 0.4
    assert error[3] < 0.5 * error[1]
