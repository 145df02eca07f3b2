"""Streaming: frame by frame equals the whole; resets, absent frames, kept states, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Foreign, Tiny, drawn
from flax import nnx

from prernn_jax import streaming
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.layer_sequence import LayerSequence
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.streaming import Stream
from prernn_jax.surgery import make_recurrent, stack_recurrent

B, T = 2, 4
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


MODELS = {
    "two LSTM": lambda: make_recurrent(Tiny(rngs=nnx.Rngs(0)), cell="lstm", rngs=nnx.Rngs(1)),
    "ResNet, GRU and one more": lambda: make_recurrent(
        ResNet((1, 1), width=2, num_outputs=3, rngs=nnx.Rngs(0)), extra=1, rngs=nnx.Rngs(1)
    ),
    "traditional": lambda: stack_recurrent(Tiny(rngs=nnx.Rngs(0)), "vrnn", 6, 2, rngs=nnx.Rngs(1)),
    "foreign": lambda: make_recurrent(
        Foreign(rngs=nnx.Rngs(0)), ["head.inner"], "lstm", True, rngs=nnx.Rngs(1)
    ),
}


def _clips(steps=T, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(B, steps, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """A small model for the tests of what a stream does: (B, T, 4) -> (B, T, 3)."""
    return drawn(
        lambda: LayerSequence(
            nnx.Linear(4, 5, rngs=nnx.Rngs(0)),
            [Recurrent(5, 6, "lstm", rngs=nnx.Rngs(1)), nnx.Linear(6, 3, rngs=nnx.Rngs(2))],
        )
    )


def _x(steps=T):
    return np.random.default_rng(0).normal(size=(B, steps, 4)).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_frame_by_frame_equals_the_whole(name):
    model = drawn(MODELS[name])
    clips = _clips()
    outputs, last = jax.jit(lambda clips: model(clips))(clips)
    stream = Stream(model, B)
    got = np.stack([stream(clips[:, t]) for t in range(T)], axis=1)
    np.testing.assert_allclose(got, outputs, **CLOSE)
    assert np.abs(np.diff(got, axis=1)).max() > 1e-3
    for a, b in zip(jax.tree.leaves(stream.carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


def test_a_single_stream_begins_anew(model):
    x = _x()
    stream = Stream(model, B)
    for t in range(2):
        stream(x[:, t])
    got = [stream(x[:, t], reset=np.array([t == 2, False])) for t in (2, 3)]
    anew, _ = model(x[:1, 2:])
    on, _ = model(x[1:])
    np.testing.assert_allclose([y[0] for y in got], anew[0], **CLOSE)
    np.testing.assert_allclose([y[1] for y in got], on[0, 2:], **CLOSE)
    stream.reset()
    np.testing.assert_allclose(stream(x[:, 0])[1], on[0, 0], **CLOSE)


def test_a_stream_without_a_frame_waits(model):
    x = _x()
    stream = Stream(model, B)
    stream(x[:, 0])
    stream(np.stack([x[0, 1], np.full(4, 1e6, np.float32)]), present=np.array([True, False]))
    got = stream(np.stack([x[0, 2], x[1, 1]]))
    whole, _ = model(x)
    np.testing.assert_allclose(got, [whole[0, 2], whole[1, 1]], **CLOSE)


def test_a_kept_state_goes_on_and_survives_donation(model):
    x = _x()
    stream = Stream(model, B)
    stream(x[:, 0])
    kept = stream.carry
    first = np.asarray(stream(x[:, 1]))
    stream(x[:, 2])
    for _ in range(2):  # setting it does not consume it either
        stream.carry = kept
        np.testing.assert_array_equal(stream(x[:, 1]), first)
    other = Stream(model, B)
    other.carry = jax.tree.map(np.asarray, kept)  # from a file
    np.testing.assert_array_equal(other(x[:, 1]), first)


def test_the_state_s_memory_is_given_on(model):
    stream = Stream(model, B)
    stream(_x()[:, 0])
    before = jax.tree.leaves(stream._carry)
    stream(_x()[:, 1])
    assert all(leaf.is_deleted() for leaf in before)


def test_it_compiles_once(model):
    traces = []

    def prepare(frames):
        traces.append(frames.shape)
        return frames.astype(jnp.float32) / jnp.float32(255)

    frames = np.random.default_rng(0).integers(0, 256, (T, B, 4), np.uint8)
    stream = Stream(model, B, prepare)
    stream.warm_up(frames[0])
    got = [stream(frames[t]) for t in range(T - 1)]
    got.append(stream(frames[-1], np.array([False] * B), np.array([True] * B)))
    assert traces == [(B, 4)]
    whole, _ = model(frames.swapaxes(0, 1).astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(np.stack(got, axis=1), whole, **CLOSE)


def test_step_is_a_pure_function_in_a_scan(model):
    """In code of the user's own, and with the gradients of the whole."""
    graphdef, state = nnx.split(model)
    x = _x()

    def whole(state):
        outputs, _ = nnx.merge(graphdef, state)(x)
        return jnp.sum(jnp.sin(outputs))

    def stepwise(state):
        model = nnx.merge(graphdef, state)

        def body(carry, frames):
            outputs, carry = streaming.step(model, carry, frames)
            return carry, outputs

        _, outputs = jax.lax.scan(body, streaming.init(model, B), jnp.asarray(x).swapaxes(0, 1))
        return jnp.sum(jnp.sin(outputs))

    expected, got = jax.jit(jax.grad(whole))(state), jax.jit(jax.grad(stepwise))(state)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_float64_model_streams_in_float64():
    with jax.enable_x64(True):
        model = drawn(
            lambda: LayerSequence(lambda x: x, [Recurrent(4, 6, "gru", rngs=nnx.Rngs(1))]),
            dtype=np.float64,
        )
        x = np.random.default_rng(0).normal(size=(B, T, 4))
        whole, _ = model(jnp.asarray(x))
        stream = Stream(model, B)
        got = np.stack([stream(x[:, t]) for t in range(T)], axis=1)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, whole, rtol=1e-12, atol=1e-13)


