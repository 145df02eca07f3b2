"""Max-pooling and its gradient against XLA's window reduction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prernn_jax.cpu.pool import max_pool


def reference(x, window, strides, pads):
    return jax.lax.reduce_window(
        x, np.array(-np.inf, x.dtype), jax.lax.max, (1, *window, 1), (1, *strides, 1),
        [(0, 0), *pads, (0, 0)],
    )  # fmt: skip


@pytest.mark.parametrize(("size", "window", "strides", "pads"), [
    ((6, 8), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((7, 9), (2, 2), (2, 2), ((0, 0), (0, 0))),  # a row and a column are left over
    ((7, 8), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ((7, 8), (3, 3), (2, 2), ((0, 1), (0, 1))),
    ((5, 6), (3, 2), (1, 3), ((1, 0), (2, 0))),
    ((9, 9), (2, 2), (3, 3), ((0, 0), (0, 0))),  # gaps between the windows
    ((4, 5, 7), (2, 2, 2), (2, 2, 2), ((0, 0), (0, 1), (0, 1))),
])  # fmt: skip
def test_as_the_window_reduction(size, window, strides, pads):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        # Rounded, so that many windows hold their maximum twice: the first gets the gradient.
        x = jnp.asarray(np.round(rng.normal(size=(2, *size, 3))))
        theirs, their_vjp = jax.vjp(lambda x: reference(x, window, strides, pads), x)
        ours, our_vjp = jax.vjp(jax.jit(lambda x: max_pool(x, window, strides, pads)), x)
        np.testing.assert_array_equal(ours, theirs)
        grad = jnp.asarray(rng.normal(size=ours.shape))
        np.testing.assert_allclose(our_vjp(grad)[0], their_vjp(grad)[0], rtol=1e-14, atol=1e-14)


def test_a_gpu_gets_the_window_reduction():
    step = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, (3, 3), (2, 2)))))
    x = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.bfloat16)
    text = step.trace(x).lower(lowering_platforms=("cuda",)).as_text()
    assert "select_and_scatter" in text
    assert "optimization_barrier" not in text
