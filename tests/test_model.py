"""The world model and its training: the contract, memory, luck, collapse, and what heads learn.

Models here are small and worlds smaller, so that what must be learnt is known.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.costs import imagine
from worldplan.agent.diagnostics import collapse_warning, diagnose
from worldplan.agent.heads import Heads, HeadsConfig
from worldplan.agent.jepa import JEPA, JEPAConfig
from worldplan.agent.learner import Learner, LearnerConfig
from worldplan.agent.replay import Batch, Replay

LATENTS: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "gaussian": {"kind": "gaussian", "dim": 4},
    "categorical": {"kind": "categorical", "groups": 2, "classes": 4},
}
GUARDS: dict[str, dict[str, Any]] = {
    "simnorm": {},
    "layernorm": {"encoder_ema": 0.01},
    "vicreg": {},
    "sigreg": {"sigreg_directions": 32},
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(
    observation: int,
    action: int,
    model: dict[str, Any] | None = None,
    heads: dict[str, Any] | None = None,
    discount: float = 0.9,
    seed: int = 0,
    **learner: Any,
) -> Learner:
    """A small learner. What a test depends on is set here or there, not left to the defaults."""
    torch.manual_seed(seed)
    config = JEPAConfig.model_validate(
        {"embedding": 32, "width": 64, "memory": 16, "latent": LATENTS["none"], **(model or {})}
    )
    sizes = {"width": 32, "layers": 1, "outcome_width": 32, "bins": 21, "limit": 3.0}
    jepa = JEPA(config, observation, action)
    jepa_heads = Heads(
        HeadsConfig.model_validate({**sizes, **(heads or {})}),
        jepa.feature_dim,
        jepa.latent_dim,
        action,
    )
    settings = {
        **{"horizon": 1, "learning_rate": 1e-3, "encoder_scale": 1.0, "decay": 0.5, "clip": 20.0},
        **{"consistency": 20.0, "reward": 0.1, "continuation": 0.1, "value": 0.1},
        **{"entropy": 1e-4, "target_rate": 0.01, "encoder_ema": 0.0, "task_gradient": True},
        **{"vicreg_variance": 1.0, "vicreg_covariance": 0.04, "sigreg": 1.0},
    }
    return Learner(
        LearnerConfig.model_validate({**settings, **learner}),
        jepa,
        jepa_heads,
        config.anti_collapse,
        discount,
        compiled=False,
    )


def window(x: Tensor, a: Tensor, reward: Tensor | None = None) -> Batch:
    """Windows in which nothing ends."""
    zero = torch.zeros(a.shape[:2])
    return Batch(x, a, zero if reward is None else reward, zero, zero == 0)


def train(
    learner: Learner, draw: Callable[[torch.Generator], Batch], updates: int, seed: int = 0
) -> dict[str, float]:
    """Metrics of the last updates, averaged. The last fifth runs at a tenth of the speed."""
    generator = rng(seed)
    for _ in range(10):
        learner.model.normaliser.update(draw(generator).observation.flatten(0, 1))
    late = updates - updates // 5
    sums: dict[str, float] = {}
    for step in range(updates):
        if step == late:
            for group in learner.optimizer.param_groups:
                group["lr"] *= 0.1
        metrics = learner.update(draw(generator), generator)
        if step >= late:
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value) / (updates - late)
    return sums


def noise_batch(
    learner: Learner, sequences: int = 8, seed: int = 0, observation: int = 3, action: int = 2
) -> Batch:
    """Windows of noise in which some end, in both ways."""
    steps, generator = learner.model.context - 1 + learner.config.horizon, rng(seed)
    batch = window(
        torch.randn(sequences, steps + 1, observation, generator=generator),
        2 * torch.rand(sequences, steps, action, generator=generator) - 1,
        torch.randn(sequences, steps, generator=generator),
    )
    batch.terminated[0, -1] = 1
    batch.valid[1, -1] = False
    return batch


def gradients(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """Of the total loss, by name; zero where a parameter takes no part."""
    noise = learner._noise(len(batch.reward), rng())
    loss, _, _ = learner.losses(
        batch.observation,
        batch.action,
        batch.reward,
        batch.terminated,
        batch.valid,
        learner.value_scale,
        *noise,
    )
    named = {f"model.{k}": p for k, p in learner.model.named_parameters()}
    named |= {f"heads.{k}": p for k, p in learner.heads.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(
        loss, list(named.values()), materialize_grads=True, allow_unused=True
    )
    return dict(zip(named, grads, strict=True))


def weights(learner: Learner) -> Tensor:
    """Everything that training changes, in one vector."""
    tensors = [*learner.model.state_dict().values(), *learner.heads.state_dict().values()]
    return torch.cat([u.double().flatten() for u in [*tensors, learner.value_scale]])


def stir(model: JEPA) -> JEPA:
    """Weights large enough for every input to matter."""
    generator = rng(7)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model


def stirred(kind: str, context: int, **model: Any) -> JEPA:
    return stir(make(3, 2, {"latent": LATENTS[kind], "context": context, **model}).model)


# The contract


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_shapes_of_any_leading_dimensions(kind: str, context: int, lead: tuple[int, ...]) -> None:
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
def test_pred_is_a_function_of_all_it_is_given(kind: str, context: int) -> None:
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
    """Counts evaluations of each part that has weights, from now on."""
    calls: dict[str, int] = {}

    def hook(name: str) -> Callable[..., None]:
        def count(*_: Any) -> None:
            calls[name] = calls.get(name, 0) + 1

        return count

    for name, part in model.named_children():
        if any(True for _ in part.parameters()):
            part.register_forward_hook(hook(name))
    return calls


def test_context_one_imagines_a_step_with_one_network() -> None:
    model = stirred("none", 1)
    h = model.encode(torch.randn(4, 3))
    calls = count_networks(model)
    imagine(model, h, model.initial_state(h), torch.randn(5, 4, 2), torch.randn(5, 4, 0))
    assert calls == {"dynamics": 5}
    model.filter(h, h, torch.zeros(4, 2), h, torch.ones(4, dtype=torch.bool))
    assert calls == {"dynamics": 6}


def test_luck_costs_the_prior_and_memory_its_gates() -> None:
    model = stirred("gaussian", 2)
    h = model.encode(torch.randn(4, 3))
    calls = count_networks(model)
    imagine(model, h, model.initial_state(h), torch.randn(5, 4, 2), torch.randn(5, 4, 4))
    assert calls == dict.fromkeys(("dynamics", "prior_net", "gates", "gates_norm"), 5)


@pytest.mark.parametrize("guard", [*GUARDS, "none"])
@pytest.mark.parametrize("context", [1, 3])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_gradient_reaches_every_parameter(kind: str, context: int, guard: str) -> None:
    latent = {**LATENTS[kind], "free_bits": 0.0}
    learner = make(
        3,
        2,
        {"latent": latent, "context": context, "anti_collapse": guard},
        horizon=2,
        **GUARDS.get(guard, {}),
    )
    stir(learner.model)
    for module in (learner.heads.outcome, learner.heads.policy, learner.heads.value):
        with torch.no_grad():
            for p in module.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=rng()))
    dead = [k for k, g in gradients(learner, noise_batch(learner)).items() if not g.any()]
    assert dead == []


def test_embeddings_are_of_the_kind_that_was_asked_for() -> None:
    x = 3 * torch.randn(50, 3, generator=rng())
    for guard in (*GUARDS, "none"):
        model = stirred("none", 1, anti_collapse=guard, simnorm_group=4)
        h = model.encode(x)
        for u in (h, model.expect(model.predict(h, h, h[:, :0], x[:, :2]))):
            simplices = torch.allclose(u.view(50, 4, 8).sum(1), torch.ones(50, 8))
            assert (simplices and bool((u > 0).all())) == (guard == "simnorm")
            normal = torch.allclose(u.mean(-1), torch.zeros(50), atol=1e-5)
            assert normal == (guard == "layernorm")


def test_a_width_that_simnorm_cannot_divide_names_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"multiple of simnorm_group=8, got 30; nearest: 32"):
        JEPAConfig(embedding=30, simnorm_group=8, anti_collapse="simnorm")
    assert JEPAConfig(embedding=30, simnorm_group=8, anti_collapse="vicreg").embedding == 30


# Memory


@pytest.mark.parametrize("context", [2, 4])
@pytest.mark.parametrize("kind", list(LATENTS))
def test_training_and_acting_give_the_same_state(
    tmp_path: Path, kind: str, context: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two environments act, one of them over an episode's end; their steps go to the replay. The
    state at the start of every training window is that of the actor at that moment."""
    config = AgentConfig.model_validate(
        {
            "model": {"embedding": 16, "width": 32, "memory": 8, "context": context}
            | {"latent": LATENTS[kind]},
            "heads": {"width": 16, "outcome_width": 16},
            "learner": {"horizon": 2},
        }
    )
    torch.manual_seed(0)
    agent = Agent(config, 3, 2)
    stir(agent.model)
    x = torch.randn(8, 2, 3, generator=rng())
    replay = Replay(tmp_path / "replay", 2, 3, 2, 100, 0)
    state = agent.initial(2)
    acted: dict[tuple[float, ...], Tensor] = {}
    for t in range(7):
        for env in range(2):
            if t == 0 or (env, t) == (1, 4):
                replay.begin(env, x[t, env].numpy())
        _, s = agent.filter(x[t], state)
        acted |= {tuple(x[t, env].tolist()): s[env] for env in range(2)}
        action, state, _ = agent.step(x[t], state, rng(t), actor="random")
        over = torch.tensor([False, t == 3])
        for env in range(2):
            # The final observation of an episode is not the first of the next.
            after = x[t + 1, env] + (100.0 if over[env] else 0.0)
            replay.add(env, action[env].numpy(), 0.0, False, bool(over[env]), after.numpy())
        state = state.reset(over)

    seen: list[tuple[Tensor, Tensor]] = []
    predict = agent.model.predict

    def record(h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        seen.append((h, s))
        return predict(h, s, z, a)

    monkeypatch.setattr(agent.model, "predict", record)
    batch = replay.sample(np.random.default_rng(0), 200, context - 1, 2)
    agent.learner.update(batch, rng())
    # Filtering predicts context - 1 times; the next call is the first imagined step.
    h, s = seen[context - 1]
    now = batch.observation[:, context - 1]
    torch.testing.assert_close(h, agent.model.encode(now).detach(), atol=1, rtol=1)
    starts = {tuple(row) for row in now.tolist()}
    assert starts == set(acted)
    for i, row in enumerate(now.tolist()):
        torch.testing.assert_close(s[i], acted[tuple(row)])
    # Most had something to remember.
    memories = torch.stack(list(acted.values()))[:, 16:]
    assert int((memories == 0).all(-1).sum()) == 3  # the first of each episode


def test_filtering_starts_anew_where_a_step_is_not_valid() -> None:
    model = stirred("gaussian", 4)
    h = model.encode(torch.randn(3, 6, 3, generator=rng()))
    a = torch.randn(6, 2, generator=rng(1))
    valid = torch.tensor([True, False] * 3)
    s = model.filter(h[0], model.initial_state(h[0]), a, h[1], torch.ones(6, dtype=torch.bool))
    after = model.filter(h[1], s, a, h[2], valid)
    assert torch.equal(after[~valid], model.initial_state(h[2])[~valid])
    assert (after[valid][:, 32:] != 0).all()
    # Nothing from before an invalid step is left.
    other = model.filter(h[0], s + 1, -a, h[2], valid)
    assert torch.equal(after[~valid], other[~valid])
    assert not torch.allclose(after[valid], other[valid])


@pytest.mark.parametrize("kind", list(LATENTS))
def test_filtering_takes_the_likeliest_of_what_happened(kind: str) -> None:
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


def test_resetting_one_actor_leaves_the_other() -> None:
    torch.manual_seed(0)
    model = {"embedding": 16, "width": 32, "memory": 8, "context": 3}
    agent = Agent(AgentConfig.model_validate({"model": model}), 3, 2)
    stir(agent.model)
    x = torch.randn(4, 2, 3, generator=rng())
    state = agent.initial(2)
    for t in range(3):
        _, state, _ = agent.step(x[t], state, rng(t), actor="random")
    _, kept = agent.filter(x[3], state)
    h, reset = agent.filter(x[3], state.reset(torch.tensor([True, False])))
    assert torch.equal(reset[0], agent.model.initial_state(h)[0])
    assert torch.equal(reset[1], kept[1])
    assert not torch.allclose(reset[0], kept[0])


def drift(generator: torch.Generator, context: int) -> Batch:
    """x' = x + v: the velocity v is of the episode, and not observed."""
    x, v = torch.randn(64, 1, generator=generator), 2 * torch.rand(64, 1, generator=generator) - 1
    steps = context - 1 + 1
    return window(
        (x + v * torch.arange(steps + 1)).unsqueeze(-1),
        2 * torch.rand(64, steps, 1, generator=generator) - 1,
    )


def test_memory_sees_what_one_observation_does_not_show() -> None:
    error = {}
    for context in (1, 3):
        learner = make(1, 1, {"context": context}, learning_rate=3e-3)
        train(learner, partial(drift, context=context), 150)
        batches = [drift(rng(100 + i), context) for i in range(8)]
        fields = (torch.cat([getattr(b, k) for b in batches]) for k in vars(batches[0]))
        error[context] = diagnose(learner.model, Batch(*fields), rng())["model_error"]
    # Without memory a third of the variance, at least, is out of reach.
    assert error[1] > 0.4
    assert error[3] < 0.5 * error[1]


# Luck


def coin(generator: torch.Generator, luck: float, sequences: int = 128) -> Batch:
    """x' = x + a + luck * (1 or -1, equally likely); the reward is x'."""
    x = 1.5 * torch.randn(sequences, generator=generator)
    a = 2 * torch.rand(sequences, generator=generator) - 1
    side = 2 * torch.randint(0, 2, (sequences,), generator=generator) - 1
    after = x + a + luck * side
    return window(torch.stack([x, after], 1).unsqueeze(-1), a.view(-1, 1, 1), after.unsqueeze(-1))


@cache
def coin_learner(kind: str, luck: float) -> tuple[Learner, dict[str, float]]:
    """A model of `coin` with z of a kind, its defaults for the KL, and its last metrics."""
    learner = make(1, 1, {"latent": LATENTS[kind]})
    updates = 400 if kind != "none" and luck else 250
    return learner, train(learner, partial(coin, luck=luck), updates)


@torch.no_grad()
def imagined(learner: Learner, x: float, a: float, count: int = 1000) -> tuple[Tensor, Tensor]:
    """x' - x - a of imagined futures (count,): read off the embedding by least squares, and off
    the predicted reward."""
    model, heads = learner.model, learner.heads

    def read(h: Tensor) -> Tensor:
        return torch.cat([h, torch.ones(len(h), 1)], 1).double()

    known = torch.linspace(-4, 4, 401).unsqueeze(-1)
    probe = read(model.encode(known))
    ridge = 1e-4 * torch.eye(probe.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(probe.T @ probe + ridge, probe.T @ known.double())
    assert (probe @ weights - known).abs()[100:300].max() < 0.2  # it can be read off

    h = model.encode(torch.full((count, 1), x))
    noise = torch.randn(1, count, model.noise_dim, generator=rng(3))
    future = imagine(model, h, model.initial_state(h), torch.full((1, count, 1), a), noise)
    reward, _ = heads.outcomes(future.features[:-1], future.z, future.actions)
    position = (read(future.h[1]) @ weights)[:, 0].float()
    return position - x - a, heads.code.decode(reward)[0] - x - a


PLACES = [(0.0, 0.0), (1.0, 0.5), (-1.0, 0.5), (0.5, -1.0)]


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_imagined_futures_show_both_outcomes_as_often_as_they_happen(kind: str) -> None:
    learner, metrics = coin_learner(kind, 1.0)
    assert metrics["kl"] > 0.4  # of ln 2 = 0.69 that there is to know
    for way in (0, 1):
        side = torch.cat([imagined(learner, x, a)[way] for x, a in PLACES])
        assert float((side > 0).float().mean()) == pytest.approx(0.5, abs=0.1)
        assert float(side[side > 0].mean()) == pytest.approx(1, abs=0.3)
        assert float(side[side < 0].mean()) == pytest.approx(-1, abs=0.3)
        assert (side.abs() < 0.4).float().mean() < 0.2  # where the mean lies, hardly anything does


def test_without_z_the_future_is_the_useless_mean() -> None:
    learner, _ = coin_learner("none", 1.0)
    for way in (0, 1):
        side = torch.cat([imagined(learner, x, a, 5)[way] for x, a in PLACES])
        assert side.abs().max() < 0.5
        assert side.view(-1, 5).std(1).max() < 1e-4


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_z_carries_nothing_where_nothing_is_left_to_luck(kind: str) -> None:
    learner, metrics = coin_learner(kind, 0.0)
    free = learner.model.latent.free_bits
    assert metrics["kl"] < free + 0.02 < 0.05
    side = torch.cat([imagined(learner, x, a)[0] for x, a in PLACES])
    assert side.abs().mean() < 0.2
    measures = diagnose(learner.model, coin(rng(5), 0.0), rng())
    assert measures["latent_sensitivity"] < 0.1
    assert measures["action_sensitivity"] > 0.3


# Collapse


def swirl(generator: torch.Generator, sequences: int = 64) -> Batch:
    """Six observed dimensions that turn, shrink and are pushed by two actions. No reward."""
    fixed = rng(42)
    turn: Tensor = torch.linalg.qr(torch.randn(6, 6, generator=fixed))[0]
    push = 0.5 * torch.randn(2, 6, generator=fixed)
    x = torch.randn(sequences, 6, generator=generator)
    a = 2 * torch.rand(sequences, 1, 2, generator=generator) - 1
    return window(torch.stack([x, 1.2 * torch.tanh(x @ turn) + a[:, 0] @ push], 1), a)


def collapse(guard: str, updates: int) -> list[dict[str, float]]:
    """Measures before and after training on triples alone."""
    learner = make(6, 2, {"anti_collapse": guard}, task_gradient=False, **GUARDS.get(guard, {}))
    watched = swirl(rng(9), 512)
    train(learner, swirl, 0)
    before = diagnose(learner.model, watched, rng())
    train(learner, swirl, updates)
    return [before, diagnose(learner.model, watched, rng())]


def test_without_a_guard_the_embedding_collapses() -> None:
    before, after = collapse("none", 260)
    assert after["effective_rank"] < 0.4 * before["effective_rank"]
    assert after["embedding_std"] < 0.1 * before["embedding_std"]
    assert collapse_warning(after, 6) is not None
    assert collapse_warning(before, 6) is None


@pytest.mark.parametrize("guard", list(GUARDS))
def test_guards_keep_the_embedding_from_collapsing(guard: str) -> None:
    before, after = collapse(guard, 160)
    assert after["effective_rank"] > 4.8  # of the six dimensions that there are
    assert after["embedding_std"] > 0.5 * before["embedding_std"]
    assert after["model_error"] < 0.6 < before["model_error"]
    assert after["action_sensitivity"] > 0.2
    assert collapse_warning(after, 6) is None


@pytest.mark.parametrize("guard", [*GUARDS, "none"])
@pytest.mark.parametrize("kind", ["none", "gaussian"])
def test_from_triples_alone_no_reward_or_value_shapes_the_model(kind: str, guard: str) -> None:
    latent = {**LATENTS[kind], "kl_weight": 0.0}
    model = {"latent": latent, "context": 2, "anti_collapse": guard}
    shaped = {}
    for task_gradient in (True, False):
        learner = make(
            3,
            2,
            model,
            horizon=2,
            task_gradient=task_gradient,
            consistency=0.0,
            **GUARDS.get(guard, {}),
        )
        with torch.no_grad():
            for p in learner.heads.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=rng()))
        grads = gradients(learner, noise_batch(learner))
        shaped[task_gradient] = {k for k, g in grads.items() if g.any()}
    # The heads learn either way; the model only where their gradient may pass.
    of_heads = {k for k in shaped[True] if k.startswith("heads.")}
    assert {k for k in shaped[False] if k.startswith("heads.")} == of_heads
    assert {k for k in shaped[False] if k.startswith("model.")} == set()
    assert {"model.encoder.0.0.weight", "model.dynamics.0.weight"} < shaped[True]


