"""Checkpoints are read bit for bit, survive a crash, and errors explain what cannot be read."""

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from worldplan.agent.training import checkpoint
from worldplan.agent.training.disk import manifest

ROOT = Path(__file__).resolve().parents[3]


def some(step: int = 0) -> dict[str, Tensor]:
    return {"w": torch.full((2, 3), float(step)), "n": torch.tensor(step)}


def test_round_trip_is_bit_identical(tmp_path: Path) -> None:
    base = torch.randn(4, 6)
    tensors = {
        "float": base,
        "alias": base,
        "transposed": base.T,
        "slice": base[1:3, ::2],
        "expanded": torch.ones(1).expand(5),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
        "double": torch.randn(3, dtype=torch.float64),
        "half": torch.randn(3).bfloat16(),
        "long": torch.tensor(2**62),
        "bool": torch.tensor([True, False]),
        "random": torch.Generator().manual_seed(3).get_state(),
        "empty": torch.zeros(0, 2),
        "parameter": nn.Parameter(torch.randn(2)),
    }
    state = {"env": "X-v0", "text": "äß", "deep": {"list": [1, 0.1, None, True]}, "big": 2**120}
    path = checkpoint.save(tmp_path, 12_000, tensors, state)
    assert path == tmp_path / "checkpoints" / "step_000012000"
    names = ["manifest.json", "state.json", "tensors.safetensors"]
    assert sorted(p.name for p in path.iterdir()) == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, state_again = checkpoint.read(checkpoint.find(tmp_path))
    assert state_again == state
    assert again.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert again[key].dtype == tensor.dtype
        assert again[key].shape == tensor.shape
        left, right = (t.detach().contiguous().flatten() for t in (again[key], tensor))
        assert torch.equal(left.view(torch.uint8), right.view(torch.uint8)), key
    # Aliases come back apart.
    again["alias"].zero_()
    assert torch.equal(again["float"], base)


def test_older_checkpoints_are_pruned(tmp_path: Path) -> None:
    def there() -> list[str]:
        return sorted(p.name for p in (tmp_path / "checkpoints").iterdir())

    for step in (100, 200, 300):
        checkpoint.save(tmp_path, step, some(step), {})
    assert there() == ["latest", "step_000000200", "step_000000300"]
    checkpoint.save(tmp_path, 400, some(), {}, keep=1)
    assert there() == ["latest", "step_000000400"]
    for step in (500, 600):
        checkpoint.save(tmp_path, step, some(), {}, keep=3)
    assert there() == ["latest", "step_000000400", "step_000000500", "step_000000600"]
    # A run that went on from an earlier checkpoint drops the end it left.
    (tmp_path / "checkpoints" / "latest").write_text("step_000000400")
    checkpoint.save(tmp_path, 450, some(), {})
    assert there() == ["latest", "step_000000400", "step_000000450"]
    with pytest.raises(ValueError, match="keep must be at least 1"):
        checkpoint.save(tmp_path, 500, some(), {}, keep=0)


def test_the_same_step_may_be_saved_again(tmp_path: Path) -> None:
    for value in range(3):
        checkpoint.save(tmp_path, 100, some(value), {"value": value})
        tensors, state = checkpoint.read(checkpoint.find(tmp_path))
        assert (int(tensors["n"]), state) == (value, {"value": value})


@pytest.mark.parametrize("moment", ["draft", "rename", "pointer"])
@pytest.mark.parametrize("step", [100, 200])
def test_a_crash_while_saving_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, step: int
) -> None:
    checkpoint.save(tmp_path, 100, some(1), {"which": "former"})

    def crash(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    replace = os.replace

    def crash_at_pointer(source: Path, target: Path) -> None:
        if target.name == "latest":
            crash()
        replace(source, target)

    with monkeypatch.context() as patch:
        if moment == "draft":
            patch.setattr(checkpoint, "sync", crash)
        elif moment == "rename":
            patch.setattr(os, "replace", crash)
        else:
            patch.setattr(os, "replace", crash_at_pointer)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, step, some(2), {"which": "lost"})
    tensors, state = checkpoint.read(checkpoint.find(tmp_path))
    assert state == {"which": "former"}
    assert int(tensors["n"]) == 1
    # The next save clears up.
    checkpoint.save(tmp_path, step, some(3), {"which": "next"}, keep=1)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert checkpoint.read(checkpoint.find(tmp_path))[1] == {"which": "next"}


