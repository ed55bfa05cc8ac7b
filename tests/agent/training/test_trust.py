"""Loading somebody else's checkpoint imports and opens nothing that the user did not allow."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import worldplan
from tests.helpers.checkpoints import rewrite
from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent.training import restore
from worldplan.agent.training.checkpoint import find
from worldplan.agent.training.trust import allow, require
from worldplan.envs import EnvConfig

THEIRS = """
import gymnasium, toy_envs
open({flag!r}, "a").write("imported")
gymnasium.registry.pop("Theirs-v0", None)
gymnasium.register("Theirs-v0", entry_point="toy_envs:Point")
"""


@pytest.fixture(autouse=True)
def nobody_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has made no environment so far."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    run("train", "--env", "toy_envs:ToyPoint-v0", *SMALL, "steps=45", f"run_dir={run_dir}")
    return run_dir


def name_environment(run_dir: Path, **env: Any) -> None:
    """What the run's checkpoint says of its environment."""

    def change(document: dict[str, Any]) -> None:
        document["state"]["config"]["env"] |= env
        if "id" in env:
            document["state"]["spec"]["id"] = env["id"].rpartition(":")[2]

    rewrite(find(run_dir), change)


@pytest.fixture
def theirs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of somebody's, in an environment of a module that writes a file when imported."""
    (tmp_path / "theirs.py").write_text(THEIRS.format(flag=str(tmp_path / "flag")))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    name_environment(trained, id="theirs:Theirs-v0", kwargs={})
    return trained


@pytest.mark.parametrize(
    "words",
    [("evaluate", "RUN"), ("rollout", "RUN", "--dataset", "a.npz"), ("imagine", "RUN"),
     ("train", "--resume", "RUN")],
)  # fmt: skip
def test_no_command_imports_what_a_checkpoint_names(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run(*(str(theirs) if word == "RUN" else word for word in words), code=1)
    assert f"would import the module 'theirs' ({tmp_path / 'theirs.py'})" in said
    assert "--trust" in said
    assert not (tmp_path / "flag").exists()


@pytest.mark.parametrize("how", [("--trust",), ("--env", "theirs:Theirs-v0")])
def test_the_user_allows_it_once(theirs: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    run("evaluate", theirs, "--episodes", 1, *how)
    assert (tmp_path / "flag").exists()
    sys.modules.pop("theirs")
    run("evaluate", theirs, "--episodes", 1)  # as it was before
    sys.modules.pop("theirs")
    name_environment(theirs, kwargs={"limit": 3})
    run("evaluate", theirs, "--episodes", 1, code=1)  # another one


def test_another_env_is_refused(theirs: Path) -> None:
    said = run("evaluate", theirs, "--env", "ToyPoint-v0", code=1)
    assert "was made in 'theirs:Theirs-v0'; expected that as --env" in said


def test_load_imports_nothing(theirs: Path, tmp_path: Path) -> None:
    assert worldplan.load(theirs, device="cpu").act([0.0, 0.0]).shape == (1,)
    assert not (tmp_path / "flag").exists()


def test_load_asks_before_a_simulator_makes_its_environment(theirs: Path, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["state"]["config"]["agent"] |= {"model": {"kind": "simulator"}, "proposals": 0}
        document["state"]["config"]["env"]["observe"] = "state"

    rewrite(find(shutil.copytree(theirs, tmp_path / "run")), change)
    with pytest.raises(ValueError, match="would import the module 'theirs'"):
        worldplan.load(tmp_path / "run", device="cpu")
    assert not (tmp_path / "flag").exists()
    with pytest.raises(ValueError, match="the reward of 'Theirs-v0'"):
        worldplan.load(tmp_path / "run", device="cpu", trust=True)


def test_texts_may_name_files() -> None:
    for kwargs in ({"xml_file": "/etc/passwd"}, {"a": {"b": [1, "/etc/passwd"]}}):
        env = EnvConfig(id="Hopper-v5", kwargs=kwargs)
        with pytest.raises(ValueError, match=r"be made with .*/etc/passwd"):
            require(env, "run")
        with pytest.raises(ValueError, match="be made with"):
            require(env, "run", named="Hopper-v5")  # allows a module, and no file
        allow(env)
        require(env, "run")


def test_numbers_and_known_modules_need_no_trust() -> None:
    require(EnvConfig(id="Hopper-v5", kwargs={"frame_skip": 2, "range": [0, None, True]}), "run")
    require(EnvConfig(id="gymnasium:Hopper-v5"), "run")


def test_a_module_that_is_not_there_and_control_bytes_are_one_visible_line() -> None:
    with pytest.raises(ValueError, match="not installed here") as error:
        require(EnvConfig(id="no_such_module.below:X-v0"), "run")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="would import") as error:
        require(EnvConfig(id="\x1b[2J\n:X-v0"), "run")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("wrong", [None, [], {}, {"step": -1}, {"step": True}, {"step": 1.5},
                                   {"step": "1"}])  # fmt: skip
def test_counters_are_read_by_name_and_checked(wrong: Any) -> None:
    with pytest.raises(ValueError, match="counter"):
        restore.read_counters(wrong, whole=["step"])
    with pytest.raises(ValueError, match="counter"):
        restore.read_counters({"debt": float("nan")}, real=["debt"])
    found = restore.read_counters({"step": 3, "debt": 0.5, "__class__": "x"}, ["step"], ["debt"])
    assert found == {"step": 3, "debt": 0.5}
