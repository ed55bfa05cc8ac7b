"""JEPA: the contract of the world model, its memory, and filtering."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.helpers.acting import initial, take
from tests.helpers.small_models import GUARDS, LATENTS, make, rng, stir, stirred, train, window
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.data.replay import Batch, Replay
from worldplan.agent.evaluation.diagnostics import diagnose
from worldplan.agent.models.jepa import JEPA, JEPAConfig
from worldplan.agent.models.world_model import imagine
from worldplan.envs import EnvironmentSpec

# The contract


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_any_leading_shape(kind: str, context: int, lead: tuple[int, ...]) -> None:
    model = stirred(kind, context)
    assert model.context == context
    x, a = torch.randn(*lead, 3, generator=rng()), torch.randn(*lead, 2, generator=rng(1))
    h = model.encode(x)
    assert h.shape == (*lead, model.embedding_dim)
    s = model.initial_state(h)
    assert s.shape == (*lead, model.embedding_dim + (16 if context > 1 else 0))
    assert torch.equal(model.expect(s), h)
    z = model.prior(h, s, a).sample(torch.randn(*lead, model.noise_dim, generator=rng(2)))
    assert z.shape == (*lead, model.latent_dim)
    after = model.predict(h, s, z, a)
    assert after.shape == s.shape
    assert model.expect(after).shape == h.shape
    assert model.features(h, after).shape == (*lead, model.feature_dim)
    posterior = model.posterior(h, s, a, model.expect(after))
    assert posterior.mode().shape == z.shape
    assert posterior.kl(model.prior(h, s, a)).shape == lead
    filtered = model.filter(h, s, a, model.expect(after), torch.ones(lead, dtype=torch.bool))
    assert filtered.shape == s.shape


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_pred_depends_on_all_its_arguments(kind: str, context: int) -> None:
    model = stirred(kind, context)
    h, other_h = model.encode(torch.randn(2, 5, 3, generator=rng())).unbind()
    s, a = model.initial_state(h), torch.randn(5, 2, generator=rng(1))
    z, other_z = model.prior(h, s, a).sample(3 * torch.randn(2, 5, model.noise_dim)).unbind()
    after = model.predict(h, s, z, a)
    assert torch.equal(after, model.predict(h, s, z, a))
    assert not torch.allclose(after, model.predict(other_h, s, z, a))
    assert not torch.allclose(after, model.predict(h, s, z, -a))
    assert torch.allclose(after, model.predict(h, s, other_z, a)) == (kind == "none")
    remembered = model.predict(h, s, z, a)
    assert torch.allclose(after, model.predict(h, remembered, z, a)) == (context == 1)


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_without_the_action_variable_no_output_depends_on_a(kind: str, context: int) -> None:
    blind = stirred(kind, context, action=False)
    assert not blind.uses_action
    seeing = stirred(kind, context)
    assert [p.shape for p in blind.parameters()] == [p.shape for p in seeing.parameters()]
    h, h_next = blind.encode(torch.randn(2, 5, 3, generator=rng())).unbind()
    s, noise = blind.initial_state(h), torch.randn(5, blind.noise_dim, generator=rng(1))
    a, other = torch.randn(2, 5, 2, generator=rng(2)).unbind()

    def outputs(model: JEPA, a: Tensor) -> tuple[Tensor, ...]:
        z = model.prior(h, s, a).sample(noise)
        posterior_z = model.posterior(h, s, a, h_next).sample(noise)
        return z, posterior_z, model.predict(h, s, z, a), model.predict(h, s, posterior_z, a)

    for one, two in zip(outputs(blind, a), outputs(blind, other), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(outputs(seeing, a)[2], outputs(seeing, other)[2])


@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_a_batch_equals_its_rows_one_by_one(kind: str, context: int) -> None:
    model = stirred(kind, context)
    x, x_next = torch.randn(2, 6, 3, generator=rng()).unbind()
    a, noise = torch.randn(6, 2, generator=rng(1)), torch.randn(6, model.noise_dim)
    valid = torch.tensor([True, False] * 3)

    def step(rows: slice) -> tuple[Tensor, Tensor]:
        h, h_next = model.encode(x[rows]), model.encode(x_next[rows])
        s = model.initial_state(h)
        s = model.filter(h, s, a[rows], h_next, valid[rows])
        z = model.prior(h_next, s, a[rows]).sample(noise[rows])
        return s, model.predict(h_next, s, z, a[rows])

    rows = [step(slice(i, i + 1)) for i in range(6)]
    for together, alone in zip(step(slice(None)), zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(alone))


def count_networks(model: JEPA) -> dict[str, int]:
    """Counts the calls of each submodule that has weights, from now on."""
    calls: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def count(*_: Any) -> None:
            calls[name] = calls.get(name, 0) + 1

        return count

    for name, part in model.named_children():
        if any(True for _ in part.parameters()):
            part.register_forward_hook(hook(name))
    return calls


def test_with_context_one_a_step_needs_one_network() -> None:
    model = stirred("none", 1)
    h = model.encode(torch.randn(4, 3))
    calls = count_networks(model)
    imagine(model, h, model.initial_state(h), torch.randn(5, 4, 2), torch.randn(5, 4, 0))
    assert calls == {"dynamics": 5}
    model.filter(h, h, torch.zeros(4, 2), h, torch.ones(4, dtype=torch.bool))
    assert calls == {"dynamics": 6}


def test_a_latent_adds_the_prior_and_a_memory_its_gates() -> None:
    model = stirred("gaussian", 2)
    h = model.encode(torch.randn(4, 3))
    calls = count_networks(model)
    imagine(model, h, model.initial_state(h), torch.randn(5, 4, 2), torch.randn(5, 4, 4))
    assert calls == dict.fromkeys(("dynamics", "prior_net", "gates", "gates_norm"), 5)


def test_embeddings_are_normalised_by_the_chosen_method() -> None:
    x = 3 * torch.randn(50, 3, generator=rng())
    for method in (*GUARDS, "none"):
        model = stirred("none", 1, anti_collapse=method, simnorm_group=4)
        h = model.encode(x)
        for u in (h, model.expect(model.predict(h, h, h[:, :0], x[:, :2]))):
            simplices = torch.allclose(u.view(50, 4, 8).sum(1), torch.ones(50, 8))
            assert (simplices and bool((u > 0).all())) == (method == "simnorm")
            normal = torch.allclose(u.mean(-1), torch.zeros(50), atol=1e-5)
            assert normal == (method == "layernorm")


def test_an_embedding_that_is_no_multiple_of_the_group_names_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"multiple of simnorm_group=8, got 30; nearest: 32"):
        JEPAConfig(embedding=30, simnorm_group=8, anti_collapse="simnorm")
    assert JEPAConfig(embedding=30, simnorm_group=8, anti_collapse="vicreg").embedding == 30


# Memory


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
