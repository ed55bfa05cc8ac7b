"""Agents and data sets of the Hugging Face Hub, and the agents that come with worldplan."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from worldplan.agent.config.names import one_of
from worldplan.agent.config.saved import to_yaml
from worldplan.agent.config.texts import one_line
from worldplan.agent.data.atomic import write_text

if TYPE_CHECKING:
    from worldplan.agent.training.trained import TrainedAgent

HUB, DEMO, LEROBOT = "hf://", "demo:", "lerobot:"
# What an agent consists of. Nothing else is fetched, and code is never run.
_REPO = r"[\w.-]+/[\w.-]+"
_FILES = ("config.yaml", "run.json", "checkpoints/**", "README.md")
_OF_A_DATA_SET = ("meta/*", "data/*")  # no videos
_OF_THE_RUN = ("curve.csv", "curve.png", "result.json")


def local(path: str | Path) -> Path:
    """The folder of a run: the path itself, or where `hf://USER/NAME[@REVISION]` was fetched to.

    `demo:TASK` is an agent that comes with worldplan.

    Raises:
        ValueError: no such agent, or the extra `hub` is missing.
        OSError: the Hub cannot be reached.
    """
    name = str(path)
    if name.startswith(DEMO):
        known = demos()
        return known[one_of("demo", name.removeprefix(DEMO), known)]
    return _fetched(name, HUB, "model") if name.startswith(HUB) else Path(path)


def local_data(name: str) -> Path:
    """The folder of `lerobot:FOLDER`, or where `lerobot:USER/NAME[@REVISION]` was fetched to.

    Raises:
        ValueError: no such data set, or the extra `hub` is missing.
        OSError: the Hub cannot be reached.
    """
    folder = Path(name.removeprefix(LEROBOT))
    if folder.exists():
        return folder
    try:
        return _fetched(name, LEROBOT, "dataset")
    except ValueError as error:
        raise ValueError(f"{one_line(error)}; there is no folder {str(folder)!r} either") from error


def demos() -> dict[str, Path]:
    """Folders of the agents that come with worldplan, by task."""
    folder = Path(str(resources.files("worldplan.demos")))
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/config.yaml"))}


def push(agent: TrainedAgent, repo: str, *, private: bool = False, token: str | None = None) -> str:
    """Uploads an agent and its model card to the Hub; returns the address.

    Args:
        repo: USER/NAME. What it holds under the same names is replaced.
        token: default: that of `hf auth login`, or of the variable HF_TOKEN.

    Raises:
        ValueError: no such name is possible, or the extra `hub` is missing.
        OSError: the Hub cannot be reached, or refuses.
    """
    if re.fullmatch(_REPO, repo) is None:
        raise ValueError(f"expected USER/NAME, got {repo!r}")
    hub = _hub()
    with TemporaryDirectory() as draft:
        folder = agent.save(Path(draft) / "agent")
        run_dir = agent.run.run_dir or folder
        for file in (run_dir / name for name in _OF_THE_RUN):
            if file.is_file() and run_dir != folder:
                shutil.copy(file, folder)
        write_text(folder / "README.md", card(agent, folder, repo))
        api = hub.HfApi(token=token)
        with _reaching(HUB + repo):
            url = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message="Agent of worldplan",
                delete_patterns="checkpoints/*",
            )  # fmt: skip
    return str(url)


def card(agent: TrainedAgent, folder: Path, repo: str) -> str:
    """The model card: what was learned, how well, and how to use and repeat it."""
    run = agent.run
    size = sum(p.numel() for p in agent.weights().values())
    lines = [
        "---", "library_name: worldplan", "pipeline_tag: reinforcement-learning",
        "tags: [reinforcement-learning, world-model, planning]", "---",
        f"# {run.task}", "",
        f"An agent of [worldplan](https://pypi.org/project/worldplan/) for `{run.env.id}`: it acts "
        f"by planning in the world model that it learned ({size:,} numbers).", "",
    ]  # fmt: skip
    result = folder / "result.json"
    if result.is_file():
        lines += ["Evaluated on held-out episodes:", "", "```json", result.read_text().strip()]
        lines += ["```", ""]
    if (folder / "curve.png").is_file():
        lines += ["![learning curve](curve.png)", ""]
    lines += [
        "```python", "import worldplan", "", f'agent = worldplan.load("{HUB}{repo}")',
        "print(agent.evaluate(episodes=5).summary())", "```", "",
        "All of its settings:", "", "```yaml", to_yaml(run).strip(), "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _fetched(name: str, prefix: str, kind: Literal["model", "dataset"]) -> Path:
    repo, revision = _parse(name, prefix)
    files = list(_FILES if kind == "model" else _OF_A_DATA_SET)
    hub = _hub()
    with _reaching(prefix + repo):
        return Path(
            hub.snapshot_download(repo, repo_type=kind, revision=revision, allow_patterns=files)
        )


def _parse(name: str, prefix: str) -> tuple[str, str | None]:
    found = re.fullmatch(rf"{prefix}({_REPO})(?:@([\w./-]+))?", name)
    if found is None:
        raise ValueError(f"expected {prefix}USER/NAME or {prefix}USER/NAME@REVISION, got {name!r}")
    return found[1], found[2]


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError("the Hub needs: pip install 'worldplan[hub]'") from error
    return huggingface_hub


@contextmanager
def _reaching(name: str) -> Iterator[None]:
    """Within it, what the Hub answers is one line."""
    from huggingface_hub import errors

    # By which package it is reached changes: what its errors have in common is below the Hub's own.
    kinds: tuple[type[Exception], ...] = errors.HfHubHTTPError.__mro__
    transport = next(c for c in kinds if c.__name__ == "HTTPError")
    try:
        yield
    except (
        errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError
    ) as error:  # fmt: skip
        raise ValueError(f"{name}: {one_line(error)}") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, transport) as error:
        raise OSError(f"{name}: {one_line(error)}") from error
