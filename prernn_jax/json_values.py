"""JSON values read as their fields say: what another program wrote is checked before it is used."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from prernn_jax.errors import InputError


def typed(kind: Any, value: Any, where: str, name: str = "") -> Any:
    """A JSON value as a field's type says.

    Args:
        kind: A dataclass, or what may stand behind a field: int, float, str, bool, None, Path,
            Literal, tuple, Sequence, or a union of these.
        value: What the JSON text holds.
        where: What to call the text in messages.
        name: The dotted name of the field.

    Returns:
        The value: lists become tuples, whole numbers become floats where a float is expected.

    Raises:
        InputError: The value is none that the field can have, a number is not finite, or a
            dataclass has no such field.
    """
    arguments = get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        hints = get_type_hints(kind)
        if unknown := sorted(set(value) - {field.name for field in fields(kind)}):
            shown = _short(f"{name}.{unknown[0]}".lstrip("."))
            raise InputError(f"{where}: unknown setting {shown}")
        return kind(**{
            key: typed(hints[key], part, where, f"{name}.{key}".lstrip("."))
            for key, part in value.items()
        })  # fmt: skip
    if get_origin(kind) in (Union, UnionType):
        for option in arguments:
            with suppress(InputError):
                return typed(option, value, where, name)
    elif get_origin(kind) in (tuple, Sequence) and isinstance(value, list):
        same = get_origin(kind) is Sequence or arguments[-1] is Ellipsis
        kinds = arguments[:1] * len(value) if same else arguments
        if len(kinds) == len(value):
            return tuple(typed(k, v, where, name) for k, v in zip(kinds, value, strict=True))
    elif get_origin(kind) is Literal:
        if any(type(value) is type(able) and value == able for able in arguments):
            return value
    elif kind is type(None) and value is None:
        return None
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif kind is float and type(value) in (int, float):
        with suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    expected = kind.__name__ if isinstance(kind, type) and not arguments else str(kind)
    expected = expected.replace("typing.", "").replace("collections.abc.", "")
    raise InputError(f"{where}: {name or 'it'} is {_short(value)}; expected {expected}")


def plain(value: Any) -> Any:
    """A number of numpy's as Python's, for `json.dumps(..., default=plain)`.

    Raises:
        TypeError: It is something else.
    """
    if hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _short(value: Any) -> str:
    """The value for a message; a very long one is cut."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
