"""`--precision`: what the lowered step says of its products, and how far each one is from float32.

TF32 exists on a GPU alone. Here the operands of every product of the step, backward pass included,
are rounded to its 10 bits of fraction, which is what such a GPU does with them.
"""

import re

import jax
import numpy as np
import pytest
from jax import lax
from tiny_task import BATCH, make_batch, make_model, start

from train.engine.devices import make_mesh, parallel_train_step, replicate, split

pytestmark = pytest.mark.slow

PRODUCTS = ("dot_general", "conv_general_dilated")
# Of the loss, and of all gradients together: docs/performance.md states them.
TOLERANCE = {"tf32": (1e-3, 1e-2), "bfloat16": (1e-2, 1e-1)}


@pytest.fixture(scope="module")
def model():
    return make_model()


def evaluate(jaxpr, consts, args):
    """Runs a jaxpr, in its form for a GPU, with the operands of its products rounded."""
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom):
        return atom.val if hasattr(atom, "val") else env[atom]

    for eqn in jaxpr.eqns:
        name, params, values = eqn.primitive.name, eqn.params, [read(a) for a in eqn.invars]
        if name in PRODUCTS:
            values = [lax.reduce_precision(value, 8, 10) for value in values]
        inner = params.get("jaxpr", params.get("call_jaxpr"))
        if name in ("jit", "pjit", "custom_jvp_call"):
            outs = evaluate(inner.jaxpr, inner.consts, values)
        elif name == "scan":
            fixed, carried = params["num_consts"], params["num_carry"]
            consts_, carry, rows = (
                values[:fixed],
                values[fixed:][:carried],
                values[fixed:][carried:],
            )

            def body(carry, row, inner=inner, consts_=consts_, carried=carried):
                outs = evaluate(inner.jaxpr, inner.consts, [*consts_, *carry, *row])
                return outs[:carried], outs[carried:]

            carry, rows = lax.scan(body, carry, rows, params["length"], params["reverse"])
            outs = [*carry, *rows]
        elif name == "cond":  # by platform: there is no other one in a step
            default = params["branches"][params["branches_platforms"].index(None)]
            outs = evaluate(default.jaxpr, default.consts, values[1:])
        else:
            assert inner is None, f"{name} has products that are not rounded"
            outs = eqn.primitive.bind(*values, **params)
            outs = outs if eqn.primitive.multiple_results else [outs]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def in_tf32(step):
    """The step with the operands of all its products rounded to TF32."""

    def rounded(*args):
        closed, shape = jax.make_jaxpr(step, return_shape=True)(*args)
        outs = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), outs)

    return rounded


def one_step(step, state):
    """The loss of a first step, and by how much it moves the parameters."""
    mesh = make_mesh(1, BATCH)
    before = jax.device_get(state.params)
    compiled = parallel_train_step(step, mesh)
    after, metrics = compiled(replicate(state, mesh), split(make_batch(0), mesh))
    moved = [np.asarray(after.params[k]) - before[k] for k in sorted(before)]
    return float(metrics["loss"]), np.concatenate([m.ravel() for m in moved])


def test_every_precision_is_as_near_to_float32_as_stated(model):
    _, step, state = start(model)
    loss, moved = one_step(step, state)
    _, half, half_state = start(model, precision="bfloat16")
    _, step, state = start(model, precision="tf32")
    cases = {"tf32": (in_tf32(step), state), "bfloat16": (half, half_state)}
    errors = {}
    for precision, given in cases.items():
        found, other = one_step(*given)
        errors[precision] = (
            abs(found - loss) / loss,
            np.linalg.norm(other - moved) / np.linalg.norm(moved),
        )
        assert errors[precision][0] < TOLERANCE[precision][0]
        assert errors[precision][1] < TOLERANCE[precision][1]
    assert 0 < errors["tf32"][1] < errors["bfloat16"][1]


@pytest.mark.parametrize(
    ("precision", "word", "operands"),
    [("float32", "HIGHEST", "f32"), ("tf32", "HIGH", "f32"), ("bfloat16", "DEFAULT", "bf16")],
)
def test_each_product_of_a_step_for_cuda_says_its_precision(model, precision, word, operands):
    _, step, state = start(model, precision=precision)
    traced = parallel_train_step(step, make_mesh(1, BATCH)).trace(state, make_batch(0))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    lines = [
        line
        for line in text.splitlines()
        if re.search(r"stablehlo\.(dot_general|convolution)", line)
    ]
    assert len(lines) > 20
    for line in lines:
        words = re.findall(r"\b(DEFAULT|HIGH|HIGHEST)\b", line)
        assert words == [word, word], line
        left, right = re.search(r": \(tensor<([^>]*)>, tensor<([^>]*)>\)", line).groups()
        assert (left.split("x")[-1], right.split("x")[-1]) == (operands, operands), line
