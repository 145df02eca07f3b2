"""The `config.json` of a run as the configuration that it was written from."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from prernn_jax.errors import InputError
from train.action_config import ActionConfig
from train.face_config import FaceConfig
from train.gesture_config import GestureConfig

AnyConfig = ActionConfig | FaceConfig | GestureConfig


def read_settings(path: Path) -> AnyConfig:
    """Reads the settings of a run of any application, told apart by their names.

    A setting that the file does not know, because the run is older than it, has its default.

    Raises:
      InputError: There is no such file, it holds no configuration of these applications, or a
        value in it is none that its field can have.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    kinds: tuple[type[AnyConfig], ...] = (ActionConfig, FaceConfig, GestureConfig)
    names = set(values) if isinstance(values, dict) else set()
    fitting = [kind for kind in kinds if names <= {field.name for field in fields(kind)}]
    if len(fitting) != 1:
        raise InputError(
            f"{path} does not hold the settings of a run of train.action, train.face or "
            "train.gesture of this version"
        )
    found: AnyConfig = _read(fitting[0], values, str(path), "")
    return found


def _read(kind: Any, value: Any, where: str, name: str) -> Any:
    """A JSON value as a field's type says; the inverse of `train.stage_two.settings_of`."""
    arguments = get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        if unknown := sorted(set(value) - {field.name for field in fields(kind)}):
            raise InputError(f"{where}: unknown setting {f'{name}.{unknown[0]}'.lstrip('.')!r}")
        return kind(**{
            key: _read(hints[key], part, where, f"{name}.{key}".lstrip("."))
            for key, part in value.items()
        })  # fmt: skip
    if get_origin(kind) in (Union, UnionType):
        for option in arguments:
            with suppress(InputError):
                return _read(option, value, where, name)
    elif get_origin(kind) is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_read(k, v, where, name) for k, v in zip(kinds, value, strict=True))
    elif get_origin(kind) is Literal:
        if value in arguments:
            return value
    elif kind is type(None) and value is None:
        return None
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif kind is float and type(value) in (int, float):
        return float(value)
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    expected = kind.__name__ if isinstance(kind, type) and not arguments else str(kind)
    raise InputError(f"{where}: {name} is {value!r}; expected {expected.replace('typing.', '')}")
