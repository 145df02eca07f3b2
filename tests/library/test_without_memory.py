"""Without memory (U = 0) a PreVRNN is the feed-forward network on every frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import (
    CLIP,
    FOREIGN_LAYERS,
    OUTPUTS,
    c3d,
    drawn,
    foreign,
    random_clips,
    resnet,
    tiny,
    vgg,
)
from flax import nnx

from prernn_jax.surgery import make_recurrent, per_frame

B, T, K = 2, 3, OUTPUTS


def _call(model, clips):
    graphdef, state = nnx.split(model)
    return jax.jit(lambda state, clips: nnx.merge(graphdef, state)(clips))(state, clips)


def _no_memory(model):
    """U = 0 in every layer."""
    for layer in model.recurrent_layers:
        layer.recurrent_kernel.set_value(jnp.zeros_like(layer.recurrent_kernel[...]))
    return model


def _frames(network, clips):
    """The feed-forward network on every frame."""
    graphdef, state = nnx.split(network)
    folded = clips.reshape((-1, *clips.shape[2:]))
    y = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, folded)
    assert np.std(y, axis=0).min() > 1e-4, "the network is dead: this would show nothing"
    return y.reshape(clips.shape[0], clips.shape[1], -1)


@pytest.mark.parametrize(
    ("make", "layers"),
    [(vgg, ["fc6", "fc7"]), (tiny, ["fc6", "fc7"]), (tiny, ["fc6"]), (tiny, ["fc7"])],
)
def test_with_u_0_it_is_feed_forward_to_the_bit(make, layers):
    network = drawn(make)
    model = _no_memory(make_recurrent(network, layers, "vrnn", rngs=nnx.Rngs(1)))
    clips = random_clips(B, T)
    np.testing.assert_array_equal(_call(model, clips)[0], _frames(network, clips))


def test_c3d_with_u_0_is_feed_forward():
    network = drawn(c3d)
    model = _no_memory(make_recurrent(network, cell="vrnn", rngs=nnx.Rngs(1)))
    clips = random_clips(B, T, CLIP)
    outputs, carry = _call(model, clips)
    np.testing.assert_allclose(outputs, _frames(network, clips), rtol=1e-6, atol=1e-6)
    assert len(carry) == 2


@pytest.mark.slow
def test_resnet_with_u_0_is_feed_forward_pooled_before_the_last_relu():
    """The paper pools conv5's state to a vector; the original pools after the block's ReLU.

    So the equality is with the network that pools first (docs/decisions.md), and with the
    original wherever no sum in the last block is negative.
    """
    with jax.enable_x64(True):
        network = drawn(resnet, dtype=np.float64)
        clips = random_clips(B, T, dtype=np.float64)
        model = _no_memory(make_recurrent(network, cell="vrnn", rngs=nnx.Rngs(1)))

        def pooled_first(x):
            y, shortcut = network.trunk(x)
            block = network.layer2[0]
            return network.fc(nnx.relu(jnp.mean(block.bn3(block.conv3(y)) + shortcut, (1, 2))))

        expected = jax.jit(pooled_first)(clips.reshape(B * T, 32, 32, 3)).reshape(B, T, K)
        np.testing.assert_allclose(_call(model, clips)[0], expected, rtol=1e-10, atol=1e-12)

        original = _frames(network, clips)
        assert np.abs(original - expected).max() > 1e-3
        # A shift that makes every sum positive, in both nets, makes them the original's.
        network.layer2[0].bn3.bias[...] += 100.0
        model = _no_memory(make_recurrent(network, cell="vrnn", rngs=nnx.Rngs(1)))
        np.testing.assert_allclose(
            _call(model, clips)[0], _frames(network, clips), rtol=1e-10, atol=1e-10
        )


def test_a_foreign_network_with_u_0_is_feed_forward_to_the_bit():
    network = drawn(foreign)
    model = _no_memory(make_recurrent(network, FOREIGN_LAYERS, "vrnn", rngs=nnx.Rngs(1)))
    clips = random_clips(B, T)
    outputs, carry = _call(model, clips)
    np.testing.assert_array_equal(outputs, _frames(network, clips))
    assert [part.shape for (part,) in carry] == [(B, 6), (B, 6)]


@pytest.mark.parametrize("make", [tiny, resnet, foreign])
def test_per_frame_is_the_network_on_every_frame(make):
    network = drawn(make)
    clips = random_clips(B, T)
    outputs, carry = _call(per_frame(network, rngs=nnx.Rngs(1)), clips)
    np.testing.assert_allclose(outputs, _frames(network, clips), rtol=1e-6, atol=1e-6)
    assert carry == ()