def test_a_stream_in_another_precision(model):
    x = _x()
    whole, _ = model(x)
    expected, same, half = (
        np.stack([stream(x[:, t]) for t in range(T)], axis=1)
        for stream in (Stream(model, B, precision=p) for p in ("float32", "tf32", "bfloat16"))
    )
    np.testing.assert_array_equal(same, expected)  # a CPU has no TF32
    assert half.dtype == np.float32
    assert 0 < np.abs(half - whole).max() < 2e-2 * np.abs(whole).max()


def test_bad_input(model):
    with pytest.raises(InputError, match="0 streams; give 1 or more"):
        Stream(model, 0)
    stream = Stream(model, B)
    with pytest.raises(InputError, match=r"shape \(3, 4\); expected \(2, 4\)"):
        stream(np.zeros((3, 4), np.float32))
    stream(_x()[:, 0])
    with pytest.raises(InputError, match=r"shape \(2, 5\); expected \(2, 4\)"):
        stream(np.zeros((2, 5), np.float32))
    with pytest.raises(InputError, match=r"`reset` is bool\[1\]; expected bool\[2\]"):
        stream(_x()[:, 0], reset=np.array([True]))
    with pytest.raises(InputError, match=r"`present` is int32\[2\]; expected bool\[2\]"):
        stream(_x()[:, 0], present=np.array([1, 1], np.int32))
    with pytest.raises(InputError, match="the state has shapes"):
        stream.carry = Stream(model, 1).carry


def test_batch_statistics_are_refused():
    model = drawn(MODELS["ResNet, GRU and one more"])
    model.train()
    with pytest.raises(InputError, match=r"batch-norm 'backbone\..*' uses .*model\.eval\(\)"):
        Stream(model)


def test_a_stream_that_met_a_nan_says_so_until_it_is_reset(model):
    stream, x = Stream(model, B), np.array(_x())
    expected = np.asarray(stream(x[:, 0]))
    assert stream.finite.tolist() == [True, True]
    x[1, 1, 0] = np.nan
    assert np.isnan(stream(x[:, 1])[1]).all()
    assert stream.finite.tolist() == [True, False]
    assert np.isnan(stream(x[:, 2])[1]).all()  # a sound frame does not mend it
    again = np.asarray(stream(x[:, 0], reset=~stream.finite))
    assert stream.finite.tolist() == [True, True]
    np.testing.assert_allclose(again[1], expected[1], **CLOSE)
