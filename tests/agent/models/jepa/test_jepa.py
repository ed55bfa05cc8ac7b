"""JEPA: the contract of the world model, and its normalised embeddings."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.helpers.small_models import (
    ANTI_COLLAPSE,
    LATENTS,
    rng,
    stirred,
)
from worldplan.agent.models.jepa import JEPA, JEPAConfig
from worldplan.agent.models.world_model import imagine


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
    for method in (*ANTI_COLLAPSE, "none"):
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
