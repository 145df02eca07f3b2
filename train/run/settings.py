"""The settings of another run, as the defaults of a new one: `--config RUN/config.json`."""

import json
from pathlib import Path
from typing import Any, TypeVar

from prernn_jax.errors import InputError
from prernn_jax.json_values import typed

from .config import RunConfig

Config = TypeVar("Config", bound=RunConfig)
_OWN = ("name", "config", "resume", "coordinator", "num_processes", "process_id")
"""What belongs to one run and is not taken over."""


def read_values(path: Path) -> tuple[str, dict[str, Any]]:
    """Reads the settings of a run.

    Returns:
        The name of its application, and the values as JSON has them.

    Raises:
        InputError: There is no such file, or it does not name its application.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    name = values.pop("application", None) if isinstance(values, dict) else None
    if not isinstance(name, str):
        raise InputError(
            f'{path}: "application" is {name!r}; expected action, face or gesture (the file of an '
            "older run lacks it: add that line)"
        )
    if "data_dir" in values:  # its former name
        values.setdefault("source", values.pop("data_dir"))
    return name, values


def settings_from(path: Path, kind: type[Config]) -> Config:
    """The settings of another run, without what belongs to that run alone, such as its name.

    Args:
        path: Its `config.json`, or its folder.
        kind: The class of the settings.

    Raises:
        InputError: It is a run of another application, or a setting is unknown or has a value
            that it cannot have.
    """
    file = path / "config.json" if path.is_dir() else path
    name, values = read_values(file)
    if name != kind.application:
        raise InputError(
            f"--config={path} is of a run of {name}s; this is prernn train {kind.application}"
        )
    kept = {key: value for key, value in values.items() if key not in _OWN}
    found: Config = typed(kind, kept, f"--config={path}")
    return found
