"""Sequence models: the contract of DESIGN section 3 on whole networks, ours and foreign ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.recurrent import Recurrent
from prernn_jax.sequence import FoldedModel, LayerSequence
from prernn_jax.surgery import make_recurrent, per_frame, stack_recurrent

B, T, K = 2, 3, 4
RNGS = {"rngs": nnx.Rngs(0)}


def _vgg():
    return VGG16(K, width=2, hidden=5, image_size=32, rngs=nnx.Rngs(0))


def _c3d():
    return C3D(K, width=2, hidden=5, clip_length=4, image_size=32, rngs=nnx.Rngs(0))


def _resnet():
    return ResNet((1, 1), width=2, num_outputs=K, rngs=nnx.Rngs(0))


class Foreign(nnx.Module):
    """A network that knows nothing of us: convolutions, nested names, a ReLU of its own."""

    def __init__(self, rngs):
        self.convs = nnx.List([nnx.Conv(3, 4, (3, 3), 8, rngs=rngs)])
        self.neck = nnx.Sequential(nnx.Linear(64, 6, rngs=rngs), nnx.relu)
        self.head = nnx.Dict(inner=nnx.Linear(6, 5, rngs=rngs), out=nnx.Linear(5, K, rngs=rngs))

    def __call__(self, x):
        for conv in self.convs:
            x = nnx.relu(conv(x))
        x = self.neck(x.reshape(x.shape[0], -1))
        return self.head.out(nnx.relu(self.head.inner(x)))


FOREIGN_LAYERS = ["neck.layers.0", "head.inner"]


def _clips(*size, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(B, T, *(size or (32, 32, 3)))).astype(dtype))


@partial(jax.jit, static_argnums=0)
def _run(graphdef, state, clips, carry=None, lengths=None):
    return nnx.merge(graphdef, state)(clips, carry, lengths)


def _call(model, *arguments):
    return _run(*nnx.split(model), *arguments)


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
    return y.reshape(clips.shape[0], clips.shape[1], -1)


@pytest.mark.parametrize("layers", [["fc6", "fc7"], ["fc6"], ["fc7"]])
def test_vgg_with_u_0_is_feed_forward_to_the_bit(layers):
    network = drawn(_vgg)
    model = _no_memory(make_recurrent(network, layers, "vrnn", rngs=nnx.Rngs(1)))
    clips = _clips()
    np.testing.assert_array_equal(_call(model, clips)[0], _frames(network, clips))


def test_c3d_with_u_0_is_feed_forward():
    network = drawn(_c3d)
    model = _no_memory(make_recurrent(network, cell="vrnn", rngs=nnx.Rngs(1)))
    clips = _clips(4, 32, 32, 3)
    outputs, carry = _call(model, clips)
    np.testing.assert_allclose(outputs, _frames(network, clips), rtol=1e-6, atol=1e-6)
    assert len(carry) == 2


def test_resnet_with_u_0_is_feed_forward_pooled_before_the_last_relu():
    """The paper pools conv5's state to a vector; the original pools after the block's ReLU.

    So the equality is with the network that pools first (docs/decisions.md), and with the
    original wherever no sum in the last block is negative.
    """
    with jax.enable_x64(True):
        network = drawn(_resnet, dtype=np.float64)
        clips = _clips(dtype=np.float64)
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
    network = drawn(lambda: Foreign(nnx.Rngs(0)))
    model = _no_memory(make_recurrent(network, FOREIGN_LAYERS, "vrnn", rngs=nnx.Rngs(1)))
    clips = _clips()
    outputs, carry = _call(model, clips)
    np.testing.assert_array_equal(outputs, _frames(network, clips))
    assert [part.shape for (part,) in carry] == [(B, 6), (B, 5)]


@pytest.mark.parametrize("make", [_vgg, _resnet, lambda: Foreign(nnx.Rngs(0))])
def test_per_frame_is_the_network_on_every_frame(make):
    network = drawn(make)
    clips = _clips()
    outputs, carry = _call(per_frame(network, rngs=nnx.Rngs(1)), clips)
    np.testing.assert_allclose(outputs, _frames(network, clips), rtol=1e-6, atol=1e-6)
    assert carry == ()


MODELS = {
    "vgg LSTM": lambda: make_recurrent(_vgg(), cell="lstm", rngs=nnx.Rngs(1)),
    "resnet GRU and one more": lambda: make_recurrent(
        _resnet(), cell="gru", extra=1, rngs=nnx.Rngs(1)
    ),
    "traditional": lambda: stack_recurrent(_vgg(), "vrnn", 6, 2, rngs=nnx.Rngs(1)),
    "foreign SIH": lambda: make_recurrent(
        Foreign(nnx.Rngs(0)), FOREIGN_LAYERS, "lstm", True, extra=1, output_layer="head.out",
        rngs=nnx.Rngs(1),
    ),
    "explicit": lambda: LayerSequence(
        _vgg().trunk, [Recurrent(16, 5, "gru", rngs=nnx.Rngs(1)), nnx.Linear(5, K, **RNGS)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in MODELS if name != "explicit"])
def test_padded_equals_unpadded_and_parts_equal_the_whole(name):
    """In float64: outputs of the valid frames, carries, gradients of all parameters."""
    with jax.enable_x64(True):
        model = drawn(MODELS[name], dtype=np.float64)
        clips = _clips(dtype=np.float64)
        graphdef, state = nnx.split(model)

        @jax.jit
        @partial(jax.grad, has_aux=True)
        def gradients(state, clips, lengths=None):
            outputs, carry = nnx.merge(graphdef, state)(clips, None, lengths)
            return jnp.sum(jnp.sin(outputs[:, :2])), (outputs, carry)

        padded = clips.at[:, 2:].set(7.0)
        got, (outputs, carry) = gradients(state, padded, jnp.full((B,), 2, jnp.int32))
        expected, (short, short_carry) = gradients(state, clips[:, :2])
        np.testing.assert_allclose(outputs[:, :2], short, rtol=1e-10, atol=1e-12)
        for a, b in zip(
            jax.tree.leaves((got, carry)), jax.tree.leaves((expected, short_carry)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)

        whole, last = _run(graphdef, state, clips)
        first, carry = _run(graphdef, state, clips[:, :2])
        second, carry = _run(graphdef, state, clips[:, 2:], carry)
        np.testing.assert_allclose(np.concatenate([first, second], 1), whole, rtol=1e-10)
        for a, b in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_foreign_network_is_ours_where_both_have_the_same_layers():
    """The VGG run through its own forward, as if it were foreign, and through our contract."""

    class Hidden(nnx.Module):
        def __init__(self, network):
            self.network = network

        def __call__(self, x):
            return self.network(x)

    network = drawn(_vgg)
    ours = make_recurrent(network, cell="gru", rngs=nnx.Rngs(1))
    foreign = make_recurrent(
        Hidden(network), ["network.fc6", "network.fc7"], "gru", rngs=nnx.Rngs(1)
    )
    clips, lengths = _clips(), jnp.array([3, 2], jnp.int32)
    (y, carry), (other, same) = (_call(m, clips, None, lengths) for m in (ours, foreign))
    np.testing.assert_array_equal(y[0], other[0])
    np.testing.assert_array_equal(y[1, :2], other[1, :2])
    for a, b in zip(jax.tree.leaves(carry), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_explicit_form_is_a_trunk_and_layers():
    """A foreign CNN's convolutions as the trunk; layers with and without memory in any order."""
    network = drawn(lambda: Foreign(nnx.Rngs(0)))
    made = make_recurrent(network, ["neck.layers.0"], "lstm", rngs=nnx.Rngs(1))
    (layer,) = made.recurrent_layers

    def trunk(x):
        return nnx.relu(network.convs[0](x)).reshape(x.shape[0], -1)

    explicit = LayerSequence(
        trunk, [layer, nnx.relu, network.head.inner, nnx.relu, network.head.out]
    )
    assert explicit.recurrent_layers == [layer]
    clips = _clips()
    expected, got = _call(made, clips), _call(explicit, clips)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1][0][1], expected[1][0][1])


