"""The unrolled cells: forward against other frameworks, gradients against plain autodiff."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from naive_unroll import CELLS, B, F, T, gradient, naive, problem

from prernn_jax.errors import InputError
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.unroll import pre_activations, unroll


def assert_same(ours, theirs, **tolerance):
    tolerance = tolerance or {"rtol": 1e-11, "atol": 1e-12}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), ours, theirs)


def compare_gradients(name, shared, lengths, *, seed=0, features=F, **options):
    cell = get_cell(name)
    steps = options.pop("steps", T)
    batch = B if lengths is None else len(lengths)
    given, weights = problem(cell, shared, seed, batch, steps, features)
    lengths = None if lengths is None else jnp.asarray(lengths, jnp.int32)
    ours = functools.partial(unroll, cell, **options)
    theirs = functools.partial(naive, cell)
    assert_same(*(gradient(run, weights, lengths)(*given) for run in (ours, theirs)))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("shared", [False, True])
def test_gradients_of_all_arguments(name, shared):
    with jax.enable_x64(True):
        compare_gradients(name, shared, [5, 2, 0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "lengths"), [
    ("gru", {"remat": True}, [1, 5, 4]),
    ("lstm", {"remat": True}, None),
    ("lstm", {"steps": 1}, None),
    ("gru", {"steps": 1, "remat": True}, [1, 0, 1]),
    ("lstm", {"features": 1}, None),
    # More steps and sequences than with U as it lies: its transposed copy is used.
    ("vrnn", {"steps": 9}, [9, 4, 0]),
    ("lstm", {"steps": 9}, [9, 4, 0]),
    ("gru", {"steps": 9}, [9, 4, 0]),
    ("gru_cho", {"steps": 9, "remat": True}, None),
    ("lstm", {"steps": 9}, [9, 4]),  # as many steps, but two sequences
])  # fmt: skip
def test_gradients_with_options(name, options, lengths):
    with jax.enable_x64(True):
        compare_gradients(name, name == "gru", lengths, **options)


@pytest.mark.slow
@hypothesis.settings(max_examples=4, deadline=None, derandomize=True)
@hypothesis.given(
    st.sampled_from(CELLS), st.booleans(), st.booleans(),
    st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 99),
)  # fmt: skip
def test_gradients_of_any_shape(name, shared, remat, lengths, features, seed):
    with jax.enable_x64(True):
        compare_gradients(
            name, shared, lengths, remat=remat, features=features, seed=seed,
            steps=4,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_padding_may_hold_anything(name):
    """NaN in padded steps reaches neither results nor gradients, and y and its gradient are 0."""
    cell = get_cell(name)
    (projected, kernel, carry), weights = problem(cell, dtype=np.float32)
    lengths = jnp.array([5, 2, 0], jnp.int32)
    padded = (jnp.arange(T)[None, :] >= lengths[:, None])[..., None]
    run = functools.partial(unroll, cell)
    both = gradient(run, weights, lengths)
    clean = both(projected, kernel, carry)
    dirty = both(jnp.where(padded, jnp.nan, projected), kernel, carry)
    assert_same(dirty, clean, rtol=0)
    grads, (y, last) = dirty
    np.testing.assert_array_equal(np.where(padded, grads[0], 0), 0)
    np.testing.assert_array_equal(np.where(padded, y, 0), 0)
    np.testing.assert_array_equal(last[0][2], carry[0][2])
    # A NaN in the cotangent of a padded step does not get in either.
    weights = jnp.where(padded, jnp.nan, weights[0]), weights[1]
    assert_same(gradient(run, weights, lengths)(projected, kernel, carry), clean, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_step_by_step_is_the_whole(name):
    cell = get_cell(name)
    (projected, kernel, carry), _ = problem(cell, dtype=np.float32)
    y, last = unroll(cell, projected, kernel, carry)
    one = jax.jit(functools.partial(unroll, cell))
    for t in range(T):
        now, carry = one(projected[:, t : t + 1], kernel, carry)
        np.testing.assert_allclose(now[:, 0], y[:, t], rtol=1e-5, atol=1e-6)
    assert_same(carry, last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["vrnn", "lstm"])
def test_as_torch(name):
    torch = pytest.importorskip("torch")
    cell = get_cell(name)
    with jax.enable_x64(True):
        (projected, kernel, carry), weights = problem(cell)
        layer = torch.nn.LSTM if name == "lstm" else functools.partial(
            torch.nn.RNN, nonlinearity="relu"
        )  # fmt: skip
        width = projected.shape[-1]
        net = layer(width, F, batch_first=True, bias=False, dtype=torch.float64)
        # Its input weights are the identity, so its inputs are our projections.
        tensors = {"weight_ih_l0": np.eye(width), "weight_hh_l0": kernel.reshape(-1, F)}
        net.load_state_dict({k: torch.tensor(np.array(v)) for k, v in tensors.items()})
        x, *h = (torch.tensor(np.array(a), requires_grad=True) for a in (projected, *carry))
        y, last = net(x, tuple(c[None] for c in h) if name == "lstm" else h[0][None])
        last = last if name == "lstm" else (last,)
        ours = unroll(cell, projected, kernel, carry)
        assert_same(ours, (y.detach().numpy(), tuple(c[0].detach().numpy() for c in last)))
        results = [y, *(c[0] for c in last)]
        expected = [torch.tensor(np.array(w)) for w in jax.tree.leaves(weights)]
        sum((w * r).sum() for w, r in zip(expected, results, strict=True)).backward()
        grads, _ = gradient(functools.partial(unroll, cell), weights)(projected, kernel, carry)
        theirs = (
            x.grad.numpy(),
            net.weight_hh_l0.grad.numpy().reshape(kernel.shape),
            tuple(c.grad.numpy() for c in h),
        )
        assert_same(grads, theirs)


@pytest.mark.parametrize("name", ["gru", "gru_cho"])
def test_gru_by_hand(name):
    """Equations 5 to 8 of Cho et al. 2014, written out in numpy."""
    cell = get_cell(name)
    with jax.enable_x64(True):
        given, _ = problem(cell)
        y, _ = unroll(cell, *given)
        projected, kernel, (h,) = jax.tree.map(np.asarray, given)
        sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
        for t in range(T):
            p_r, p_z, p_n = np.split(projected[:, t], 3, axis=-1)
            r = sigmoid(p_r + h @ kernel[0].T)
            z = sigmoid(p_z + h @ kernel[1].T)
            n = np.tanh(p_n + (r * h) @ kernel[2].T)
            h = (1 - z) * h + z * n if name == "gru" else z * h + (1 - z) * n
            np.testing.assert_allclose(y[:, t], h, rtol=1e-12, atol=1e-13)


def test_bfloat16_inputs_keep_a_float32_state():
    cell = get_cell("lstm")
    (projected, kernel, carry), weights = problem(cell, dtype=np.float32)
    low = projected.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), carry
    y, last = unroll(cell, *low)
    assert (y.dtype, last[1].dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(last[1], naive(cell, projected, kernel, carry)[1][1], atol=0.1)
    grads, _ = gradient(functools.partial(unroll, cell), weights)(*low)
    jax.tree.map(lambda g, a: np.testing.assert_equal(g.dtype, a.dtype), grads, low)
    exact, _ = gradient(functools.partial(naive, cell), weights)(projected, kernel, carry)
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(np.asarray(ours, np.float32), theirs, atol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["shard_map", "pmap"])
def test_over_devices(how):
    cell = get_cell("gru")
    with jax.enable_x64(True):
        (projected, kernel, _), weights = problem(cell, batch=8)
        lengths = jnp.array([5, 4, 3, 2, 1, 0, 5, 5], jnp.int32)

        def value(projected, kernel, lengths, weight):
            return jnp.sum(weight * unroll(cell, projected, kernel, None, lengths)[0])

        def one(*given):
            return jax.lax.psum(jax.grad(value, 1)(*given), "data")

        given = (projected, kernel, lengths, weights[0])
        if how == "pmap":
            first, *others = (a.reshape(4, 2, *a.shape[1:]) for a in given if a is not kernel)
            step = jax.pmap(one, "data", in_axes=(0, None, 0, 0), out_axes=None)
            ours = step(first, kernel, *others)
        else:
            spec, none = PartitionSpec("data"), PartitionSpec()
            ours = jax.jit(jax.shard_map(
                one, mesh=Mesh(np.array(jax.devices()[:4]), ("data",)),
                in_specs=(spec, none, spec, spec), out_specs=none, check_vma=False,
            ))(*given)  # fmt: skip
        assert_same(ours, jax.grad(value, 1)(*given))


def test_under_vmap():
    cell = get_cell("gru")
    with jax.enable_x64(True):
        (projected, kernel, carry), weights = problem(cell)
        step = gradient(functools.partial(unroll, cell), weights)
        many = jax.vmap(step)(
            *jax.tree.map(lambda a: jnp.stack([a, a * 0.5]), (projected, kernel, carry))
        )
        assert_same(jax.tree.map(lambda a: a[0], many), step(projected, kernel, carry))


def lowered(platform, differentiate, steps=T):
    cell = get_cell("gru")
    given, weights = problem(cell, steps=steps, dtype=np.float32)
    run = functools.partial(unroll, cell)
    step = gradient(run, weights) if differentiate else jax.jit(run)
    return step.trace(*given).lower(lowering_platforms=(platform,)).as_text()


def test_the_transposed_copy_is_made_on_cpu_for_the_backward_pass_only():
    assert "optimization_barrier" in lowered("cpu", True)
    assert "optimization_barrier" not in lowered("cpu", False)
    assert "optimization_barrier" not in lowered("cuda", True)


def test_a_single_step_has_no_loop():
    assert "stablehlo.while" not in lowered("cpu", False, steps=1)


def test_what_does_not_fit_is_refused():
    cell = get_cell("lstm")
    (projected, kernel, carry), _ = problem(cell, dtype=np.float32)
    with pytest.raises(InputError, match=r"lstm needs \(4, F, F\)"):
        unroll(cell, projected, kernel[:3])
    with pytest.raises(InputError, match=r"needs \(B, T, 4 or 16\)"):
        unroll(cell, projected[..., :5], kernel)
    with pytest.raises(InputError, match="carry has shapes"):
        unroll(cell, projected, kernel, carry[:1])


@pytest.mark.parametrize("run", [unroll, pre_activations])
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2], r"lengths has shape \(2,\); expected 3 whole numbers from 0 to 5"),
        ([[1, 2, 3]], "lengths has shape"),
        ([1, 6, 2], "length of sequence 1 is 6; expected"),
        ([1, 2, -1], "length of sequence 2 is -1"),
        ([1.0, 2.0, 3.0], "lengths has dtype float"),
        ([[1], 2, 3], "lengths is"),
    ],
)
def test_lengths_that_cannot_be(run, lengths, message):
    cell = get_cell("lstm")
    (projected, kernel, carry), _ = problem(cell, dtype=np.float32)
    with pytest.raises(InputError, match=message):
        run(cell, projected, kernel, carry, lengths)
    if message.startswith("length of"):
        near = np.clip(lengths, 0, T)
        step = jax.jit(functools.partial(run, cell))
        assert_same(
            step(projected, kernel, carry, jnp.array(lengths)),
            step(projected, kernel, carry, jnp.array(near)),
        )


@pytest.mark.parametrize("run", [unroll, pre_activations])
@pytest.mark.parametrize("shape", [(0, 5, 16), (3, 0, 16)])
def test_no_sequences_and_no_steps_are_refused(run, shape):
    step = functools.partial(run, get_cell("lstm"))
    given = np.zeros(shape, np.float32), np.zeros((4, 4, 4), np.float32)
    for form in (step, jax.jit(step)):
        with pytest.raises(InputError, match=rf"{shape[0]} sequences of {shape[1]} steps"):
            form(*map(jnp.asarray, given))
