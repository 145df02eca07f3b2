"""Gates: those that the network computes, and how they are counted over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Tiny, drawn, random_clips, resnet
from flax import nnx
from naive_gates import naive_model

from prernn_jax.gates import layer_gates, layer_paths, model_gates
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.preprocess import Preprocessing
from prernn_jax.surgery import make_recurrent, stack_recurrent
from train.gates import count_all, shares

LENGTHS = np.array([4, 1, 3], np.int32)


def tiny(*arguments, **options):
    return make_recurrent(Tiny(rngs=nnx.Rngs(0)), *arguments, **options, rngs=nnx.Rngs(1))


MODELS = {
    "two LSTM": lambda: tiny(["fc6", "fc7"], "lstm"),
    "LSTM-SIH and a new one": lambda: tiny(["fc7"], "lstm", True, extra=1),
    "GRU, plain": lambda: tiny(["fc6"], "gru", readout=None),
    "GRU-SIH": lambda: tiny(["fc7"], "gru", True),
    "traditional": lambda: stack_recurrent(Tiny(rngs=nnx.Rngs(0)), "gru", 5, 2, rngs=nnx.Rngs(1)),
    "ResNet": lambda: make_recurrent(resnet(), cell="gru", rngs=nnx.Rngs(1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_gates_are_those_that_the_network_computes(name):
    model = drawn(MODELS[name])
    model.eval()
    clips = random_clips(3, 4)
    wanted, outputs = naive_model(model, clips)
    there = np.arange(4) < LENGTHS[:, None]
    padded = jnp.where(there[:, :, None, None, None], clips, 1e3)

    @jax.jit
    def run(clips):
        lengths = jnp.asarray(LENGTHS)
        return model(clips, lengths=lengths)[0], model_gates(model, clips, lengths=lengths)

    got, gates = run(padded)
    # The loop above is the network: what it hands on is what the network hands on.
    np.testing.assert_allclose(np.asarray(got)[there], outputs[there], rtol=1e-4, atol=1e-4)
    assert list(wanted) == list(layer_paths(model))
    assert gates.keys() == wanted.keys()
    for layer, named in wanted.items():
        assert gates[layer].keys() == named.keys()
        for gate, values in named.items():
            assert values[there].std() > 0.01
            found = np.asarray(gates[layer][gate])[there]
            np.testing.assert_allclose(found, values[there], rtol=1e-4, atol=1e-5)


def test_a_carry_goes_on():
    layer = drawn(lambda: Recurrent(5, 6, "gru", rngs=nnx.Rngs(0)))
    x = random_clips(2, 4, (5,))

    @jax.jit
    def run(x):
        _, carry = layer(x[:, :2])
        later = x[:, 2:]
        return layer_gates(layer, x), layer_gates(layer, later, carry), layer_gates(layer, later)

    whole, rest, anew = run(x)
    np.testing.assert_allclose(rest["z"], whole["z"][:, 2:], rtol=1e-5)
    assert np.abs(rest["z"] - anew["z"]).max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_always_open_and_always_shut(precision):
    model = drawn(lambda: tiny(["fc7"], "lstm"))
    model.backbone.preprocess = Preprocessing()
    bias = np.repeat(np.float32([-200, 200, 0, 0]), 6)  # i, f, g, o
    bias[6] = -200  # the first unit's forget gate
    model.backbone.fc7.bias.set_value(jnp.asarray(bias))
    kernel = model.backbone.fc7.kernel
    kernel.set_value(kernel[...] * np.float32(1e-3))
    clips = np.random.default_rng(0).normal(size=(3, 4, 32, 32, 3)).astype(np.float32)
    batch = {"clips": clips, "lengths": LENGTHS, "mask": np.array([True, True, False])}
    tally, steps = count_all(model, precision, [batch, batch])
    assert steps == 2 * (4 + 1)
    gates = shares(model, tally, steps)["fc7"]
    assert (gates["i"]["below"], gates["i"]["above"]) == (1, 0)
    assert gates["f"]["units"] == [[1, 0]] + [[0, 1]] * 5
    assert (gates["f"]["below"], gates["f"]["above"]) == pytest.approx((1 / 6, 5 / 6))
    assert (gates["o"]["below"], gates["o"]["above"]) == (0, 0)
    assert gates["o"]["mean"] == pytest.approx(0.5, abs=0.05)
    assert gates["o"]["values"] == steps * 6
