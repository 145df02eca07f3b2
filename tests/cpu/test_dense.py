"""The products with a weight matrix and their gradients against XLA's own, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from prernn_jax.cpu.dense import dot_general


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (1, 7), (7,), (2, 80, 7)])
def test_gradients_as_xla(shape):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, kernel = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=(7, 4)))
        numbers = (((len(shape) - 1,), (0,)), ((), ()))
        grad = jnp.asarray(rng.normal(size=(*shape[:-1], 4)))
        results = []
        for product in (lax.dot_general, dot_general):
            run = jax.jit(lambda x, k, product=product: product(x, k, numbers))
            y, vjp = jax.vjp(run, x, kernel)
            results.append((y, *vjp(grad)))
        for theirs, ours in zip(*results, strict=True):
            assert theirs.dtype == ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
