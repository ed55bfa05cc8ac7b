"""Every command line in the pages is one that the program takes."""

import re
import warnings
from typing import Any

import pytest
from typer.main import get_command

from tests.docs.pages import PAGES, ROOT, commands
from worldplan.agent.commands.main import app
from worldplan.agent.commands.terminal import task_settings
from worldplan.agent.config.overrides import resolve
from worldplan.agent.config.presets import load_preset, tasks
from worldplan.agent.experiments.compare.grid import FAMILIES, choose
from worldplan.agent.experiments.tune.search import make_plan
from worldplan.planners import PLANNERS

# What a reader puts something in place of.
STANDS_FOR = {"TASK": "inverted-pendulum", "KEY=VALUE": "seed=1", "ID": "Hopper-v5"}


def check(words: list[str]) -> None:
    """Raises where the program would refuse these words before any work."""
    words = [STANDS_FOR.get(word, word) for word in words]
    words = [word for word in words if not re.fullmatch(r"[\w.]+=[A-Z]+", word)]
    program: Any = get_command(app)
    name, *rest = words
    if name.startswith("--"):
        program.make_context("worldplan", words)
        return
    assert name in program.commands, f"no command is called {name!r}"
    if not rest:
        return  # named, not called
    given = program.commands[name].make_context(name, rest).params
    with warnings.catch_warnings(action="ignore"):  # of settings that have another name now
        check_settings(name, given)


def check_settings(name: str, given: dict[str, Any]) -> None:
    if name in ("train", "collect") and given.get("resume") is None:
        of_another = given.get("start") is not None  # run's task, if no other is given
        if of_another and "=" in (given["task"] or "="):
            given = {**given, "env": "Hopper-v5", "task": None}
        if given["task"] or given["env"] != "Hopper-v5":
            resolve(*task_settings(given["task"], given["env"], given["overrides"]))
    elif name == "fit":
        words = list(given["words"])
        task = words.pop(0) if given["env"] is None else None
        resolve(*task_settings(task, given["env"], words[1:]))
    elif name == "compare":
        names = given["names"] or []
        choose("planner", given["planners"], PLANNERS)
        if given["families"]:
            choose("family", given["families"], FAMILIES)
        presets = [n for n in names if "=" not in n] or ["inverted-pendulum"]
        for preset in presets:
            resolve(load_preset(preset), [n for n in names if "=" in n])
    elif name == "tune":
        base, words = task_settings(given["task"], given["env"], given["words"])
        make_plan(base, words, objective=given["objective"], pruner=given["pruner"])
    elif given.get("run") in tasks():
        config = resolve(load_preset(given["run"]), given["settings"] or [])
        assert not config.agent.model.learns, "a family that learns is evaluated from a run"


def of_pages(program: str) -> list[Any]:
    """The commands of all pages, each once."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # of any time
            continue
        for words in commands(page.read_text(encoding="utf-8"), program):
            found.setdefault(" ".join(words), words)
    return [pytest.param(words, id=line) for line, words in found.items()]


@pytest.mark.parametrize("words", of_pages("worldplan"))
def test_commands_are_taken(words: list[str]) -> None:
    check(words)


@pytest.mark.parametrize("words", of_pages("python"))
def test_scripts_are_there_with_their_options(words: list[str]) -> None:
    script, *rest = words
    if script.startswith("-"):
        return
    source = (ROOT / script).read_text(encoding="utf-8")
    for option in (word for word in rest if word.startswith("--")):
        assert f'"{option}"' in source, f"{script} has no {option}"


@pytest.mark.parametrize(
    "wrong",
    [
        "train inverted-pendulun",
        "train inverted-pendulum planner.horizn=5",
        "train inverted-pendulum --sed 3",
        "train inverted-pendulum seed=-1",
        "trian inverted-pendulum",
        "compare --families jepa,jepo",
        "fit two-rooms rooms.npz learner.horizn=5",
        "tune reacher planner.horizon=6..2",
        "evaluate inverted-pendulum",
    ],
)
def test_a_command_that_is_refused_is_found(wrong: str) -> None:
    page = f"Text.\n\n```sh\npip install x && worldplan {wrong}   # to do so\n```\n"
    (words,) = commands(page, "worldplan")
    with pytest.raises(Exception):  # noqa: B017, PT011 (of the parser, or of the settings)
        check(words)
