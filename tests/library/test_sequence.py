"""Sequence models: what all of them promise, on whole networks, ours and foreign ones."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import (
    CLIP,
    FOREIGN_LAYERS,
    IMAGE,
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

from prernn_jax.errors import InputError
from prernn_jax.layer_sequence import LayerSequence
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.surgery import make_recurrent, per_frame, stack_recurrent

B, T, K = 2, 3, OUTPUTS


@partial(jax.jit, static_argnums=0)
def _run(graphdef, state, clips, carry=None, lengths=None):
    return nnx.merge(graphdef, state)(clips, carry, lengths)


def _call(model, *arguments):
    return _run(*nnx.split(model), *arguments)


MODELS = {
    "two LSTM": lambda: make_recurrent(tiny(), cell="lstm", rngs=nnx.Rngs(1)),
    "GRU, the first layer, one more": lambda: make_recurrent(
        tiny(), ["fc6"], "gru", extra=1, readout=None, rngs=nnx.Rngs(1)
    ),
    "traditional": lambda: stack_recurrent(tiny(), "vrnn", 5, 2, rngs=nnx.Rngs(1)),
    "foreign SIH": lambda: make_recurrent(
        foreign(), FOREIGN_LAYERS, "lstm", True, extra=1, output_layer="head.out",
        rngs=nnx.Rngs(1),
    ),
    "explicit": lambda: LayerSequence(
        tiny().trunk,
        [Recurrent(64, 5, "gru", rngs=nnx.Rngs(1)), nnx.Linear(5, K, rngs=nnx.Rngs(2))],
    ),
    "vgg": lambda: make_recurrent(vgg(), cell="gru", rngs=nnx.Rngs(1)),
    "c3d": lambda: stack_recurrent(c3d(), "lstm", 5, 2, rngs=nnx.Rngs(1)),
    "resnet": lambda: make_recurrent(resnet(), cell="gru", extra=1, rngs=nnx.Rngs(1)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS)[:5])
def test_padded_equals_unpadded_and_parts_equal_the_whole(name):
    """In float64: outputs of the valid frames, carries, gradients of all parameters."""
    with jax.enable_x64(True):
        model = drawn(MODELS[name], dtype=np.float64)
        clips = random_clips(B, T, dtype=np.float64)
        graphdef, state = nnx.split(model)

        @jax.jit
        @partial(jax.grad, has_aux=True)
        def gradients(state, clips, lengths=None):
            outputs, carry = nnx.merge(graphdef, state)(clips, None, lengths)
            leaves = (outputs[:, :2], *jax.tree.leaves(carry))
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves), (outputs, carry)

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
    """A backbone run through its own forward, as if it were foreign, and by our contract."""

    class Hidden(nnx.Module):
        def __init__(self, network):
            self.network = network

        def __call__(self, x):
            return self.network(x)

    network = drawn(tiny)
    ours = make_recurrent(network, cell="gru", rngs=nnx.Rngs(1))
    folded = make_recurrent(
        Hidden(network), ["network.fc6", "network.fc7"], "gru", rngs=nnx.Rngs(1)
    )
    clips, lengths = random_clips(B, T), jnp.array([3, 2], jnp.int32)
    (y, carry), (other, same) = (_call(m, clips, None, lengths) for m in (ours, folded))
    np.testing.assert_array_equal(y[0], other[0])
    np.testing.assert_array_equal(y[1, :2], other[1, :2])
    for a, b in zip(jax.tree.leaves(carry), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_explicit_form_trains_a_trunk_that_is_a_method():
    explicit = drawn(MODELS["explicit"])
    names = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(explicit))}
    assert {"trunk.conv.kernel", "layers.0.recurrent_kernel", "layers.1.bias"} <= names


def test_the_explicit_form_is_a_trunk_and_layers():
    """A foreign CNN's convolutions as the trunk; layers with and without memory in any order."""
    network = drawn(foreign)
    made = make_recurrent(network, ["neck.layers.0"], "lstm", rngs=nnx.Rngs(1))
    (layer,) = made.recurrent_layers

    def trunk(x):
        return nnx.relu(network.convs[0](x)).reshape(x.shape[0], -1)

    explicit = LayerSequence(
        trunk, [layer, nnx.relu, network.head.inner, nnx.relu, network.head.out]
    )
    assert explicit.recurrent_layers == [layer]
    clips = random_clips(B, T)
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
    size = CLIP if name == "c3d" else IMAGE
    clips = jax.ShapeDtypeStruct((B, T, *size), jnp.float32)
    outputs, carry = jax.eval_shape(
        lambda state, clips: nnx.merge(graphdef, state)(clips), state, clips
    )
    assert outputs.shape == (B, T, K)
    assert len(carry) == len(model.recurrent_layers)
    hash(graphdef)  # a static argument of jit


def _dropping(kind, dropout=0.5):
    """A model of each kind whose output layer adds up its inputs; they are positive."""
    if kind == "ours":
        model = per_frame(drawn(tiny), dropout=dropout)
        model.backbone.fc8.kernel.set_value(jnp.ones((6, K), jnp.float32))
    elif kind == "foreign":
        network = drawn(foreign)
        network.head.out.kernel.set_value(jnp.ones((6, K), jnp.float32))
        model = per_frame(network, dropout=dropout, output_layer="head.out")
    else:
        network = drawn(tiny)
        network.fc8.kernel.set_value(jnp.ones((6, K), jnp.float32))
        model = LayerSequence(network.features, [network.fc8], dropout)
    return model


@pytest.mark.parametrize("kind", ["ours", "foreign", "explicit"])
def test_dropout_needs_a_key_and_keeps_the_mean(kind):
    model = _dropping(kind)
    clips = random_clips(B, T)
    graphdef, state = nnx.split(model)
    plain, _ = _run(graphdef, state, clips)
    chex.assert_trees_all_equal(plain, _run(*nnx.split(_dropping(kind, 0.0)), clips)[0])

    def dropped(key):
        return nnx.merge(graphdef, state)(clips, dropout_key=key)[0]

    outputs = np.asarray(jax.jit(jax.vmap(dropped))(jax.random.split(jax.random.key(0), 400)))
    assert np.std(outputs, axis=0).min() > 0
    error = np.std(outputs, axis=0) / 400**0.5
    assert np.all(np.abs(outputs.mean(0) - plain) < 5 * error)


def test_one_key_drops_the_same_in_every_kind():
    key = jax.random.key(3)
    network = drawn(tiny)
    ours = make_recurrent(network, "fc7", dropout=0.4)

    class Hidden(nnx.Module):
        def __init__(self, network):
            self.network = network

        def __call__(self, x):
            return self.network(x)

    folded = make_recurrent(Hidden(network), "network.fc7", dropout=0.4, output_layer="network.fc8")
    clips = random_clips(B, T)
    expected = ours(clips, dropout_key=key)
    chex.assert_trees_all_equal(folded(clips, dropout_key=key), expected)
    assert np.abs(expected[0] - ours(clips)[0]).max() > 1e-3


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_share_that_cannot_be_dropped_is_refused(dropout):
    for kind in ("ours", "foreign", "explicit"):
        with pytest.raises(InputError, match="expected 0 or more and less than 1"):
            _dropping(kind, dropout)
