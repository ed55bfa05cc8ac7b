"""Settings as they are saved, in checkpoints (JSON) and `config.yaml`, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from worldplan.agent.config.names import dotted
from worldplan.agent.config.overrides import checked
from worldplan.agent.config.renamed import modernised
from worldplan.agent.config.run import RunConfig


def plain(config: RunConfig) -> dict[str, Any]:
    """The settings as dicts, lists, strings, numbers, booleans and None. Infinities stay.

    Raises:
        ValueError: a setting holds something else, which only `env.kwargs` can.
    """
    content = _plain("", config.model_dump())
    assert isinstance(content, dict)
    return content


def read_plain(saved: Mapping[str, Any]) -> RunConfig:
    """The settings that `plain` made, in this version or an older one.

    Raises:
        ValueError: they are none.
    """
    return checked(modernised(saved))


def read_yaml(file: Path) -> RunConfig:
    """The settings in a run's `config.yaml`. Raises ValueError as `read_plain` does."""
    saved = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(saved, dict)
    return read_plain({str(k): v for k, v in saved.items()})


def to_yaml(config: RunConfig) -> str:
    """The settings as the text of `config.yaml`. Raises ValueError as `plain` does."""
    return OmegaConf.to_yaml(OmegaConf.create(plain(config)))


def check_saved(config: RunConfig) -> None:
    """Checks that the settings are the same once they are saved and read back.

    Raises:
        ValueError: they are not; the message names the first that differs.
    """
    content = plain(config)
    _compare(config, json.loads(json.dumps(content)))
    try:
        text = to_yaml(config).encode().decode()
        _compare(config, OmegaConf.to_container(OmegaConf.create(text)))
    except (OmegaConfBaseException, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"the settings cannot be saved as YAML: {reason}") from error


def _compare(config: RunConfig, content: Any) -> None:
    """Raises ValueError unless content is what these settings were saved as."""
    again = read_plain(content)
    if again == config:
        return
    before, after = (dict(dotted(c.model_dump())) for c in (config, again))
    name = next(k for k in (*before, *after) if before.get(k) != after.get(k))
    raise ValueError(
        f"{name}={before.get(name)!r} would be read back from the run's files as "
        f"{after.get(name)!r}; expected numbers, strings, booleans, and lists and dicts of them"
    )


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{name}: expected strings as keys, got {key!r}")
        above = f"{name}." if name else ""
        return {key: _plain(f"{above}{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", item) for i, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"{name}: {type(value).__name__} cannot be saved with the run; expected numbers, strings, "
        "booleans, and lists and dicts of them"
    )
