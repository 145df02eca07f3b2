"""Compiling for a CPU: which library convolves."""

import jax
import jax.numpy as jnp
import pytest

from prernn_jax.cpu import xla as compiling

X, KERNEL = jnp.ones((2, 16, 16, 8)), jnp.ones((3, 3, 8, 8))


def convolve(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def compiled(wrap, function, *arguments):
    return wrap(function).lower(*arguments).compile().as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are for a CPU")
def test_convolutions_are_not_ynnpacks_and_products_are():
    assert "__ynn_fusion" not in compiled(compiling.jit, convolve, X, KERNEL)
    square = jnp.ones((512, 512))
    ours, plain = (compiled(jit, jnp.matmul, square, square) for jit in (compiling.jit, jax.jit))
    assert ("__ynn_fusion" in ours) == ("__ynn_fusion" in plain)


def test_without_the_option_it_is_jax_jit(monkeypatch):
    monkeypatch.setattr(compiling, "_OPTIONS", {"xla_cpu_no_such_option": "1"})
    compiling._is_known.cache_clear()
    try:
        y = compiling.jit(convolve)(X, KERNEL)
    finally:
        compiling._is_known.cache_clear()
    assert y.shape == (2, 16, 16, 8)


def test_takes_the_arguments_of_jit():
    double = compiling.jit(lambda x, times: x * times, static_argnames="times", donate_argnums=0)
    assert double(jnp.ones(3), times=2).tolist() == [2.0] * 3
