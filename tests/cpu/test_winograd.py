"""Winograd's convolutions and their gradients against XLA's own, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from prernn_jax.cpu import winograd
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.winograd_choice import tile_side

SAME = ((1, 1), (1, 1))
CASES = [
    # shape of the input, of the kernel, padding
    ((1, 1, 1, 3), (3, 3, 3, 2), SAME),
    ((1, 2, 3, 5), (3, 3, 5, 1), SAME),
    ((3, 3, 2, 1), (3, 3, 1, 7), SAME),
    ((2, 5, 9, 3), (3, 3, 3, 5), SAME),
    ((1, 13, 7, 2), (3, 3, 2, 3), ((0, 0), (0, 0))),
    ((2, 4, 8, 3), (3, 3, 3, 2), ((0, 2), (2, 1))),
    ((1, 1, 3, 3, 2), (3, 3, 3, 2, 3), ((1, 1), *SAME)),  # one frame meets one plane
    ((2, 2, 1, 5, 3), (3, 3, 3, 3, 2), ((1, 1), *SAME)),
    ((1, 5, 6, 3, 2), (3, 3, 3, 2, 1), ((1, 1), *SAME)),
    ((2, 4, 3, 5, 2), (2, 3, 3, 2, 3), ((0, 0), *SAME)),
    ((1, 3, 5, 3, 2), (1, 3, 3, 2, 3), ((0, 0), (0, 0), (1, 2))),
    ((1, 2, 3, 3, 2), (4, 3, 3, 2, 3), ((3, 0), *SAME)),
]


def names(rank):
    return ("NHWC", "HWIO", "NHWC") if rank == 4 else ("NDHWC", "DHWIO", "NDHWC")


def xla(pads, x, kernel):
    strides = (1,) * len(pads)
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=names(x.ndim))


def drawn(*shapes):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes)


def three_passes(pads, m):
    return jax.jit(
        lambda x, kernel, grad: (
            winograd.convolve(x, kernel, pads, m),
            winograd.input_gradient(grad, kernel, pads, m),
            winograd.weight_gradient(x, grad, pads, m),
        )
    )


def compare(shape, window, pads, m):
    x, kernel = drawn(shape, window)
    y, vjp = jax.vjp(functools.partial(xla, pads), x, kernel)
    (grad,) = drawn(y.shape)
    found = three_passes(pads, m)(x, kernel, grad)
    for ours, theirs in zip(found, (y, *vjp(grad)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "window", "pads"), CASES)
def test_as_xla_in_float64(shape, window, pads):
    with jax.enable_x64(True):
        compare(shape, window, pads, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "window", "pads"), CASES[1::4])
def test_small_tiles_as_xla_in_float64(shape, window, pads):
    with jax.enable_x64(True):
        compare(shape, window, pads, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "limit", "block"), [
    ((2, 17, 9, 2), 3, "_BLOCK"),  # rows of tiles
    ((6, 5, 6, 2), 8, "_BLOCK"),  # two images
    ((2, 3, 17, 9, 2), 9, "_BLOCK"),  # rows of tiles of three frames
    ((2, 17, 9, 2), 6, "_LONG_BLOCK"),
])  # fmt: skip
def test_blocks(monkeypatch, shape, limit, block):
    """Whatever fits in a block, the result is the same."""
    monkeypatch.setattr(winograd, block, limit)
    monkeypatch.setattr(winograd, "_LONG", range(6, 7) if block == "_LONG_BLOCK" else range(0))
    with jax.enable_x64(True):
        window = (3,) * (len(shape) - 2)
        compare(shape, (*window, 2, 3), ((1, 1),) * len(window), 4)


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize(("m", "limit"), [(2, 2e-6), (4, 1e-5)])
def test_error_in_float32(m, limit):
    """Relative to the largest value, with as many channels as VGG16 has."""
    x, kernel, grad = drawn((1, 12, 12, 512), (3, 3, 512, 64), (1, 12, 12, 64))
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a), jnp.float64) for a in (x, kernel, grad)]
        y, vjp = jax.vjp(functools.partial(xla, SAME), *wide[:2])
        expected = [np.asarray(a) for a in (y, *vjp(wide[2]))]
    for ours, theirs in zip(three_passes(SAME, m)(x, kernel, grad), expected, strict=True):
        assert ours.dtype == jnp.float32
        assert np.abs(ours - theirs).max() < limit * np.abs(theirs).max()


def chosen(shape, window, strides=1, pads=SAME, dtype=jnp.float32):
    x, kernel = (jax.ShapeDtypeStruct(size, dtype) for size in (shape, window))
    strides = (strides,) * (len(shape) - 2)
    passes = ("forward", "input gradient", "weight gradient")
    return tuple(tile_side(of, strides, pads, x, kernel) for of in passes)


def test_where_it_is_used():
    vgg = (4, 56, 56, 256), (3, 3, 256, 256)
    assert chosen(*vgg) == (4, 4, 4)
    assert chosen((4, 14, 14, 512), (3, 3, 512, 512)) == (2, 2, 4)  # few tiles, a large kernel
    assert chosen((1, 7, 7, 512), (3, 3, 512, 512)) == (0, 0, 0)
    clips = (4, 4, 28, 28, 128), (3, 3, 3, 128, 256)
    assert chosen(*clips, pads=((1, 1), *SAME)) == (4, 4, 4)
    assert chosen(*clips, pads=((-1, 1), *SAME)) == (0, 0, 0)
    assert chosen(*vgg, strides=2) == (0, 0, 0)
    assert chosen(*vgg, pads=((1, 1), (3, 1))) == (0, 0, 0)
    assert chosen(*vgg, dtype=jnp.bfloat16) == (0, 0, 0)
    assert chosen((4, 56, 56, 256), (5, 5, 256, 256)) == (0, 0, 0)
    # The compact networks of the drawn data stay as they are.
    assert chosen((512, 16, 16, 32), (3, 3, 32, 64)) == (0, 0, 0)
    assert chosen((512, 4, 4, 64), (3, 3, 64, 64)) == (0, 0, 0)


def loss(conv, x, kernel):
    y = conv(x, kernel, (1,) * (x.ndim - 2), "SAME", dimension_numbers=names(x.ndim))
    return jnp.sum(jnp.sin(y))


@pytest.mark.parametrize("shape", [(1, 9, 8, 64), (1, 2, 9, 8, 64)])
def test_a_gpu_gets_plain_convolutions(shape):
    x, kernel = jnp.ones(shape), jnp.ones((*[3] * (len(shape) - 2), 64, 64))
    assert chosen(shape, kernel.shape, pads=((1, 1),) * (len(shape) - 2)) != (0, 0, 0)
    step = jax.jit(jax.grad(functools.partial(loss, conv_general_dilated), argnums=(0, 1)))
    traced = step.trace(x, kernel)
    cuda, cpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cuda", "cpu"))
    assert cuda.count("stablehlo.convolution") == 3
    assert "dot_general" not in cuda
    assert "dot_general" in cpu
    assert "stablehlo.convolution" not in cpu


@pytest.mark.slow
def test_second_derivatives():
    """In reverse over reverse and in forward over reverse; forward mode alone is refused."""
    with jax.enable_x64(True):
        given = drawn((1, 8, 7, 64), (3, 3, 64, 64))
        given = given[0], given[1] / 24
        along = jax.tree.map(jnp.cos, given)

        def products(conv):
            gradient = jax.grad(functools.partial(loss, conv), (0, 1))

            def slope(*given):
                return sum(jnp.sum(g * d) for g, d in zip(gradient(*given), along, strict=True))

            forward = jax.jit(lambda: jax.jvp(gradient, given, along)[1])()
            return *jax.jit(jax.grad(slope, (0, 1)))(*given), *forward

        found = products(conv_general_dilated)
        for ours, theirs in zip(found, products(lax.conv_general_dilated), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jvp(functools.partial(loss, conv_general_dilated), given, along)