@pytest.mark.parametrize("name", MODELS)
def test_every_model_splits_and_merges(name):
    """As training does it: one graph definition and a tree of arrays, also abstract ones."""
    model = nnx.eval_shape(MODELS[name])
    graphdef, state = nnx.split(model)
    again = nnx.merge(graphdef, state)
    assert nnx.graphdef(again) == graphdef
    assert len(again.recurrent_layers) == len(model.recurrent_layers)
    clips = jax.ShapeDtypeStruct((B, T, 32, 32, 3), jnp.float32)
    outputs, carry = jax.eval_shape(
        lambda state, clips: nnx.merge(graphdef, state)(clips), state, clips
    )
    assert outputs.shape == (B, T, K)
    assert len(carry) == len(model.recurrent_layers)
    hash(graphdef)  # a static argument of jit


def test_dropout_needs_a_key_and_keeps_the_mean():
    model = stack_recurrent(drawn(_vgg), "gru", 5, rngs=nnx.Rngs(1))
    model.backbone.fc8.kernel.set_value(jnp.ones((5, K), jnp.float32))
    model.dropout = 0.5
    clips = _clips()
    graphdef, state = nnx.split(model)
    plain, _ = _run(graphdef, state, clips)

    @jax.jit
    def dropped(key):
        return nnx.merge(graphdef, state)(clips, dropout_key=key)[0]

    outputs = np.stack([dropped(key) for key in jax.random.split(jax.random.key(0), 400)])
    assert np.std(outputs, axis=0).min() > 0
    error = np.std(outputs, axis=0) / 400**0.5
    assert np.all(np.abs(outputs.mean(0) - plain) < 5 * error)


class Twice(nnx.Module):
    def __init__(self, rngs):
        self.fc = nnx.Linear(4, 4, rngs=rngs)
        self.unused = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        return self.fc(nnx.relu(self.fc(x)))


def test_bad_calls():
    rngs = nnx.Rngs(0)
    network = drawn(lambda: Twice(rngs))
    x = jnp.zeros((B, T, 4), jnp.float32)
    with pytest.raises(InputError, match="calls a layer made recurrent twice"):
        make_recurrent(network, ["fc"], rngs=rngs)(x)
    with pytest.raises(InputError, match="did not call every layer"):
        make_recurrent(network, ["unused"], rngs=rngs)(x)
    spread = make_recurrent(nnx.Sequential(nnx.Linear(3, 2, rngs=rngs)), ["layers.0"], rngs=rngs)
    with pytest.raises(InputError, match=r"input of shape \(6, 8, 8, 3\).*LayerSequence"):
        spread(jnp.zeros((B, T, 8, 8, 3), jnp.float32))
    model = LayerSequence(lambda x: x, [Recurrent(4, 5, "gru", rngs=rngs)])
    with pytest.raises(InputError, match=r"clips have shape \(2, 4\); expected \(B, T, ...\)"):
        model(x[:, 0])
    with pytest.raises(InputError, match="the carry has 2 entries; the model has 1 layers"):
        model(x, ((x[:, 0],), (x[:, 0],)))
    assert isinstance(spread, FoldedModel)
