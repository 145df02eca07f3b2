"""The recurrent layer: from scratch, from a pre-trained layer, and its contract over time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import in_float64
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.recurrent import RECURRENT_SCALE, Recurrent, from_linear

B, T, D, F = 2, 5, 4, 6
CELLS = ["vrnn", "lstm", "gru", "gru_cho"]
KINDS = [(cell, shared) for cell in CELLS for shared in (False, True)]
each_kind = pytest.mark.parametrize(("cell", "shared"), KINDS)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def _layer(cell, shared=False, **options):
    layer = Recurrent(D, F, cell, shared, rngs=nnx.Rngs(0), **options)
    layer.bias.set_value(_normal(1, layer.bias.shape).astype(np.float32))
    return in_float64(layer)


def _normal(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def _x(steps=T):
    return _normal(2, (B, steps, D))


def _assert_trees_close(a, b, tolerance=1e-12):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@partial(jax.jit, static_argnums=0)
def _forward(graphdef, state, x, carry=None):
    return nnx.merge(graphdef, state)(x, carry)


@partial(jax.jit, static_argnums=0)
def _gradients(graphdef, state, x, lengths=None):
    """Gradients for parameters and x of a sum over y and the last carry; and these two."""

    def loss(state, x):
        y, last = nnx.merge(graphdef, state)(x, None, lengths)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in (y, *last)), (y, last)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(state, x)


@each_kind
def test_shapes_and_dtypes(cell, shared):
    def run(x):
        layer = Recurrent(D, F, cell, shared, rngs=nnx.Rngs(0))
        return nnx.state(layer), layer(x)

    x = jax.ShapeDtypeStruct((B, T, D), jnp.float32)
    state, (y, carry) = jax.eval_shape(run, x)
    gates = get_cell(cell).gates
    blocks = 1 if shared else gates
    shapes = {path[-1]: leaf.shape for path, leaf in nnx.to_flat_state(state)}
    assert shapes == {
        "kernel": (D, blocks * F),
        "bias": (blocks * F,),
        "recurrent_kernel": (gates, F, F),
    }
    assert y.shape == (B, T, F)
    assert [part.shape for part in carry] == [(B, F)] * get_cell(cell).carry_parts
    assert {leaf.dtype for leaf in (y, *carry)} == {jnp.dtype("float32")}


def test_the_equations_of_a_shared_gru(x64):
    """SIH: one W x + b serves every gate; the hidden-to-hidden weights are per gate."""
    layer = _layer("gru", shared=True)
    x = np.asarray(_x())
    w, b, u = (np.asarray(p[...]) for p in (layer.kernel, layer.bias, layer.recurrent_kernel))
    h = np.zeros((B, F))
    for t in range(T):
        p = x[:, t] @ w + b
        r, z = (1 / (1 + np.exp(-(p + h @ u[gate].T))) for gate in (0, 1))
        h = (1 - z) * h + z * np.tanh(p + (r * h) @ u[2].T)
    y, (last,) = _forward(*nnx.split(layer), jnp.asarray(x))
    np.testing.assert_allclose(last, h, rtol=1e-12)
    np.testing.assert_allclose(y[:, -1], h, rtol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_shared_layer_is_one_whose_gates_hold_the_same(x64, cell):
    layer = _layer(cell, shared=True)
    gates = get_cell(cell).gates
    twin = Recurrent(
        D, F, cell,
        kernel=jnp.tile(layer.kernel[...], (1, gates)),
        bias=jnp.tile(layer.bias[...], gates),
        rngs=nnx.Rngs(5),
    )  # fmt: skip
    twin.recurrent_kernel.set_value(layer.recurrent_kernel[...])
    _assert_trees_close(_forward(*nnx.split(layer), _x()), _forward(*nnx.split(twin), _x()))


@pytest.mark.slow
@each_kind
def test_padded_equals_unpadded_and_steps_equal_the_whole(x64, cell, shared):
    """Outputs, carries and all gradients, with garbage in the padding."""
    graphdef, state = nnx.split(_layer(cell, shared, readout=nnx.relu))
    x, short = _x(), T - 2
    garbage = x.at[:, short:].set(1e6)
    lengths = jnp.full((B,), short, jnp.int32)
    (for_state, for_x), (y, carry) = _gradients(graphdef, state, garbage, lengths)
    (state_alone, x_alone), alone = _gradients(graphdef, state, x[:, :short])
    _assert_trees_close((y[:, :short], carry), alone)
    _assert_trees_close((for_state, for_x[:, :short]), (state_alone, x_alone), 1e-10)
    np.testing.assert_array_equal(y[:, short:], 0)
    np.testing.assert_array_equal(for_x[:, short:], 0)

    carry = None
    for t in range(short):
        step, carry = _forward(graphdef, state, x[:, t : t + 1], carry)
        np.testing.assert_allclose(step[:, 0], alone[0][:, t], rtol=1e-12, atol=1e-13)
    _assert_trees_close(carry, alone[1])


def test_lengths_are_each_sequence_s_own(x64):
    graphdef, state = nnx.split(_layer("lstm"))
    x = _x()
    lengths = jnp.array([3, 5], jnp.int32)
    (_, for_x), (y, carry) = _gradients(graphdef, state, x, lengths)
    for row, length in ((0, 3), (1, 5)):
        same = jnp.full((B,), length, jnp.int32)
        (_, expected), alone = _gradients(graphdef, state, x, same)
        got = jax.tree.map(lambda a, row=row: a[row], (y, carry, for_x))
        _assert_trees_close(got, jax.tree.map(lambda a, row=row: a[row], (*alone, expected)))


def test_gradients_flow_through_the_carry(x64):
    graphdef, state = nnx.split(_layer("lstm"))
    x = _x()
    (for_state, for_x), (_, last) = _gradients(graphdef, state, x)

    @jax.jit
    @partial(jax.grad, argnums=(0, 1), has_aux=True)
    def in_two_parts(state, x):
        model = nnx.merge(graphdef, state)
        first, carry = model(x[:, :2])
        second, last = model(x[:, 2:], carry)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in (first, second, *last)), last

    parts, last_of_parts = in_two_parts(state, x)
    _assert_trees_close((for_state, for_x), parts, 1e-10)
    _assert_trees_close(last, last_of_parts)


def test_inside_jit_a_length_of_zero_changes_nothing(x64):
    layer = _layer("lstm")
    carry = (jnp.ones((B, F), jnp.float64), jnp.full((B, F), 2.0, jnp.float64))
    y, last = jax.jit(lambda lengths: layer(_x(), carry, lengths))(jnp.zeros((B,), jnp.int32))
    np.testing.assert_array_equal(y, 0)
    _assert_trees_close(last, carry, 0)


@each_kind
def test_from_linear_keeps_gate_0_and_copies_it(cell, shared):
    linear = nnx.Linear(D, F, rngs=nnx.Rngs(0))
    linear.bias[...] = jnp.arange(F, dtype=jnp.float32)
    layer = from_linear(linear, cell, shared, nnx.relu, rngs=nnx.Rngs(1))
    blocks = 1 if shared else get_cell(cell).gates
    kernels = np.split(np.asarray(layer.kernel[...]), blocks, axis=1)
    biases = np.split(np.asarray(layer.bias[...]), blocks)
    for kernel, bias in zip(kernels, biases, strict=True):
        np.testing.assert_array_equal(kernel, linear.kernel[...])
        np.testing.assert_array_equal(bias, linear.bias[...])
    assert layer.readout is nnx.relu


def test_with_u_0_a_vrnn_is_the_linear_layer():
    linear = nnx.Linear(D, F, rngs=nnx.Rngs(0))
    layer = from_linear(linear, "vrnn", readout=nnx.relu, rngs=nnx.Rngs(1))
    layer.recurrent_kernel[...] = jnp.zeros_like(layer.recurrent_kernel[...])
    x = jax.random.normal(jax.random.key(0), (B, T, D), jnp.float32)
    y, _ = layer(x)
    np.testing.assert_array_equal(y, nnx.relu(linear(x)))


def test_the_readout_stays_outside_of_the_recurrence(x64):
    plain, read = _layer("gru"), _layer("gru", readout=nnx.relu)
    h, carry = _forward(*nnx.split(plain), _x())
    y, same = _forward(*nnx.split(read), _x())
    np.testing.assert_array_equal(y, np.maximum(h, 0))
    _assert_trees_close(carry, same, 0)
    assert np.any(np.asarray(carry[0]) < 0)


def test_a_layer_without_bias_gets_one_of_zeros():
    linear = nnx.Linear(D, F, use_bias=False, rngs=nnx.Rngs(0))
    layer = from_linear(linear, "gru", rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(layer.bias[...], np.zeros(3 * F, np.float32))


def test_drawing_anew_keeps_the_structure():
    linear = nnx.Linear(D, F, rngs=nnx.Rngs(0))
    linear.bias[...] = jnp.ones_like(linear.bias[...])
    layer = from_linear(linear, "lstm", rngs=nnx.Rngs(1))
    before = jax.tree.map(np.asarray, nnx.state(layer))
    layer.draw_input_kernel(nnx.Rngs(2))
    after = nnx.state(layer)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert not np.any(np.isclose(layer.kernel[...], before["kernel"][...]))
    np.testing.assert_array_equal(layer.bias[...], 0)
    np.testing.assert_array_equal(layer.recurrent_kernel[...], before["recurrent_kernel"][...])
    blocks = np.split(np.asarray(layer.kernel[...]), 4, axis=1)
    assert not np.any(np.isclose(blocks[0], blocks[1]))


def test_the_scales_of_what_is_drawn():
    layer = Recurrent(400, 300, "lstm", rngs=nnx.Rngs(0))
    for gate, block in enumerate(np.split(np.asarray(layer.kernel[...]), 4, axis=1)):
        np.testing.assert_allclose(block.std() * 400**0.5, 1, rtol=0.02, err_msg=str(gate))
    scale = np.asarray(layer.recurrent_kernel[...]).std() * 300**0.5
    np.testing.assert_allclose(scale, RECURRENT_SCALE, rtol=0.02)
    shared = Recurrent(400, 300, "lstm", shared=True, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(np.asarray(shared.kernel[...]).std() * 400**0.5, 1, rtol=0.02)


def test_computing_in_bfloat16_keeps_float32_parameters():
    layer = Recurrent(D, F, "gru", dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    exact = Recurrent(D, F, "gru", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (B, T, D), jnp.float32)
    y, (h,) = layer(x)
    assert y.dtype == jnp.bfloat16
    assert h.dtype == jnp.float32
    assert layer.kernel.dtype == jnp.float32
    np.testing.assert_allclose(y.astype(jnp.float32), exact(x)[0], atol=0.02)


def test_a_layer_made_from_float64_is_float64(x64):
    linear = in_float64(nnx.Linear(D, F, rngs=nnx.Rngs(0)))
    layer = from_linear(linear, "gru", rngs=nnx.Rngs(1))
    layer.draw_input_kernel(nnx.Rngs(2))
    leaves = jax.tree.leaves((nnx.state(layer), layer(_x())))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float64")}


def test_bad_input():
    rngs = nnx.Rngs(0)
    with pytest.raises(InputError, match="unknown cell 'elman'; choose one of vrnn"):
        Recurrent(D, F, "elman", rngs=rngs)
    with pytest.raises(InputError, match="0 inputs and 6 hidden"):
        Recurrent(0, F, rngs=rngs)
    with pytest.raises(InputError, match=r"\(4, 6\); expected \(4, 18\)"):
        Recurrent(D, F, "gru", kernel=jnp.zeros((D, F), jnp.float32), rngs=rngs)
    with pytest.raises(InputError, match=r"bias has shape \(6,\); expected \(18,\)"):
        Recurrent(D, F, "gru", bias=jnp.zeros((F,), jnp.float32), rngs=rngs)
    layer = Recurrent(D, F, "gru", rngs=rngs)
    for shape in [(B, D), (B, T, D + 1), (B, T, 2, D)]:
        with pytest.raises(InputError, match=r"expected \(B, T, 4\)"):
            layer(jnp.zeros(shape, jnp.float32))
