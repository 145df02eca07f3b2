"""Small networks with random weights, drawn by numpy: JAX compiles its generators by shape."""

import jax.numpy as jnp
import numpy as np
from flax import nnx


def random_model(make, seed=0):
    """What `make` builds, without running its initialisers; outputs keep their scale."""
    rng = np.random.default_rng(seed)
    model = nnx.eval_shape(make)
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    for path, leaf in nnx.to_flat_state(state):
        if path[-1] == "kernel":
            fan_in = np.prod(leaf.shape[:-1])
            value = rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape)
        elif path[-1] == "recurrent_kernel":
            value = rng.normal(0, 0.3 / leaf.shape[-1] ** 0.5, leaf.shape)
        else:  # scales and variances around one, offsets around zero
            value = rng.uniform(-0.2, 0.2, leaf.shape) + (path[-1] in ("scale", "var"))
        leaf.set_value(jnp.asarray(value.astype(np.float32)))
    nnx.update(model, state)
    return model
