"""numpy's scalars in PyTorch's pickles, such as a `best_prec1`, rebuilt without numpy's own code.

numpy's functions for this trust what they are given: a forged dtype makes them read beyond their
bytes. So the names that such a pickle calls lead to the two below, which know plain types only.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

_PLAIN = re.compile(r"[<>=|]?[biufcSU]\d{1,4}|\?")


class Dtype:
    """Stands for `numpy.dtype` while a pickle is read.

    Args:
        text: Such as `f8`.
        rest: Whether to align and to copy: not needed.
    """

    def __init__(self, text: Any, *rest: Any) -> None:
        self.text = text
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        """Takes the byte order, and drops what is not plain: fields, shapes, subtypes."""
        plain = isinstance(state, tuple) and len(state) >= 5 and state[2:5] == (None,) * 3
        self.order = state[1] if plain else "not plain"

    def plain(self) -> np.dtype | None:
        """The type itself, where it is a number's, a truth value's or a text's."""
        text = f"{self.order}{self.text}" if isinstance(self.text, str) else ""
        return np.dtype(text) if _PLAIN.fullmatch(text) else None


def scalar(dtype: Any, data: Any = None) -> Any:
    """Stands for numpy's `scalar`: the value, or None where it is not of a plain type."""
    plain = dtype.plain() if isinstance(dtype, Dtype) else None
    if plain is None or not isinstance(data, bytes) or len(data) != plain.itemsize:
        return None
    return np.frombuffer(data, plain)[0] if plain.itemsize else None


# As torch.serialization.safe_globals takes them; numpy 2 moved `core` to `_core`.
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    (Dtype, "numpy.dtype"),
]
