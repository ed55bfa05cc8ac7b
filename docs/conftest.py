"""Python blocks of the pages are run, those of a page one after the other in one namespace."""

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

HERE = Path(__file__).parent
# The runs that pages load: so small that they learn nothing.
RUNS = {"pendulum": "InvertedPendulum-v5", "slide": "my_task:Slide-v0"}
SMALL = [
    *("compile=off", "threads=1", "eval_episodes=1", "final_episodes=1", "seed_steps=20"),
    *("model.embedding=16", "model.width=16", "heads.width=16", "heads.outcome_width=16"),
    *("learner.batch_size=16", "planner.samples=16", "planner.elites=4", "eval_max_steps=5"),
]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The folder in which the reader is, with the tutorial's module and the runs."""
    from worldplan.agent.config.overrides import resolve
    from worldplan.agent.training.trainer import Trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)  # where my_task.py is
        patch.chdir(tmp_path_factory.mktemp("reader"))
        with open(os.devnull, "w") as nowhere, warnings.catch_warnings(action="ignore"):
            for name, env in RUNS.items():
                config = resolve({"task": name, "env": {"id": env}, "steps": 40}, SMALL)
                Trainer(config, Path("runs") / name, Console(file=nowhere)).run()
        yield
    sys.modules.pop("my_task", None)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], pattern="*.md", fixtures=["runs"]
).pytest()
