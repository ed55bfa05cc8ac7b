"""What is imagined beside what happens, by models that are right, wrong and unsure."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.helpers.acting import initial, take
from worldplan.agent.agent import Agent, AgentConfig
from worldplan.agent.experiments.imagine import imagined
from worldplan.agent.experiments.imagine.imagined import (
    Comparison,
    Futures,
    Played,
    Reading,
    compare,
    learn_to_read,
    noticed,
    play,
    pose_code,
)
from worldplan.agent.experiments.imagine.pictures import Sight
from worldplan.agent.experiments.imagine.show import plot
from worldplan.agent.models.latent import Gaussian, LatentDistribution, NoLatent
from worldplan.agent.models.world_model import imagine as imagine_rows
from worldplan.envs import EnvConfig, EnvironmentSpec, make_env
from worldplan.envs.spec import ObservationSpec

ENV = EnvConfig(id="toy_envs:ToySlider-v0")
BLIND = EnvConfig(id="toy_envs:ToySlider-v0", kwargs={"blind": True})


class Exact:
    """ToySlider as it is, times `push` on actions; z adds `spread` to the speed."""

    context, uses_action = 1, True
    spec: EnvironmentSpec
    imagine = imagine_rows

    def __init__(self, push: float = 1.0, spread: float = 0.0, blind: bool = False) -> None:
        self.push, self.spread, self.blind = push, spread, blind
        self.embedding_dim = self.feature_dim = 4 if blind else 5
        self.latent_dim = self.noise_dim = int(spread > 0)

    def encode(self, x: Tensor) -> Tensor:
        return x

    initial_state = expect = encode

    def features(self, h: Tensor, s: Tensor) -> Tensor:
        return h

    def prior(self, h: Tensor, s: Tensor, a: Tensor) -> LatentDistribution:
        if not self.latent_dim:
            return NoLatent(h[..., :0])
        return Gaussian(torch.zeros_like(h[..., :1]), torch.ones_like(h[..., :1]))

    def predict(self, h: Tensor, s: Tensor, z: Tensor, a: Tensor) -> Tensor:
        place, (speed, cosine, sine, spin) = h[..., :-4], h[..., -4:].unbind(-1)
        speed = speed + 0.1 * self.push * a[..., 0] + self.spread * z.sum(-1)
        spin = spin + 0.1 * self.push * a[..., 1]
        c, s = (0.1 * spin).cos(), (0.1 * spin).sin()
        moved = [speed, c * cosine - s * sine, s * cosine + c * sine, spin]
        return torch.cat([place + 0.1 * speed[..., None], torch.stack(moved, -1)], -1)


def agent_with(model: Exact | None = None, **config: Any) -> Agent:
    small = {
        "model": {"embedding": 16, "width": 16, "simnorm_group": 4, **config},
        "heads": {"width": 16, "outcome_width": 16, "bins": 21},
        "planner": {"samples": 8, "elites": 4, "iterations": 1},
        "proposals": 2,
    }
    torch.manual_seed(0)
    spec = EnvironmentSpec.vectors(4 if model and model.blind else 5, 2)
    agent = Agent(AgentConfig.model_validate(small), spec)
    if model is not None:
        model.spec = spec
        agent.model = agent.controller.model = model  # type: ignore[assignment]
    return agent


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Fewer rows than a user would want."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagined, "_ROWS", 1000)
        patch.setattr(imagined, "_LONGEST", 60)
        yield


@pytest.fixture(scope="module")
def reading(short: None) -> Reading:
    return learn_to_read(agent_with(Exact()), ENV, "random")


def episode(
    agent: Agent, steps: int = 25, seed: int = 3, env: EnvConfig = ENV, **how: Any
) -> Played:
    (played,) = play(agent, [make_env(env)], [seed], steps, **{"actor": "random", **how})
    return played


def compared(
    model: Exact, reading: Reading, start: int = 5, env: EnvConfig = ENV, **how: Any
) -> Comparison:
    agent = agent_with(model)
    played = episode(agent, start + 20, env=env)
    futures = Futures(start, **{"count": 1, "horizon": 20, **how})
    return compare(agent, played, reading, pose_code(make_env(env)), futures)


def test_an_exact_model_imagines_what_happens(reading: Reading) -> None:
    c = compared(Exact(), reading)
    assert c.real.shape == (21, 5)
    assert not c.ended
    assert float(c.embedding_error(c.h_imagined).max()) < 1e-4
    # What is left in observations is the probe's own error.
    torch.testing.assert_close(c.imagined[:, 0], c.read, atol=1e-4, rtol=0)
    assert float(c.observation_error(c.imagined).max()) < 0.15
    still = c.observation_error(c.real[:1].expand_as(c.real))
    assert float(still[-1]) > 0.3


def test_its_ghost_lies_on_the_real_pose(reading: Reading) -> None:
    c = compared(Exact(), reading)
    apart = c.ghosts[:, 0] - c.position
    apart[:, 1] = np.angle(np.exp(1j * apart[:, 1]))  # full turns do not count
    assert np.ptp(c.position[:, 0]) > 0.3
    assert np.abs(apart).max() < 0.15
    assert not c.hidden


def test_a_wrong_model_is_seen_to_be_wrong(reading: Reading) -> None:
    right, wrong = compared(Exact(), reading), compared(Exact(push=-1.0), reading)
    error = wrong.embedding_error(wrong.h_imagined)[:, 0]
    assert float(error[0]) < 1e-6
    assert float(error[-1]) > 0.1
    assert np.abs(wrong.ghosts[-1, 0] - right.ghosts[-1, 0]).max() > 0.1


def test_what_cannot_be_read_is_drawn_where_it_is() -> None:
    blind = Exact(blind=True)
    reading = learn_to_read(agent_with(blind), BLIND, "random")
    c = compared(blind, reading, env=BLIND)
    assert c.hidden == ["x"]
    np.testing.assert_allclose(c.ghosts[:, 0, 0], c.position[:, 0])
    assert not np.allclose(c.ghosts[1:, 0, 1], c.position[1:, 1], atol=1e-6)


def test_futures_differ_by_their_z_and_repeat_by_their_seed(reading: Reading) -> None:
    random = Exact(spread=0.05)
    c, again, other = (compared(random, reading, count=32, seed=s) for s in (0, 0, 1))
    assert c.ghosts.shape == (21, 32, 2)
    spread = c.h_imagined.std(1)[:, 1]
    # Its speed walks at random: after t steps by 0.05 sqrt(t).
    assert float(spread[20]) == pytest.approx(0.05 * 20**0.5, rel=0.4)
    assert float(spread[0]) == 0
    assert torch.equal(c.h_imagined, again.h_imagined)
    assert not torch.equal(c.h_imagined, other.h_imagined)


def test_the_same_seed_plays_the_same_episode() -> None:
    agent = agent_with()
    for actor in ("planner", "policy", "random"):
        one, two = (episode(agent, 5, actor=actor) for _ in range(2))
        assert torch.equal(one.observation, two.observation)
        assert not torch.equal(one.observation, episode(agent, 5, seed=4, actor=actor).observation)


def test_an_episode_ends_where_its_world_does() -> None:
    env = EnvConfig(id=ENV.id, kwargs={"limit": 12})
    agent = agent_with(Exact())
    worlds = [make_env(env), make_env(ENV)]
    short, long = play(agent, worlds, [0, 1], 30, "random")
    assert len(short.action) == len(short.observation) - 1 == len(short.position) - 1 == 12
    assert len(long.action) == 30


def test_passive_chooses_no_actions(reading: Reading) -> None:
    agent = agent_with()
    whole, watched = episode(agent), episode(agent, passive=10)
    assert torch.equal(watched.action[:10], whole.action[:10])
    assert not whole.action[10:].eq(0).any()
    assert watched.action[10:].eq(0).all()
    policy, random = (episode(agent, actor=who, passive=0) for who in ("policy", "random"))
    assert torch.equal(policy.observation, random.observation)

    def error(push: float, passive: int | None) -> float:
        agent = agent_with(Exact(push=push))
        played = episode(agent, passive=passive)
        c = compare(agent, played, reading, None, Futures(5, 20, count=1))
        return float(c.embedding_error(c.h_imagined)[-1])

    # Without actions, what they would do does not matter.
    assert error(-1.0, passive=5) < 1e-4 < error(-1.0, passive=None)


@pytest.mark.parametrize("context", [1, 3])
def test_states_are_those_of_acting(context: int) -> None:
    agent = agent_with(context=context, memory=8)
    played = episode(agent, 8)
    h, s = noticed(agent, played)
    state, generator = initial(agent, 1), torch.Generator().manual_seed(3)
    for t in range(9):
        seen = played.observation[t][None]
        now_h, now_s = state.filter(agent.model, seen)
        torch.testing.assert_close(h[t], now_h[0])
        torch.testing.assert_close(s[t], now_s[0])
        _, state, _ = take(agent, seen, state, generator, "random")


def test_an_episode_that_ends_before_the_horizon_is_compared_to_its_end(reading: Reading) -> None:
    agent = agent_with(Exact())
    c = compare(agent, episode(agent), reading, None, Futures(20, 10, count=1))
    assert c.ended
    assert len(c.real) == 6


def by_hand(futures: list[float]) -> Comparison:
    """One step: of two observations one went from 1 to 3 and one, which never varies, stood."""
    real = torch.tensor([[1.0, 7.0], [3.0, 7.0]])
    guess = torch.tensor([[[1.0, 9.0]] * len(futures), [[x, 9.0] for x in futures]])
    return Comparison(
        Sight(ObservationSpec((2,))), real, real, guess, real, guess,
        torch.tensor([2.0, torch.inf]), 4.0, np.zeros((2, 0)), np.zeros((2, len(futures), 0)),
        [], False, False,
    )  # fmt: skip


def test_errors_and_coverage_by_hand() -> None:
    c = by_hand([3.0, 4.0, 7.0])
    assert c.observation_error(c.imagined)[1].tolist() == [0.0, 0.5, 2.0]
    assert c.observation_error(c.real[:1].expand_as(c.real)).tolist() == [0.0, 1.0]
    # Embeddings: the distance, of which 2 lie in the second number, over 4.
    assert c.embedding_error(c.h_imagined)[1].tolist() == pytest.approx(
        [0.5, 5**0.5 / 4, 20**0.5 / 4]
    )
    assert by_hand([2.0, 4.0]).coverage().tolist() == [1.0, 1.0]
    assert by_hand([4.0, 5.0]).coverage().tolist() == [1.0, 0.0]
    # 3 lies below the 5% quantile of 2 and twenty times 4, though not below all.
    assert by_hand([2.0] + 40 * [4.0]).coverage().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("futures", [1, 8])
def test_the_picture_is_drawn(reading: Reading, tmp_path: Path, futures: int) -> None:
    c = compared(Exact(spread=0.05 * (futures > 1)), reading, count=futures)
    plot(c, tmp_path / "p.png", "a title")
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("L"))
    assert picture.std() > 10
    plot(replace(c, imagined=c.imagined + 1), tmp_path / "q.png", "a title")
    other = np.asarray(Image.open(tmp_path / "q.png").convert("L"))
    assert picture.shape == other.shape
    assert (picture != other).any()