def test_a_state_that_is_not_json_changes_nothing(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, some(), {"fine": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoint.save(tmp_path, 2, some(), {"tensor": torch.ones(1)})
    assert checkpoint.find(tmp_path).name == "step_000000001"


def rewrite(path: Path, **changes: Any) -> None:
    document = json.loads((path / "state.json").read_text())
    state = json.dumps(document | changes).encode()
    tensors = (path / "tensors.safetensors").read_bytes()
    run = manifest.run_id(path.parent.parent)
    manifest.write(path, run, 1, {"state.json": state, "tensors.safetensors": tensors})


def test_another_format_is_explained(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, some(), {})
    rewrite(path, format=7, versions={"worldplan": "9.8"})
    with pytest.raises(ValueError, match=r"format 7, worldplan .* reads formats 1, 2, 3: .*9\.8"):
        checkpoint.read(path)


def test_another_version_warns(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, some(), {"a": 1})
    now = checkpoint.versions()
    assert set(now) == {"worldplan", "torch", "gymnasium", "mujoco", "numpy", "python"}
    rewrite(path, versions=now | {"torch": "1.0", "mujoco": "2.0", "python": "3.0"})
    with pytest.warns(UserWarning, match="results may differ") as caught:
        assert checkpoint.read(path)[1] == {"a": 1}
    (text,) = (str(warning.message) for warning in caught)
    assert f"torch 1.0, now {now['torch']}; mujoco 2.0, now {now['mujoco']}" in text
    assert "python" not in text


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_damaged_tensors_are_named(tmp_path: Path, size: int) -> None:
    path = checkpoint.save(tmp_path, 1, some(), {})
    file = path / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"tensors\.safetensors is damaged"):
        checkpoint.read(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1, "versions": {}}'])
def test_a_damaged_state_is_named(tmp_path: Path, text: str) -> None:
    path = checkpoint.save(tmp_path, 1, some(), {})
    (path / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"state\.json is damaged"):
        checkpoint.read(path)


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    for name in ("cheetah-run-0", "walker-walk-3"):
        path = checkpoint.save(runs / name, 5, some(), {})
    assert checkpoint.find(runs / "walker-walk-3") == path
    assert checkpoint.find(path) == path
    with pytest.raises(FileNotFoundError, match=r"Did you mean .*runs/cheetah-run-0\?"):
        checkpoint.find(runs / "cheetah-run")
    with pytest.raises(FileNotFoundError, match=r"Did you mean runs.cheetah-run-0\?"):
        checkpoint.find(Path("cheetah-run-0"))
    with pytest.raises(FileNotFoundError, match=r"Runs nearby: .*cheetah-run-0, .*walker-walk-3"):
        checkpoint.find(runs / "xyz")
    with pytest.raises(ValueError, match=r"holds no checkpoint\. Runs nearby"):
        checkpoint.find(runs)
    (path.parent / "latest").write_text("step_000000009")
    with pytest.warns(UserWarning, match=r"step_000000009 is missing: taking step_000000005"):
        assert checkpoint.find(runs / "walker-walk-3") == path


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 3, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.Adam, {}),
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.Adam, {"foreach": True, "amsgrad": True}),
        (torch.optim.AdamW, {"weight_decay": 0.1}),
        (torch.optim.SGD, {"momentum": 0.9}),
    ],
)
def test_a_restored_optimizer_continues_bit_for_bit(
    tmp_path: Path, kind: Any, options: dict[str, Any]
) -> None:
    def fresh() -> tuple[nn.Sequential, torch.optim.Optimizer]:
        net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        groups = [{"params": net[0].parameters(), "lr": 0.01}, {"params": net[1].parameters()}]
        return net, kind(groups, lr=0.1, **options)

    net, optimizer = fresh()
    train(net, optimizer, 3, seed=0)
    tensors, state = checkpoint.optimizer_tensors("optimizer", optimizer)
    tensors |= {f"net.{key}": value for key, value in net.state_dict().items()}
    path = checkpoint.save(tmp_path, 3, tensors, {"optimizer": state})
    train(net, optimizer, 4, seed=1)

    other, resumed = fresh()
    tensors, content = checkpoint.read(path)
    kept = {key: tensor.clone() for key, tensor in tensors.items()}
    other.load_state_dict(
        {k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")}
    )
    checkpoint.load_optimizer("optimizer", resumed, tensors, content["optimizer"])
    train(other, resumed, 4, seed=1)
    for left, right in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)
    assert str(resumed.state_dict()) == str(optimizer.state_dict())
    for group in resumed.param_groups:
        assert isinstance(group.get("betas", ()), tuple)
    # What was read is the caller's still.
    assert all(torch.equal(tensors[key], kept[key]) for key in kept)


def test_an_optimizer_of_other_groups_is_refused() -> None:
    tensors, state = checkpoint.optimizer_tensors(
        "o", torch.optim.Adam([nn.Parameter(some()["w"])])
    )
    two = torch.optim.Adam([nn.Parameter(some()["w"]), nn.Parameter(some()["w"])])
    with pytest.raises(ValueError, match="group"):
        checkpoint.load_optimizer("o", two, tensors, state)


def test_an_optimizer_that_lost_a_part_of_its_state_is_refused() -> None:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    train(nn.Sequential(net), optimizer, 2, seed=0)
    tensors, state = checkpoint.optimizer_tensors("o", optimizer)
    del state["state"]["1"]["exp_avg"]
    fresh = torch.optim.Adam(net.parameters())
    with pytest.raises(ValueError, match="keep the same of all weights"):
        checkpoint.load_optimizer("o", fresh, tensors, state)


def test_restored_random_numbers_continue(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    rng.integers(9, size=3, dtype=np.int32)  # leaves half a draw buffered
    path = checkpoint.save(tmp_path, 1, {}, {"rng": checkpoint.rng_state(rng)})
    wanted = rng.random(4), rng.integers(9, size=5, dtype=np.int32)
    again = np.random.default_rng(0)
    checkpoint.set_rng_state(again, checkpoint.read(path)[1]["rng"])
    assert np.array_equal(again.random(4), wanted[0])
    assert np.array_equal(again.integers(9, size=5, dtype=np.int32), wanted[1])


def test_nothing_that_reads_files_can_unpickle() -> None:
    """Workers and collectors do, of what their own parent and they send each other."""
    forbidden = re.compile(r"import pickle|allow_pickle=True|torch\.(load|save)\b|joblib|dill\b")
    files = [
        file
        for name in ("agent", "planners", "envs", "configs", "demos")
        for file in (ROOT / name).rglob("*.py")
    ]
    assert len(files) > 4
    spoken = {"vector", "collectors", "elsewhere"}  # folders, and what they share
    for file in (f for f in files if not {f.parent.name, f.stem} & spoken):
        assert not forbidden.search(file.read_text(encoding="utf-8")), file
