"""Convolution: drop-in for `jax.lax.conv_general_dilated`."""

from typing import Any

import jax
from jax import Array


def conv_general_dilated(lhs: Array, rhs: Array, *args: Any, **kwargs: Any) -> Array:
    """Convolves as `jax.lax.conv_general_dilated` does; takes the same arguments."""
    return jax.lax.conv_general_dilated(lhs, rhs, *args, **kwargs)
