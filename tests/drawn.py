"""Networks with weights drawn by NumPy: many a layer's own initialiser takes long to compile."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


def drawn(make: Callable[[], Any], seed: int = 0, dtype: Any = np.float32) -> Any:
    """What `make` makes, with random weights, biases and statistics in `dtype`."""
    model = nnx.eval_shape(make)
    graphdef, state = nnx.split(model)
    rng = np.random.default_rng(seed)
    for path, leaf in nnx.to_flat_state(state):
        if path[-1] in ("scale", "var"):
            array = rng.uniform(0.5, 1.5, leaf.shape)
        elif len(leaf.shape) > 1:
            array = rng.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape)
        else:
            array = rng.normal(0, 0.2, leaf.shape)
        leaf.set_value(jnp.asarray(array.astype(dtype)))
    return nnx.merge(graphdef, state)


def in_float64(module: Any) -> Any:
    """A copy of the module with all parameters and statistics in float64."""
    graphdef, state = nnx.split(module)

    def widen(x: jax.Array) -> jax.Array:
        wide = jnp.issubdtype(x.dtype, jnp.floating)
        return jnp.asarray(np.asarray(x, np.float64)) if wide else x

    return nnx.merge(graphdef, jax.tree.map(widen, state))
