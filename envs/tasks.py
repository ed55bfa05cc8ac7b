"""The tasks that come with worldplan: one YAML preset each, in `worldplan.configs`."""

from dataclasses import dataclass
from importlib import resources

from omegaconf import OmegaConf


@dataclass(frozen=True)
class TaskInfo:
    """What a preset says of its task. `needs` is the extra to install, "" for none."""

    name: str
    description: str
    suite: str
    env_id: str
    steps: int
    needs: str


def tasks() -> dict[str, TaskInfo]:
    """All tasks by name, sorted by suite (Gymnasium first) and name."""
    found = []
    for file in resources.files("worldplan.configs").iterdir():
        name = file.name.removesuffix(".yaml")
        if name == file.name or name.startswith("suite-"):
            continue
        preset = OmegaConf.create(file.read_text(encoding="utf-8"))
        found.append(
            TaskInfo(
                name=name,
                description=preset.description,
                suite=preset.suite,
                env_id=preset.env.id,
                steps=preset.steps,
                needs="dm-control" if preset.suite == "dm_control" else "",
            )
        )
    found.sort(key=lambda task: (task.suite != "gymnasium", task.suite, task.name))
    return {task.name: task for task in found}
