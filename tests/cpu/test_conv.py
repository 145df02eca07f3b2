"""Convolutions and their gradients against XLA's own, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from prernn_jax.cpu import conv_gradients
from prernn_jax.cpu.conv import conv_general_dilated

CASES = [
    # shape of the input, of the kernel, strides, padding
    ((2, 6, 7, 3), (3, 3, 3, 4), (1, 1), ((1, 1), (1, 1))),
    ((2, 9, 8, 3), (7, 7, 3, 4), (2, 2), ((3, 3), (3, 3))),
    ((3, 9, 8, 20), (3, 3, 20, 5), (2, 2), ((1, 1), (1, 1))),
    ((2, 8, 8, 17), (3, 2, 17, 5), (2, 1), ((0, 1), (2, 0))),
    ((2, 7, 7, 18), (1, 1, 18, 5), (2, 2), ((0, 0), (0, 0))),
    ((2, 6, 6, 18), (1, 1, 18, 5), (1, 1), "VALID"),
    ((2, 7, 5, 4), (2, 3, 4, 5), (3, 2), "SAME"),
    ((2, 7, 5, 4), (3, 3, 4, 5), (1, 1), ((-1, 2), (0, -1))),
    ((2, 7, 5, 17), (3, 3, 17, 5), (1, 1), ((-1, 2), (0, -1))),
    ((1, 5, 6, 257), (3, 3, 257, 4), (1, 1), ((0, 1), (2, 0))),
    ((2, 6, 5, 257), (3, 2, 257, 4), (2, 1), ((1, 1), (0, 1))),
    ((1, 6, 5, 257), (3, 3, 257, 4), (1, 1), ((-1, 1), (1, -1))),
    ((32, 4, 4, 3), (3, 3, 3, 2), (1, 1), "SAME"),
    ((2, 4, 6, 5, 3), (3, 3, 3, 3, 4), (1, 1, 1), ((1, 1), (1, 1), (1, 1))),
    ((2, 5, 4, 4, 6), (3, 3, 3, 6, 4), (1, 1, 1), ((-1, 2), (1, 1), (0, 1))),
    ((2, 4, 4, 4, 6), (2, 3, 3, 6, 4), (1, 1, 1), ((1, -1), (1, 1), (0, 1))),
    ((1, 4, 4, 4, 65), (3, 3, 3, 65, 4), (1, 1, 1), "SAME"),
    ((1, 5, 4, 4, 65), (3, 3, 3, 65, 4), (2, 1, 1), ((1, 2), (1, 1), (1, 1))),
    ((1, 1, 4, 4, 3), (2, 3, 3, 3, 4), (1, 1, 1), ((-1, 2), (1, 1), (1, 1))),  # zeros only
    ((2, 2, 5, 4, 3), (3, 3, 3, 3, 4), (1, 1, 1), "SAME"),
    ((2, 1, 5, 4, 3), (3, 3, 3, 3, 4), (1, 1, 1), "SAME"),
    ((2, 3, 5, 4, 3), (4, 3, 3, 3, 4), (2, 1, 1), ((2, 1), (1, 1), (1, 1))),
    ((2, 3, 5, 4, 3), (1, 1, 1, 3, 4), (2, 1, 2), "VALID"),
    ((2, 5, 6, 5, 3), (2, 3, 3, 3, 4), (2, 2, 1), ((1, 0), (0, 2), (1, 1))),
]


def dimensions(rank):
    return ("NHWC", "HWIO", "NHWC") if rank == 4 else ("NDHWC", "DHWIO", "NDHWC")


def compare(shape, window, strides, padding, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=shape), dtype)
    kernel = jnp.asarray(rng.normal(size=window), dtype)
    results = []
    for conv in (lax.conv_general_dilated, conv_general_dilated):
        y, vjp = jax.vjp(
            jax.jit(
                lambda x, k, conv=conv: conv(
                    x, k, strides, padding, dimension_numbers=dimensions(x.ndim)
                )
            ),
            x,
            kernel,
        )
        grad = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), dtype)
        results.append((y, *vjp(grad)))
    for theirs, ours in zip(*results, strict=True):
        assert theirs.dtype == ours.dtype
        np.testing.assert_allclose(
            np.asarray(ours, np.float64), np.asarray(theirs, np.float64),
            rtol=tolerance, atol=tolerance * 10,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), CASES)
def test_as_xla_in_float64(shape, window, strides, padding):
    with jax.enable_x64(True):
        compare(shape, window, strides, padding, jnp.float64, 1e-11)


def test_bfloat16_keeps_its_type():
    compare((2, 6, 6, 3), (3, 3, 3, 4), (2, 2), "SAME", jnp.bfloat16, 5e-2)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (17, 2)])
def test_pieces_of_the_weight_gradient(monkeypatch, channels, stride):
    """Whatever fits in a piece, the sum over the pieces is the same."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 6, 6, channels)), jnp.float32)
    grad = jnp.asarray(rng.normal(size=(4, 6 // stride, 6 // stride, 5)), jnp.float32)

    def kernel(limit):
        monkeypatch.setattr(conv_gradients, "_CHUNK", limit)
        monkeypatch.setattr(conv_gradients, "_POSITIONS", 0)
        return conv_gradients.weight_gradient(x, grad, (3, 3), (stride,) * 2, [(1, 1)] * 2)

    whole = kernel(10**6)  # 1: one row; 216 and 306: two rows; 1300: two images
    for limit in (1, 216, 1300):
        np.testing.assert_allclose(kernel(limit), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("others", [
    {"rhs_dilation": (2, 2)},
    {"lhs_dilation": (2, 1), "padding": ((1, 1), (1, 1))},
    {"feature_group_count": 2},
    {"preferred_element_type": jnp.float32},
])  # fmt: skip
def test_everything_else_goes_to_xla(others):
    others = dict(others)
    x = jnp.ones((1, 6, 6, 4), jnp.bfloat16)
    kernel = jnp.ones((3, 3, 4 // others.get("feature_group_count", 1), 2), jnp.bfloat16)
    arguments = (x, kernel, (1, 1), others.pop("padding", "SAME"))
    theirs = lax.conv_general_dilated(*arguments, dimension_numbers=dimensions(4), **others)
    ours = conv_general_dilated(*arguments, dimension_numbers=dimensions(4), **others)
    np.testing.assert_array_equal(np.asarray(ours, np.float32), np.asarray(theirs, np.float32))


def test_other_dimension_numbers_go_to_xla():
    x, kernel = jnp.ones((1, 4, 6, 6)), jnp.ones((2, 4, 3, 3))
    theirs = lax.conv_general_dilated(x, kernel, (1, 1), "SAME")
    np.testing.assert_array_equal(conv_general_dilated(x, kernel, (1, 1), "SAME"), theirs)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (2, 4, 8, 8, 3)])
def test_a_gpu_gets_plain_convolutions(shape):
    """Lowered for CUDA, forward and gradients are three convolutions and no product or loop."""
    kernel = jnp.ones((*[3] * (len(shape) - 2), 3, 4))

    def loss(x, kernel):
        y = conv_general_dilated(
            x, kernel, (2,) * (x.ndim - 2), "SAME", dimension_numbers=dimensions(x.ndim)
        )
        return jnp.sum(jnp.square(y))

    step = jax.jit(jax.grad(loss, argnums=(0, 1)))
    lowered = step.trace(jnp.ones(shape), kernel).lower(lowering_platforms=("cuda",))
    text = lowered.as_text()
    assert text.count("stablehlo.convolution") == 3
    assert "dot_general" not in text
    assert "stablehlo.while" not in text


@pytest.mark.slow
def test_under_vmap():
    x = jax.random.normal(jax.random.key(0), (2, 1, 4, 4, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 2))

    def gradient(conv):
        def loss(x):
            y = conv(x, kernel, (2, 2), "SAME", dimension_numbers=dimensions(4))
            return jnp.sum(jnp.square(y))

        return jax.vmap(jax.grad(loss))(x)

    theirs = gradient(lax.conv_general_dilated)
    np.testing.assert_allclose(gradient(conv_general_dilated), theirs, rtol=2e-4, atol=1e-3)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the form is for a CPU")
def test_a_1x1_kernels_gradient_copies_no_input():
    x, kernel = jnp.ones((2, 12, 12, 24)), jnp.ones((1, 1, 24, 8))

    def loss(kernel, x):
        chain = jnp.tanh(2 * jnp.maximum(x, 0) + 1)
        y = conv_general_dilated(chain, kernel, (1, 1), "VALID", dimension_numbers=dimensions(4))
        return jnp.sum(y * y)

    text = jax.jit(jax.grad(loss)).lower(kernel, x).compile().as_text()
    assert "[24,288]" not in text  # x, its channels first