# The update


@pytest.mark.parametrize("kind", list(LATENTS))
def test_same_seed_same_weights(kind: str) -> None:
    def run(seed: int, noise: int) -> Tensor:
        learner = make(3, 2, {"latent": LATENTS[kind], "context": 2}, horizon=2, seed=seed)
        generator = rng(noise)
        for step in range(5):
            learner.update(noise_batch(learner, seed=step), generator)
        return weights(learner)

    first = run(0, 0)
    assert torch.isfinite(first).all()
    assert torch.equal(first, run(0, 0))
    assert not torch.equal(first, run(1, 0))
    assert not torch.equal(first, run(0, 1))


LEARNER_FLAGS: dict[str, tuple[Any, str]] = {
    "horizon": (1, "simnorm"),
    "learning_rate": (2e-3, "simnorm"),
    "encoder_scale": (0.5, "simnorm"),
    "clip": (1e-3, "simnorm"),
    "decay": (1.0, "simnorm"),
    "consistency": (0.0, "simnorm"),
    "reward": (0.0, "simnorm"),
    "continuation": (0.0, "simnorm"),
    "value": (0.0, "simnorm"),
    "entropy": (0.0, "simnorm"),
    "target_rate": (0.5, "simnorm"),
    "encoder_ema": (0.5, "layernorm"),
    "vicreg_variance": (0.0, "vicreg"),
    "vicreg_covariance": (0.0, "vicreg"),
    "sigreg": (0.0, "sigreg"),
    "sigreg_directions": (3, "sigreg"),
    "task_gradient": (False, "simnorm"),
}


