"""Whatever happens in a command ends in one line."""

import copy
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.helpers.commands import run
from tests.helpers.settings import SMALL
from worldplan.agent.api.terminal import Terminal
from worldplan.agent.commands.errors import guarded, plainly
from worldplan.agent.commands.main import app
from worldplan.agent.config.overrides import resolve
from worldplan.agent.training.checkpoint import find


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), RecursionError("deep"), MemoryError(), AttributeError("a\nb"), TypeError("t"),
     zlib.error("z"), RuntimeError("r" * 10_000), ValueError("math domain error"),
     UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), AssertionError(), StopIteration()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_unexpected_error_is_one_line_with_its_kind(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit), plainly():
        raise error
    said = capsys.readouterr().err
    assert said.startswith(f"worldplan: {type(error).__name__}")
    assert said.endswith("(--debug shows where)\n")
    assert said.count("\n") == 1
    assert len(said) < 2000


def test_what_a_user_can_mend_is_said_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), plainly():
        resolve({"task": "toy", "env": {"id": "x"}}, ["sede=3"])
    assert capsys.readouterr().err == "worldplan: unknown key 'sede'. Did you mean 'seed'?\n"
    with pytest.raises(typer.Exit), plainly():
        Path("no/such/file").read_text()
    assert capsys.readouterr().err == "worldplan: No such file or directory: no/such/file\n"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), plainly(debug=True):
        raise KeyError("x")
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "test_errors.py" in said
    assert "Traceback" in CliRunner().invoke(app, ["train", "cheeta-run", "--debug"]).output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evalute"], "no command is called 'evalute'. Did you mean 'evaluate'? Choices: train, "),
        (["evaluate", "x", "--episode", "3"], "no option is called '--episode'. Did you mean "
         "'--episodes'? Choices: --actor, --trust, "),
        (["--verson"], "no option is called '--verson'. Did you mean '--version'?"),
        (["train", "hopper", "--steps", "600"], "a setting is written steps=VALUE"),
        (["train", "hopper", "--lr=1"], "a setting is written learner.learning_rate=VALUE or "),
        (["train", "-x"], "no option is called '-x'. Did you mean '--"),
        (["evaluate"], "Missing argument 'RUN'."),
        (["evaluate", "x", "--episodes", "many"], "Invalid value for '--episodes': "),
        (["evaluate", "x", "--episodes", "0"], "Invalid value for '--episodes': "),
        (["evaluate", "x", "--episodes"], "'--episodes' requires an argument"),
        (["tasks", "x"], "unexpected extra argument"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_words_that_are_not_understood_are_one_line(words: list[str], said: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("worldplan: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert done.stderr.endswith("--help`)\n")


def test_without_words_there_is_help() -> None:
    assert "evaluate" in run()
    assert "--episodes" in run("evaluate", "--help")


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_, plainly():
        raise KeyboardInterrupt
    assert exit_.value.exit_code == 130
    assert capsys.readouterr().err == "worldplan: stopped\n"


def test_every_command_goes_through_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert "debug" in command.callback.__annotations__, command.callback.__name__

    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(typer.Exit):
        guarded(fails)()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "toy"
    run("train", "--env", "toy_envs:ToyPoint-v0", *SMALL, "steps=45", f"run_dir={run_dir}")
    return run_dir


def _deep() -> str:
    return "[" * 100_000


LEAVES: list[Any] = [None, True, -1, 1e308, "x", [], {}, [[1]], {"kind": "x"}, "\x1b[2J[/bold]"]


@pytest.mark.parametrize("name", ["config", "spec", "agent", "env", "model"])
def test_a_damaged_checkpoint_is_one_line(trained: Path, name: str, tmp_path: Path) -> None:
    # Of a format without digests, which would find every change before it is read.
    folder = shutil.copytree(find(trained), tmp_path / "checkpoint")
    (folder / "manifest.json").unlink()
    file = folder / "state.json"
    whole = json.loads(file.read_text()) | {"format": 2}
    for leaf in LEAVES:
        document = copy.deepcopy(whole)
        config = document["state"]["config"]
        homes = {"agent": config, "env": config, "model": config["agent"]}
        homes.get(name, document["state"])[name] = leaf
        file.write_text(json.dumps(document))
        said = CliRunner().invoke(app, ["evaluate", str(folder), "--episodes", "1"])
        if said.exit_code == 0:  # another spelling of the same settings
            continue
        assert said.output.count("\n") == 1, said.output
        assert str(folder) in said.output
        assert "pydantic" not in said.output
        assert "\x1b" not in said.output
    for text in ("", "\x00", "[]", "{}", "null", _deep(), '{"format": 2}'):
        file.write_text(text)
        said = CliRunner().invoke(app, ["evaluate", str(folder)])
        assert said.exit_code == 1
        assert said.output.count("\n") == 1
        assert str(folder) in said.output


def test_markup_in_paths_and_names_is_shown(tmp_path: Path) -> None:
    run_dir = tmp_path / "a[/bold]$x^$b"
    said = run("train", "--env", "toy_envs:ToyPoint-v0", *SMALL, "steps=45", f"run_dir={run_dir}")
    assert f"checkpoint      {run_dir}" in said
    run("report", run_dir, "--out", tmp_path / "[x] $^$.png")
    assert (tmp_path / "[x] $^$.png").exists()


def test_the_terminal_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(soft_wrap=True).print("[red]\x1b[2J[/bold] :smile:")
    assert capsys.readouterr().out == "[red]\\x1b[2J[/bold] :smile:\n"
