"""The batch-norm module: flags, running statistics, devices, tiling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from prernn_jax.layers.batch_norm import BatchNorm, reset, tile

X = np.random.default_rng(0).normal(2.0, 3.0, (8, 3, 3, 4)).astype(np.float32)


@pytest.fixture
def norm():
    rng = np.random.default_rng(1)
    norm = BatchNorm(4)
    for name in ("scale", "bias", "mean", "var"):
        value = rng.uniform(0.5, 2.0, 4).astype(np.float32)
        getattr(norm, name).set_value(jnp.asarray(value))
    return norm


def test_stored_statistics_are_used_and_kept(norm):
    before = jax.tree.map(np.asarray, nnx.state(norm))
    y = norm(jnp.asarray(X))
    scale, bias, mean, var = (getattr(norm, n)[...] for n in ("scale", "bias", "mean", "var"))
    expected = (X - np.asarray(mean)) / np.sqrt(np.asarray(var) + 1e-5) * np.asarray(scale)
    np.testing.assert_allclose(y, expected + np.asarray(bias), rtol=2e-5, atol=1e-5)
    for a, b in zip(jax.tree.leaves(nnx.state(norm)), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_uses_the_batch_and_moves_the_stored_ones(norm):
    before = np.asarray(norm.mean[...]), np.asarray(norm.var[...])
    norm.train()
    assert not norm.use_running_average
    y = norm(jnp.asarray(X))
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    scale, bias = np.asarray(norm.scale[...]), np.asarray(norm.bias[...])
    expected = (X - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(norm.mean[...], 0.9 * before[0] + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 * before[1] + 0.1 * var, rtol=1e-5)
    norm.eval()
    assert norm.use_running_average


def test_the_statistics_carry_no_gradient_into_the_stored_ones(norm):
    norm.train()
    graphdef, params, rest = nnx.split(norm, nnx.Param, ...)

    def stored(x):
        module = nnx.merge(graphdef, params, rest, copy=True)
        module(x)
        return jnp.sum(module.mean[...]) + jnp.sum(module.var[...])

    np.testing.assert_array_equal(jax.grad(stored)(jnp.asarray(X)), 0)


def test_split_over_devices_it_is_one_device(norm):
    """Output, statistics and gradients of 4 shards with a named axis against the whole."""
    norm.train()
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))

    def run(graphdef, state, x):
        """The gradient of a loss that weighs every output otherwise."""

        def loss(params, x, rest):
            module = nnx.merge(graphdef, params, rest, copy=True)
            y = module(x)
            return jnp.sum(jnp.sin(y)), (y, nnx.state(module, nnx.BatchStat))

        params, rest = nnx.split_state(state, nnx.Param, ...)
        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x, rest)

    on_one, state = nnx.split(norm)
    norm.axis_name = "devices"
    on_four = nnx.graphdef(norm)

    def sharded(state, x):
        (params, inputs), rest = run(on_four, state, x)
        return (jax.lax.psum(params, "devices"), inputs), rest

    expected = jax.jit(run, static_argnums=0)(on_one, state, X)
    split = jax.shard_map(
        sharded,
        mesh=mesh,
        in_specs=(P(), P("devices")),
        out_specs=((P(), P("devices")), (P("devices"), P())),
        check_vma=False,
    )
    got = jax.jit(split)(state, X)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_half_precision_keeps_its_dtype(norm):
    x = jnp.asarray(X).astype(jnp.bfloat16)
    assert norm(x).dtype == jnp.bfloat16
    norm.train()
    assert norm(x).dtype == jnp.bfloat16
    assert norm.mean.dtype == jnp.float32


def test_tiled_it_is_several_side_by_side(norm):
    norm.momentum, norm.epsilon, norm.axis_name = 0.5, 1e-3, "devices"
    three = tile(norm, 3)
    assert (three.momentum, three.epsilon, three.axis_name) == (0.5, 1e-3, "devices")
    y = three(jnp.tile(jnp.asarray(X), (1, 1, 1, 3)))
    for part in np.split(np.asarray(y), 3, axis=-1):
        np.testing.assert_array_equal(part, norm(jnp.asarray(X)))


def test_reset_gives_a_fresh_one(norm):
    reset(norm)
    for a, b in zip(
        jax.tree.leaves(nnx.state(norm)), jax.tree.leaves(nnx.state(BatchNorm(4))), strict=True
    ):
        np.testing.assert_array_equal(a, b)
