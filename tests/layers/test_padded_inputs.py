"""What stands in padded steps reaches neither results nor gradients of a recurrent layer."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from naive_unroll import CELLS

from prernn_jax.layers.recurrent import Recurrent

T = 4


@pytest.mark.slow
@hypothesis.settings(max_examples=5, deadline=None, derandomize=True)
@hypothesis.given(
    st.sampled_from(CELLS),
    st.booleans(),
    st.lists(st.integers(1, T), min_size=2, max_size=2),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(0, 5),
)
def test_whatever_stands_in_padding(cell, shared, lengths, bad, place):
    graph, state = nnx.split(Recurrent(6, 5, cell, shared, rngs=nnx.Rngs(0)))
    n = jnp.asarray(lengths)
    padded = jnp.arange(T)[None, :] >= n[:, None]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, T, 6)), jnp.float32)
    dirty = x.at[:, :, place].set(jnp.where(padded, bad, x[:, :, place]))

    def value(state, x):
        y, last = nnx.merge(graph, state)(x, None, n)
        return y.sum() + sum(part.sum() for part in last)

    run = jax.jit(jax.value_and_grad(value, (0, 1)))
    jax.tree.map(np.testing.assert_array_equal, run(state, dirty), run(state, x))
