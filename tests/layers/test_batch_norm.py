"""Batch normalisation's closed-form gradients against plain autodiff, alone and over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from prernn_jax.layers.batch_norm import batch_norm_train

EPSILON = 1e-3


def plain(x, scale, bias, epsilon, axis_name=None):
    """The definition, for autodiff; (N, H, W, C)."""
    average = (lambda v: jax.lax.pmean(v, axis_name)) if axis_name else (lambda v: v)
    mean = average(x.mean((0, 1, 2)))
    var = average(jnp.square(x - mean[None, None, None]).mean((0, 1, 2)))
    y = (x - mean[None, None, None]) / jnp.sqrt(var + epsilon)[None, None, None]
    return y * scale[None, None, None] + bias[None, None, None], mean, var


def arguments(batch=2):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(2.0, 3.0, size=(batch, 3, 4, 5)))
    return x, jnp.asarray(rng.normal(size=5)), jnp.asarray(rng.normal(size=5))


def loss(norm, axis_name=None):
    def value(x, scale, bias):
        y, mean, var = norm(x, scale, bias, EPSILON, axis_name)
        y = y.astype(mean.dtype)
        weight = jnp.arange(y.size, dtype=y.dtype).reshape(y.shape)
        return jnp.sum(jnp.sin(weight) * y**2) + jnp.sum(mean**3) + jnp.sum(jnp.cos(var))

    return value


def test_gradients_of_all_results():
    with jax.enable_x64(True):
        given = arguments()
        ours = jax.jit(jax.value_and_grad(loss(batch_norm_train), (0, 1, 2)))(*given)
        theirs = jax.value_and_grad(loss(plain), (0, 1, 2))(*given)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), ours, theirs)


@pytest.mark.parametrize("how", ["shard_map", "pmap"])
def test_over_devices(how):
    with jax.enable_x64(True):
        x, scale, bias = arguments(batch=8)
        results = []
        for norm in (batch_norm_train, plain):
            step = jax.value_and_grad(loss(norm, "data"), (0, 1, 2))

            def one(x, scale, bias, step=step):
                value, (dx, dscale, dbias) = step(x, scale, bias)
                return jax.lax.psum((value, dscale, dbias), "data"), dx

            if how == "pmap":
                parts = x.reshape(4, 2, *x.shape[1:])
                one = jax.pmap(one, "data", in_axes=(0, None, None), out_axes=(None, 0))
                results.append(one(parts, scale, bias))
            else:
                spec, none = PartitionSpec("data"), PartitionSpec()
                one = jax.shard_map(
                    one, mesh=Mesh(np.array(jax.devices()[:4]), ("data",)),
                    in_specs=(spec, none, none), out_specs=(none, spec), check_vma=False,
                )  # fmt: skip
                results.append(jax.jit(one)(x, scale, bias))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), *results)


def test_devices_together_have_the_statistics_of_the_whole_batch():
    with jax.enable_x64(True):
        x, scale, bias = arguments(batch=8)
        whole = batch_norm_train(x, scale, bias, EPSILON)
        parts = jax.pmap(
            lambda x: batch_norm_train(x, scale, bias, EPSILON, "data"), "data"
        )(x.reshape(4, 2, *x.shape[1:]))  # fmt: skip
        np.testing.assert_allclose(parts[0].reshape(x.shape), whole[0], rtol=1e-10)
        np.testing.assert_allclose(parts[1][0], whole[1], rtol=1e-10)
        np.testing.assert_allclose(parts[2][3], whole[2], rtol=1e-10)


def test_bfloat16_has_float32_statistics():
    x, scale, bias = (jnp.asarray(a, jnp.float32) for a in arguments())
    y, mean, var = batch_norm_train(x.astype(jnp.bfloat16), scale, bias, EPSILON)
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    exact = plain(x, scale, bias, EPSILON)
    np.testing.assert_allclose(np.asarray(y, np.float32), exact[0], atol=0.05)
    np.testing.assert_allclose(var, exact[2], rtol=0.02)
    grads = jax.grad(loss(batch_norm_train), (0, 1, 2))(x.astype(jnp.bfloat16), scale, bias)
    assert [g.dtype for g in grads] == [jnp.bfloat16, jnp.float32, jnp.float32]
