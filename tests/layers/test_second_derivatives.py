"""Derivatives of the gradients that we give ourselves, against plain autodiff in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads
from naive_unroll import CELLS, loss, naive, problem

from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.dense import dense
from prernn_jax.cpu.pool import max_pool
from prernn_jax.layers.batch_norm import batch_norm_train
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.unroll import unroll

pytestmark = pytest.mark.slow


# Products with the Hessian. `along` is an argument: XLA would compute with a constant while it
# compiles, for minutes.
def backward_over_backward(value):
    def slope(given, along):
        gradient = jax.grad(value, tuple(range(len(given))))(*given)
        terms = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, along)
        return sum(jax.tree.leaves(terms))

    return jax.grad(slope)


def forward_over_backward(value):
    def product(given, along):
        return jax.jvp(jax.grad(value, tuple(range(len(given)))), given, along)[1]

    return product


def assert_same_products(ours, theirs, given, along):
    products = backward_over_backward(ours), forward_over_backward(ours)
    both = jax.jit(lambda *of: [product(*of) for product in products])
    expected = jax.jit(backward_over_backward(theirs))(given, along)
    for found in both(given, along):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), found, expected
        )


def compare(ours, theirs, given):
    rng = np.random.default_rng(7)
    along = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), given)
    assert_same_products(ours, theirs, given, along)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(ours, given, along)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("options", "steps", "lengths"), [
    ({}, 4, None),
    ({"remat": True}, 3, [3, 1, 0]),
    ({}, 9, [9, 2, 5]),  # steps enough for a transposed copy of U
    ({}, 1, None),
])  # fmt: skip
def test_unroll(name, options, steps, lengths):
    with jax.enable_x64(True):
        cell = get_cell(name)
        given, weights = problem(cell, steps=steps, features=2)
        lengths = None if lengths is None else jnp.asarray(lengths)

        def value(run, *given):
            def squares(*given):
                y, carry = run(*given)
                return y**2, jax.tree.map(jnp.square, carry)

            return loss(squares, weights, lengths)(*given)[0]

        ours = functools.partial(unroll, cell, **options)
        theirs = functools.partial(naive, cell)
        compare(functools.partial(value, ours), functools.partial(value, theirs), given)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_unroll_against_differences(name):
    with jax.enable_x64(True):
        cell = get_cell(name)
        given, _ = problem(cell, steps=3, features=2, batch=1)
        run = functools.partial(unroll, cell)
        check_grads(jax.jit(run), given, order=2, modes=["rev"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("wrap", ["checkpoint", "vmap", "scan"])
def test_unroll_within_other_transformations(wrap):
    with jax.enable_x64(True):
        cell = get_cell("gru")
        (projected, kernel, carry), _ = problem(cell, steps=3, features=2)

        def value(run, projected, kernel):
            if wrap == "checkpoint":
                return jnp.sum(jax.checkpoint(run)(projected, kernel, carry)[0] ** 2)
            many = jnp.stack([projected, 2 * projected])
            if wrap == "vmap":
                return jnp.sum(jax.vmap(run, (0, None, None))(many, kernel, carry)[0] ** 2)
            last, _ = lax.scan(lambda c, p: (run(p, kernel, c)[1], None), carry, many)
            return jnp.sum(last[0] ** 2)

        ours, theirs = (
            functools.partial(value, functools.partial(run, cell)) for run in (unroll, naive)
        )
        given = (projected, kernel)
        assert_same_products(ours, theirs, given, jax.tree.map(jnp.cos, given))


@pytest.mark.parametrize(("shape", "window", "strides", "padding"), [
    ((2, 5, 4, 3), (1, 1, 3, 2), (1, 1), "VALID"),
    ((2, 5, 4, 3), (1, 1, 3, 2), (2, 2), "VALID"),
    ((2, 5, 4, 3), (3, 3, 3, 2), (1, 1), "SAME"),
    ((2, 5, 4, 17), (3, 3, 17, 2), (2, 2), ((1, 1), (1, 1))),
    ((2, 3, 4, 4, 2), (3, 3, 3, 2, 2), (1, 1, 1), "SAME"),
    ((1, 3, 4, 4, 65), (3, 3, 3, 65, 2), (2, 1, 1), "SAME"),
    ((2, 3, 4, 4, 2), (1, 1, 1, 2, 3), (1, 1, 1), "VALID"),
])  # fmt: skip
def test_convolution(shape, window, strides, padding):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        given = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=window))
        numbers = ("NHWC", "HWIO", "NHWC") if len(shape) == 4 else ("NDHWC", "DHWIO", "NDHWC")

        def value(conv, x, kernel):
            y = conv(x, kernel, strides, padding, dimension_numbers=numbers)
            return jnp.sum(jnp.sin(y))

        ours, theirs = (
            functools.partial(value, conv)
            for conv in (conv_general_dilated, lax.conv_general_dilated)
        )
        compare(ours, theirs, given)


@pytest.mark.parametrize("rows", [3, 130])
def test_dense(rows):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        given = jnp.asarray(rng.normal(size=(rows, 4))), jnp.asarray(rng.normal(size=(4, 3)))
        ours = lambda x, kernel: jnp.sum(jnp.sin(dense(x, kernel)))  # noqa: E731
        compare(ours, lambda x, kernel: jnp.sum(jnp.sin(x @ kernel)), given)


@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 1), (0, 1))])
def test_max_pool(pads):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)

        def plain(x):
            x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
            rows, columns = (x.shape[1] - 3) // 2 + 1, (x.shape[2] - 3) // 2 + 1
            places = [
                x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
                for i in range(3)
                for j in range(3)
            ]
            places = jnp.stack(places)
            first = jnp.argmax(places, axis=0)[None]
            return jnp.sum(jnp.sin(jnp.take_along_axis(places, first, axis=0)))

        ours = lambda x: jnp.sum(jnp.sin(max_pool(x, (3, 3), (2, 2), pads)))  # noqa: E731
        # Rounded, so that many windows hold their maximum twice.
        compare(ours, plain, (jnp.asarray(np.round(rng.normal(size=(2, 7, 6, 2)))),))


def test_batch_norm():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        given = tuple(jnp.asarray(rng.normal(size=shape)) for shape in ((6, 2, 3), (3,), (3,)))

        def plain(x, scale, bias, epsilon):
            mean, var = x.mean((0, 1)), x.var((0, 1))
            row = lambda value: value[None, None]  # noqa: E731
            y = (x - row(mean)) / row(jnp.sqrt(var + epsilon)) * row(scale) + row(bias)
            return y, mean, var

        def value(norm, *given):
            y, mean, var = norm(*given, 1e-3)
            return jnp.sum(jnp.sin(3 * y)) + jnp.sum(mean**3) + jnp.sum(jnp.cos(var))

        compare(functools.partial(value, batch_norm_train), functools.partial(value, plain), given)
