"""Max-pooling, channels last."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import Array


def max_pool(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Array:
    """Maximum over windows of the spatial dimensions.

    Args:
        x: (N, spatial..., C).
        window: Size of the window in each spatial dimension.
        strides: Step of the window in each spatial dimension.
        padding: "VALID", or (before, after) for each spatial dimension, filled with -inf.

    Returns:
        (N, pooled spatial..., C).
    """
    pads = [(0, 0)] * len(window) if isinstance(padding, str) else list(padding)
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),
        jax.lax.max,
        (1, *window, 1),
        (1, *strides, 1),
        [(0, 0), *pads, (0, 0)],
    )
