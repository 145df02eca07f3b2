"""The last convolution made recurrent: pooled before the ReLU, with its batch-norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import in_float64
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.layers.batch_norm import BatchNorm
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.recurrent_conv import RecurrentConv

B, T, S, D, F = 2, 3, 4, 5, 6


def _conv(rngs, **options):
    return nnx.Conv(D, F, (1, 1), use_bias=False, rngs=rngs, **options)


def _norm():
    rng = np.random.default_rng(1)
    norm = BatchNorm(F)
    for name in ("scale", "bias", "mean", "var"):
        value = rng.uniform(0.5, 2.0, F).astype(np.float32)
        getattr(norm, name).set_value(jnp.asarray(value))
    return norm


def _pair(seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=(B, T, S, S, n))) for n in (D, F))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize(("cell", "shared"), [("lstm", False), ("gru", True)])
def test_every_gate_gets_the_pooled_sum_before_the_relu(x64, cell, shared, frozen):
    """Equal to rounding where pooling comes first, which saves work."""
    conv, norm = in_float64(_conv(nnx.Rngs(0))), in_float64(_norm())
    layer = RecurrentConv.from_conv(conv, norm, cell, shared, rngs=nnx.Rngs(1))
    inputs, shortcut = _pair()
    if not frozen:
        norm.train()
        layer.train()
    image = norm(inputs @ conv.kernel[0, 0])
    state = np.mean(image + shortcut, axis=(2, 3))
    projected = layer.project((inputs, shortcut))
    blocks = 1 if shared else get_cell(cell).gates
    for block in np.split(np.asarray(projected), blocks, axis=-1):
        np.testing.assert_allclose(block, state, rtol=1e-12, atol=1e-12)
    for block in np.split(np.asarray(layer.norm.mean[...]), blocks):
        np.testing.assert_allclose(block, norm.mean[...], rtol=1e-12)


def test_the_parameters():
    conv = _conv(nnx.Rngs(0))
    layer = RecurrentConv.from_conv(conv, _norm(), "gru", readout=nnx.relu, rngs=nnx.Rngs(1))
    shapes = {
        ".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(layer))
    }
    assert shapes == {
        "kernel": (D, 3 * F),
        "recurrent_kernel": (3, F, F),
        **{f"norm.{name}": (3 * F,) for name in ("scale", "bias", "mean", "var")},
    }
    for block in np.split(np.asarray(layer.kernel[...]), 3, axis=1):
        np.testing.assert_array_equal(block, conv.kernel[0, 0])


def test_with_u_0_a_vrnn_is_the_block_of_the_network(x64):
    conv, norm = in_float64(_conv(nnx.Rngs(0))), in_float64(_norm())
    layer = RecurrentConv.from_conv(conv, norm, "vrnn", rngs=nnx.Rngs(1))
    layer.recurrent_kernel[...] = jnp.zeros_like(layer.recurrent_kernel[...])
    inputs, shortcut = _pair()
    y, _ = layer((inputs, shortcut))
    expected = np.maximum(np.mean(norm(conv(inputs)) + shortcut, axis=(2, 3)), 0)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_drawing_anew_resets_the_batch_norm_too():
    layer = RecurrentConv.from_conv(_conv(nnx.Rngs(0)), _norm(), "lstm", rngs=nnx.Rngs(1))
    before = np.asarray(layer.kernel[...])
    layer.draw_input_kernel(nnx.Rngs(2))
    assert not np.any(np.isclose(layer.kernel[...], before))
    np.testing.assert_array_equal(layer.norm.scale[...], 1)
    np.testing.assert_array_equal(layer.norm.bias[...], 0)


def test_calibrated_statistics_are_those_of_the_outputs():
    layer = RecurrentConv.from_conv(_conv(nnx.Rngs(0)), _norm(), "gru", rngs=nnx.Rngs(1))
    layer.draw_input_kernel(nnx.Rngs(2))
    inputs, shortcut = _pair()
    layer.calibrate(inputs)
    shown = layer.norm(inputs @ layer.kernel[...])
    np.testing.assert_allclose(shown.mean(axis=(0, 1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(shown.std(axis=(0, 1, 2, 3)), 1, rtol=1e-3)
    assert np.isfinite(layer((inputs, shortcut))[0]).all()


def test_bad_input():
    rngs = nnx.Rngs(0)
    conv = nnx.Conv(D, F, (1, 1), rngs=rngs)
    with pytest.raises(InputError, match=r"kernel \(1, 1, 5, 6\) and a bias"):
        RecurrentConv.from_conv(conv, _norm(), "gru", rngs=rngs)
    conv = nnx.Conv(D, F, (3, 3), use_bias=False, rngs=rngs)
    with pytest.raises(InputError, match=r"kernel \(3, 3, 5, 6\) and no bias"):
        RecurrentConv.from_conv(conv, _norm(), "gru", rngs=rngs)
    layer = RecurrentConv.from_conv(_conv(rngs), _norm(), "gru", rngs=rngs)
    inputs, shortcut = (jnp.zeros((B, T, S, S, n), jnp.float32) for n in (D, F))
    with pytest.raises(InputError, match="the pair has shapes"):
        layer((shortcut, shortcut))
    with pytest.raises(InputError, match="the pair has shapes"):
        layer((inputs, shortcut[:, :, :1]))


def test_it_offers_no_way_in_that_is_not_its_own():
    """A linear layer has no image to pool, so only a convolution can be made one of these."""
    assert not hasattr(RecurrentConv, "from_linear")