def updated(
    model: dict[str, Any], heads: dict[str, Any] | None = None, **learner: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weights after three updates, and the last metrics."""
    learner_ = make(3, 2, {"context": 2, **model}, heads, **{"horizon": 2, **learner})
    metrics: dict[str, Tensor] = {}
    for step in range(3):
        metrics = learner_.update(noise_batch(learner_, seed=step), rng(step))
    return weights(learner_), metrics


def test_every_setting_of_the_learner_is_listed() -> None:
    assert set(LEARNER_FLAGS) == set(LearnerConfig.model_fields) - {"batch"}  # the loop's own


@pytest.mark.parametrize("flag", list(LEARNER_FLAGS))
def test_every_setting_of_the_learner_changes_what_is_learnt(flag: str) -> None:
    value, guard = LEARNER_FLAGS[flag]
    base = {"sigreg_directions": 16}
    normal, _ = updated({"anti_collapse": guard}, None, **base)
    changed, _ = updated({"anti_collapse": guard}, None, **{**base, flag: value})
    assert normal.shape == changed.shape
    assert (normal - changed).abs().max() > 1e-7


@pytest.mark.parametrize(
    ("kind", "flag", "value"),
    [
        ("gaussian", "kl_weight", 0.0),
        ("gaussian", "free_bits", 5.0),
        ("gaussian", "prior_share", 0.1),
        ("gaussian", "min_std", 0.5),
        ("categorical", "kl_weight", 0.0),
        ("categorical", "free_bits", 5.0),
        ("categorical", "prior_share", 0.1),
        ("categorical", "uniform", 0.5),
    ],
)
def test_every_setting_of_z_changes_what_is_learnt(kind: str, flag: str, value: float) -> None:
    latent = {**LATENTS[kind], "free_bits": 0.0, "kl_weight": 1.0, "prior_share": 0.8}
    normal, metrics = updated({"latent": latent})
    changed, _ = updated({"latent": {**latent, flag: value}})
    assert (normal - changed).abs().max() > 1e-7
    assert metrics["kl"] > 0


def test_discount_changes_what_is_learnt() -> None:
    normal, _ = updated({}, discount=0.9)
    assert not torch.equal(normal, updated({}, discount=0.5)[0])


def test_target_encoder_follows_slowly() -> None:
    learner = make(3, 2, {"anti_collapse": "layernorm"}, encoder_ema=0.25)
    assert learner.target_encoder is not None
    before = [p.clone() for p in learner.target_encoder.parameters()]
    learner.update(noise_batch(learner), rng())
    now = list(learner.model.encoder.parameters())
    for old, new, slow in zip(before, now, learner.target_encoder.parameters(), strict=True):
        torch.testing.assert_close(slow.detach(), old + 0.25 * (new.detach() - old))
    assert any(not torch.equal(old, new) for old, new in zip(before, now, strict=True))


def test_pred_is_trained_towards_the_target_encoder() -> None:
    learner = make(3, 2, {"anti_collapse": "layernorm"}, encoder_ema=0.25)
    assert learner.target_encoder is not None
    with torch.no_grad():
        for p in learner.target_encoder.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=rng()))
    model, batch = learner.model, noise_batch(learner)
    before, after = batch.observation.unbind(1)
    target = learner.target_encoder(model.normaliser(after))
    h = model.encode(before)
    predicted = model.predict(h, model.initial_state(h), h[:, :0], batch.action[:, 0])
    error = ((predicted - target) ** 2).mean(-1)
    expected = (error * batch.valid[:, 0]).mean()
    metrics = learner.update(batch, rng())
    torch.testing.assert_close(metrics["consistency"], expected.detach())


@pytest.mark.parametrize("context", [1, 3])
def test_what_follows_the_end_of_an_episode_counts_for_nothing(context: int) -> None:
    """Truncated after the first of three steps: the window then stands still at its last state."""
    learner = make(3, 2, {"context": context}, horizon=3)
    stir(learner.model)
    with torch.no_grad():
        for p in learner.heads.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng()))
    batch, first = noise_batch(learner), context - 1
    batch.observation[:, first + 2 :] = batch.observation[:, first + 1 : first + 2]
    batch.valid[:, first + 1 :] = False
    other = replace(
        batch,
        action=torch.where(batch.valid[..., None], batch.action, 1.0),
        reward=torch.where(batch.valid, batch.reward, 99.0),
        terminated=torch.where(batch.valid, batch.terminated, 1.0),
    )
    expected, got = gradients(learner, batch), gradients(learner, other)
    for name, gradient in expected.items():
        assert torch.allclose(got[name], gradient, atol=1e-6), name


# What heads learn

CHAIN = torch.tensor([1.0, -2.0, 3.0])


def chain(generator: torch.Generator) -> Batch:
    """Three places in a row, seen one-hot, with rewards CHAIN; the last step ends it."""
    at = torch.randint(0, 3, (64, 1), generator=generator) + torch.arange(4)
    x = torch.eye(4)[at.clamp(max=3)]  # the fourth place is where it has ended
    here, valid = at[:, :3].clamp(max=2), at[:, :3] < 3
    a = (2 * torch.rand(64, 3, 1, generator=generator) - 1) * valid[..., None]
    return Batch(x, a, CHAIN[here] * valid, (at[:, :3] == 2).float(), valid)


def test_heads_learn_a_chain_that_ends() -> None:
    learner = make(
        *(4, 1), horizon=3, learning_rate=3e-3, target_rate=0.1, reward=1.0, value=1.0, decay=1.0
    )
    train(learner, chain, 250)
    model, heads = learner.model, learner.heads
    h = model.encode(torch.eye(4)[:3])
    f, a = model.features(h, model.initial_state(h)), torch.zeros(3, 1)
    reward, go_on = heads.outcomes(f, h[:, :0], a)
    torch.testing.assert_close(heads.code.decode(reward), CHAIN, atol=0.15, rtol=0)
    assert (go_on.sigmoid() > 0.9).tolist() == [True, True, False]
    assert go_on[2].sigmoid() < 0.1
    # 3, then -2 + 0.9 * 3, then 1 + 0.9 * 0.7: nothing comes after the end.
    value = heads.code.decode(heads.values(f, a))
    expected = torch.tensor([1.63, 0.7, 3.0]).expand(2, 3)
    torch.testing.assert_close(value, expected, atol=0.2, rtol=0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_policy_climbs_the_value(sign: int) -> None:
    """One place, one step, and a reward of a or -a."""

    def draw(generator: torch.Generator) -> Batch:
        a = 2 * torch.rand(64, 1, 1, generator=generator) - 1
        ends = torch.ones(64, 1)
        return Batch(torch.zeros(64, 2, 1), a, sign * a[..., 0], ends, ends > 0)

    learner = make(1, 1, learning_rate=3e-3, value=1.0)
    noise = torch.randn(100, 1, generator=rng())

    def actions() -> Tensor:
        f = learner.model.encode(torch.zeros(100, 1))
        return learner.heads.act(f, noise)[0].detach()

    assert actions().mean().abs() < 0.2
    train(learner, draw, 60)
    assert sign * actions().mean() > 0.7


def ring(generator: torch.Generator) -> Batch:
    """Three places in a circle, a reward of 1 forever; half of the windows are cut short."""
    at = torch.randint(0, 3, (64, 1), generator=generator) + torch.arange(4)
    valid = torch.arange(3) < torch.randint(1, 4, (64, 1), generator=generator)
    last = valid.sum(1, keepdim=True)
    x = torch.eye(3)[(at[:, :1] + torch.arange(4).minimum(last)) % 3]
    a = (2 * torch.rand(64, 3, 1, generator=generator) - 1) * valid[..., None]
    return Batch(x, a, valid.float(), torch.zeros(64, 3), valid)


def test_value_of_a_reward_forever_is_its_geometric_sum_in_spite_of_time_limits() -> None:
    learner = make(3, 1, horizon=3, learning_rate=3e-3, target_rate=0.5, value=1.0)
    train(learner, ring, 300)
    model, heads = learner.model, learner.heads
    h = model.encode(torch.eye(3))
    f = model.features(h, model.initial_state(h))
    value = heads.code.decode(heads.values(f, torch.zeros(3, 1)))
    torch.testing.assert_close(value, torch.full((2, 3), 10.0), atol=1.0, rtol=0)
    _, go_on = heads.outcomes(f, h[:, :0], torch.zeros(3, 1))
    assert (go_on.sigmoid() > 0.95).all()
