"""What the metadata of a file may ask for.

A file says in its metadata how its network is built. Nothing is built before each argument has the
type of the constructor's, is in its range, and asks for no more layers than the file has arrays: a
changed number could otherwise keep a computer busy for hours.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.json_values import typed

MOST_LAYERS = 4096
"""Layers of a network that is built without a file at hand."""
_LARGEST = 2**24  # of a size: features, channels, pixels
_OF_LAYERS = ("stages", "stage_sizes", "extra", "depth")
_FROM_0 = ("extra",)
_NOT_IN_A_FILE = ("self", "model", "like", "output_layer", "rngs")


def read_json_object(metadata: Mapping[str, str], key: str, *, where: str) -> dict[str, Any]:
    """The JSON object under a key of the metadata; {} where there is no such key.

    Raises:
        InputError: The text is not valid JSON, or not an object.
    """
    try:
        value = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: `{key}` in the metadata is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: `{key}` in the metadata must be a JSON object")
    return value


def checked_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], arrays: int | None, *, where: str
) -> dict[str, Any]:
    """The arguments of a constructor or a function, as a file holds them.

    Args:
        function: A backbone's class, or one of the functions of `surgery.py`.
        arguments: JSON values by name.
        arrays: How many the file holds; no more layers may be asked for. `MOST_LAYERS` when None.
        where: What to call the file in messages.

    Returns:
        The arguments in the types that the function expects.

    Raises:
        InputError: It has no such argument, or a value is of another type or outside its range.
    """
    most = MOST_LAYERS if arrays is None else arrays
    called = function.__init__ if inspect.isclass(function) else function
    hints = get_type_hints(called)
    able = [name for name in inspect.signature(called).parameters if name not in _NOT_IN_A_FILE]
    found = {}
    for name, value in arguments.items():
        if name not in able:
            raise InputError(
                f"{where}: the metadata give {function.__name__} an argument {name!r}; it has "
                f"{', '.join(able)}"
            )
        found[name] = typed(hints[name], value, f"{where}: the metadata's arguments", name)
        _check_range(name, found[name], most, where)
    return found


def _check_range(name: str, value: Any, most: int, where: str) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    whole = [number for number in numbers if type(number) is int]
    least, largest = int(name not in _FROM_0), most if name in _OF_LAYERS else _LARGEST
    layers = sum(whole) if name in _OF_LAYERS else len(numbers)
    shown = f"{where}: {name} is {str(value)[:80]} in the metadata"
    if not numbers or layers > most:
        raise InputError(f"{shown}; the file has only {most} arrays, too few for so many layers")
    if any(not least <= number <= largest for number in whole):
        raise InputError(f"{shown}; expected {least} to {largest}")
    if name == "dropout" and not 0 <= value < 1:
        raise InputError(f"{shown}; expected 0 or more and less than 1")
    if name == "epsilon" and not 0 < value < 1:
        raise InputError(f"{shown}; expected more than 0 and less than 1")


def check_values(parameters: Mapping[str, np.ndarray], *, where: str) -> None:
    """Checks that weights are numbers a network can compute with.

    Args:
        parameters: By name; those of whole numbers are left out.
        where: What to call the file in messages.

    Raises:
        InputError: An array holds NaN or infinity, or a variance below 0.
    """
    for name, array in parameters.items():
        if array.size == 0 or array.dtype.kind in "iub":
            continue
        # A NaN becomes both; no array of the same size is made.
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise InputError(
                f"{where}: {name!r} holds NaN or infinity; take another file of these weights, or "
                "train them again with a lower learning rate"
            )
        if name.endswith(".var") and low < 0:
            raise InputError(
                f"{where}: the variances {name!r} go down to {low}; expected 0 or more"
            )
