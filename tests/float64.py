"""Modules in float64, for tests that hold two orders of summation to one result."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def in_float64(module: Any) -> Any:
    """A copy of the module with all parameters and statistics in float64."""
    graphdef, state = nnx.split(module)

    def widen(x: jax.Array) -> jax.Array:  # by NumPy: nothing to compile
        wide = jnp.issubdtype(x.dtype, jnp.floating)
        return jnp.asarray(np.asarray(x, np.float64)) if wide else x

    return nnx.merge(graphdef, jax.tree.map(widen, state))
