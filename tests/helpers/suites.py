"""The presets as test cases."""

import importlib.util
from importlib import resources
from typing import Any

import pytest
from omegaconf import OmegaConf

from worldplan.agent.config.presets import tasks

HAS_DM_CONTROL = all(importlib.util.find_spec(name) for name in ("shimmy", "dm_control"))
HAS = {  # the extras that tasks need
    "": True,
    "dm-control": HAS_DM_CONTROL,
    "robotics": importlib.util.find_spec("gymnasium_robotics") is not None,
    "box2d": importlib.util.find_spec("Box2D") is not None,
}
TASKS = [
    pytest.param(
        task.name,
        marks=pytest.mark.skipif(not HAS[task.needs], reason=f"needs worldplan[{task.needs}]"),
    )
    for task in tasks().values()
]
needs_dm_control = pytest.mark.skipif(not HAS_DM_CONTROL, reason="needs worldplan[dm-control]")


def preset(name: str) -> dict[str, Any]:
    text = (resources.files("worldplan.configs") / f"{name}.yaml").read_text(encoding="utf-8")
    loaded = OmegaConf.to_container(OmegaConf.create(text))
    assert isinstance(loaded, dict)
    return {str(key): value for key, value in loaded.items()}
