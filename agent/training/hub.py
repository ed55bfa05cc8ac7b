"""Agents from elsewhere: of the Hugging Face Hub, and those that come with worldplan."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from worldplan.agent.config.names import one_of
from worldplan.agent.config.saved import to_yaml
from worldplan.agent.config.texts import one_line
from worldplan.agent.data.atomic import write_text

if TYPE_CHECKING:
    from worldplan.agent.training.trained import TrainedAgent

HUB, DEMO = "hf://", "demo:"
# What an agent consists of. Nothing else is fetched, and code is never run.
_FILES = ("config.yaml", "run.json", "checkpoints/**", "README.md")
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
    return _fetched(name) if name.startswith(HUB) else Path(path)


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
    _parse(HUB + repo)
    hub = _hub()
    with TemporaryDirectory() as draft:
        folder = agent.save(Path(draft) / "agent")
        run_dir = agent.run.run_dir or folder
        for file in (run_dir / name for name in _OF_THE_RUN):
            if file.is_file() and run_dir != folder:
                shutil.copy(file, folder)
        write_text(folder / "README.md", card(agent, folder, repo))
        api = hub.HfApi(token=token)
        with _reaching(repo):
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


def _fetched(name: str) -> Path:
    repo, revision = _parse(name)
    hub = _hub()
    with _reaching(repo):
        return Path(hub.snapshot_download(repo, revision=revision, allow_patterns=list(_FILES)))


def _parse(name: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if found is None:
        raise ValueError(f"expected hf://USER/NAME or hf://USER/NAME@REVISION, got {name!r}")
    return found[1], found[2]


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError("the Hub needs: pip install 'worldplan[hub]'") from error
    return huggingface_hub


@contextmanager
def _reaching(repo: str) -> Iterator[None]:
    """Within it, what the Hub answers is one line."""
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ValueError(f"{HUB}{repo}: {one_line(error)}") from error
    except errors.HFValidationError as error:
        raise ValueError(f"{HUB}{repo}: {one_line(error)}") from error
    except errors.HfHubHTTPError as error:
        raise OSError(f"{HUB}{repo}: {one_line(error)}") from error
