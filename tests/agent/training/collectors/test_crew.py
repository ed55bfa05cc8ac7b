"""Collectors, whose calls are carried out at once in this process: see `LocalRay`."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.helpers.clusters.local_ray import LocalRay
from worldplan.agent.acting.rollout import Reset
from worldplan.agent.config.overrides import resolve
from worldplan.agent.data.seeds import collector_seeds, held_out_seeds, training_seed
from worldplan.agent.training import foreign
from worldplan.agent.training.collectors import cluster, crew
from worldplan.agent.training.curve import read_curve
from worldplan.agent.training.events import Listener, UpdateEvent
from worldplan.agent.training.trainer import Trainer
from worldplan.envs import EnvironmentFault


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> LocalRay:
    made = LocalRay()
    monkeypatch.setattr(cluster, "require", lambda what: made)
    return made


class Heard(Listener):
    """Warnings and logged figures of a run."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.behind: list[float] = []

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_update(self, event: UpdateEvent) -> None:
        self.behind += event.groups["collectors"].values()


def trainer(
    toy: dict[str, Any], small: list[str], run_dir: Path, *settings: str, **how: Any
) -> Trainer:
    words = [*small, "collectors=3", *settings]
    return Trainer(resolve(toy, words), run_dir, Console(quiet=True), **how)


def check_transitions(t: Trainer) -> None:
    """Each stored transition is one that the point can make: none leads across a gap."""
    batch = t.replay.sample(np.random.default_rng(0), 500, 0, 1)
    before, after = batch.observation[:, 0], batch.observation[:, 1]
    speed = 0.9 * before[:, 1] + 0.2 * batch.action[:, 0, 0]
    torch.testing.assert_close(after[:, 1], speed, atol=1e-5, rtol=0)
    torch.testing.assert_close(after[:, 0], before[:, 0] + speed, atol=1e-5, rtol=0)


def test_a_run_learns_from_all_collectors(
    ray: LocalRay, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    heard = Heard()
    t = trainer(toy, small, tmp_path, "train_max_steps=8", listeners=[heard])
    t.run()
    assert t.step == t.replay.transitions == 120
    assert t.learner.updates == 120  # as without collectors
    check_transitions(t)
    rows = t.replay.state()["head"]
    assert len(rows) == 3
    assert max(rows) - min(rows) <= 10
    # A collector plays with the weights that it was given ten events ago, or twenty.
    assert 0 < np.mean(heard.behind) <= 3 * 20
    assert read_curve(tmp_path / "curve.csv")[-1]["step"] == 120
    lengths = [row["length"] for row in read_curve(tmp_path / "episodes.csv")]
    assert lengths  # 120 steps are 40 for each collector
    assert max(lengths) == 8
    assert len(ray.made) == ray.killed == 3


def test_collectors_play_with_the_weights_they_were_sent(
    ray: LocalRay, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    t = trainer(toy, [*small, "agent.ema_rate=1.0"], tmp_path)
    sent: list[dict[str, torch.Tensor]] = []
    put = ray.put
    ray.put = lambda value: sent.append(put(value)) or sent[-1]  # type: ignore[func-returns-value,method-assign]
    t.run()
    assert len(sent) > 3
    names = t.agent.weights().keys()
    assert all(weights.keys() == names for weights in sent)
    changed = [name for name in names if not torch.equal(sent[0][name], sent[-1][name])]
    assert any(name.startswith("model.") for name in changed)
    assert any(name.startswith("heads.") for name in changed)
    for collector in ray.made:
        has = collector._agent.weights()
        assert any(all(torch.equal(has[k], w[k]) for k in names) for w in sent[-4:])


def test_a_death_costs_the_open_episode_alone(
    ray: LocalRay, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    ray.dies = lambda actor, call: (actor, call) == (1, 3)
    heard = Heard()
    t = trainer(toy, small, tmp_path, listeners=[heard])
    t.run()
    (text,) = [text for text in heard.warnings if "died" in text]
    assert text.startswith("collector 1 died")
    assert len(ray.made) == 4
    assert t.step == t.replay.transitions == 120
    check_transitions(t)


def test_a_collector_that_always_dies_ends_the_run(
    ray: LocalRay, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    ray.dies = lambda actor, call: actor not in (0, 1) and call == 1
    with pytest.raises(EnvironmentFault, match="collector 2 died 3 times in a row"):
        trainer(toy, small, tmp_path).run()


def test_an_error_of_the_environment_is_raised_as_it_is(
    ray: LocalRay, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    toy["env"] = {"id": "bad_envs:ToyBad-v0", "kwargs": {"raises_at": 15}}
    with pytest.raises(ValueError, match=r"math domain error|nonnegative") as caught:
        trainer(toy, small, tmp_path).run()
    assert foreign.origin(caught.value) == "the environment"
    assert "resume by" in caught.value.__notes__[-1]


def test_a_run_goes_on_from_its_checkpoint(
    ray: LocalRay, toy: dict[str, Any], small: list[str], tmp_path: Path
) -> None:
    class Stops(Listener):
        def on_checkpoint(self, event: Any) -> None:
            self.run.stop = "enough"

    short = [*small, "checkpoint_interval=60"]
    first = trainer(toy, short, tmp_path, listeners=[Stops()])
    first.run()
    assert first.step == 60  # at once: episodes of collectors need not end for it
    first.stop = None
    first.write(tmp_path)
    t = trainer(toy, short, tmp_path, resume=True)
    assert t.step == 60
    t.run()
    assert t.step == t.replay.transitions == 120
    check_transitions(t)
    assert t.episode == 6  # collectors in all, each with random numbers of its own


def test_collectors_have_seeds_of_their_own() -> None:
    found = [collector_seeds(0, number) for number in range(5)]
    episodes = [next(seeds) for _, seeds in found for _ in range(20)]
    others = [*held_out_seeds(20), *(training_seed(0, i) for i in range(20))]
    assert len({*episodes, *others, *(acting for acting, _ in found)}) == 100 + 40 + 5


def test_several_environments_each_are_refused(toy: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected num_envs=1 with collectors=2"):
        resolve(toy, ["collectors=2", "num_envs=4"])


def test_without_ray_the_extra_is_named(
    toy: dict[str, Any], small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"collectors needs: pip install 'worldplan\[ray\]'"):
        trainer(toy, small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_events_of_one_are_events_of_all() -> None:
    found = crew._among(Reset(np.array([True]), np.array([[1.0, 2.0]], np.float32)), 1, 3)
    assert found.observation.tolist() == [[0, 0], [1, 2], [0, 0]]
    assert isinstance(found, Reset)
    assert found.mask.tolist() == [False, True, False]
