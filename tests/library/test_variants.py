"""Models and layers in every way that JAX runs them: alone, under jit, on several devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from drawn import drawn, foreign, random_clips, tiny
from flax import nnx

from prernn_jax import streaming
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.surgery import make_recurrent, stack_recurrent

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
MODELS = {
    "ours": lambda: make_recurrent(tiny(), "fc7", "lstm", extra=1),
    "traditional": lambda: stack_recurrent(tiny(), "vrnn", 5, 2),
    "foreign": lambda: make_recurrent(foreign(), "head.inner"),
}


def _naive_vrnn(layer, x):
    """One step after the other, by NumPy."""
    kernel, bias = np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])
    recurrent = np.asarray(layer.recurrent_kernel[0])
    h = np.zeros((x.shape[0], layer.features), np.float32)
    y = []
    for step in range(x.shape[1]):
        h = np.maximum(x[:, step] @ kernel + bias + h @ recurrent.T, 0)
        y.append(h)
    return np.stack(y, axis=1), (h,)


class TestVariants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True)
    def test_a_layer(self):
        layer = drawn(lambda: Recurrent(4, 5, "vrnn"))
        x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
        got = self.variant(lambda x: layer(x))(x)
        chex.assert_trees_all_close(got, _naive_vrnn(layer, x), **CLOSE)

    @chex.variants(with_jit=True, without_jit=True)
    @parameterized.parameters(*MODELS)
    def test_a_model_over_a_carry(self, name):
        """The sum of the parts is the whole, in each way of running."""
        graphdef, state = nnx.split(drawn(MODELS[name]))
        clips = random_clips(2, 4)

        @self.variant
        def run(state, clips, carry):
            return nnx.merge(graphdef, state)(clips, carry)

        model = nnx.merge(graphdef, state)
        whole, last = jax.jit(lambda clips: model(clips))(clips)
        start = streaming.init(model, 2)
        first, carry = run(state, clips[:, :3], start)
        second, carry = run(state, clips[:, 3:], carry)
        chex.assert_trees_all_close(jnp.concatenate([first, second], 1), whole, **CLOSE)
        chex.assert_trees_all_close(carry, last, **CLOSE)
        chex.assert_trees_all_equal_shapes_and_dtypes(carry, start)

    @chex.variants(with_jit=True, without_jit=True)
    def test_a_step_of_a_stream(self):
        model = drawn(MODELS["ours"])
        frames = random_clips(2, 1)[:, 0].at[1].set(jnp.nan)
        present = jnp.array([True, False])

        @self.variant
        def run(carry, frames):
            return streaming.step(model, carry, frames, present=present)

        start = streaming.init(model, 2)
        outputs, carry = run(start, frames)
        expected, after = model(frames[:1, None])
        chex.assert_trees_all_close(outputs[:1], expected[:, 0], **CLOSE)
        chex.assert_trees_all_close(jax.tree.map(lambda x: x[:1], carry), after, **CLOSE)
        chex.assert_trees_all_equal(jax.tree.map(lambda x: x[1], carry),
                                    jax.tree.map(lambda x: x[1], start))  # fmt: skip


def test_an_absent_frame_reaches_no_gradient():
    graphdef, state = nnx.split(drawn(MODELS["traditional"]))
    frames = random_clips(2, 1)[:, 0].at[1].set(jnp.nan)

    @jax.jit
    @jax.grad
    def gradients(state):
        model = nnx.merge(graphdef, state)
        present = jnp.array([True, False])
        outputs, carry = streaming.step(model, streaming.init(model, 2), frames, None, present)
        return jnp.sum(outputs[0]) + sum(jnp.sum(part) for part in jax.tree.leaves(carry))

    chex.assert_tree_all_finite(gradients(state))


@pytest.mark.slow
def test_under_a_pmap_each_device_has_its_share():
    """The axis is one of `jax.vmap` here: no device is needed, and every loop is batched."""
    graphdef, state = nnx.split(drawn(MODELS["ours"]))
    clips = random_clips(4, 3)
    lengths = jnp.array([3, 1, 2, 3], jnp.int32)

    def loss(state, clips, lengths):
        outputs, carry = nnx.merge(graphdef, state)(clips, None, lengths)
        return jnp.mean(jnp.sin(outputs[:, 0])) + jnp.mean(jnp.square(carry[-1][0]))

    def step(state, clips, lengths):
        return jax.lax.pmean(jax.value_and_grad(loss)(state, clips, lengths), "devices")

    with chex.fake_pmap(jit_result=True):
        shares = clips.reshape(2, 2, *clips.shape[1:]), lengths.reshape(2, 2)
        got = jax.pmap(step, axis_name="devices", in_axes=(None, 0, 0))(state, *shares)
    expected = jax.jit(jax.value_and_grad(loss))(state, clips, lengths)
    for device in range(2):
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, d=device: x[d], got), expected, rtol=1e-4, atol=1e-5
        )
