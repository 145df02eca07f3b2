"""A plain scan over time to compare the unrolled cells with, and problems to compare them on."""

import jax
import jax.numpy as jnp
import numpy as np

CELLS = ["vrnn", "lstm", "gru", "gru_cho"]
B, T, F = 3, 5, 4


def naive(cell, projected, kernel, carry=None, lengths=None):
    """A plain scan, batch-major, for autodiff; padded steps by selection of inputs and states."""
    batch, steps, width = projected.shape
    gates, features, _ = kernel.shape
    if carry is None:
        carry = tuple(
            jnp.zeros((batch, features), projected.dtype) for _ in range(cell.carry_parts)
        )
    valid = jnp.ones((steps, batch), bool)
    if lengths is not None:
        valid = jnp.arange(steps, dtype=lengths.dtype)[:, None] < lengths[None, :]

    def body(carry, inputs):
        p, m = inputs
        m = m[:, None]
        blocks = jnp.split(jnp.where(m, p, 0), width // features, axis=-1)
        blocks = blocks * (gates // len(blocks))
        after = cell.step(carry, blocks, lambda v, i, j: [v @ kernel[g].T for g in range(i, j)])
        after = tuple(jnp.where(m, a, b) for a, b in zip(after, carry, strict=True))
        return after, jnp.where(m, after[0], 0)

    carry, y = jax.lax.scan(body, carry, (projected.swapaxes(0, 1), valid))
    return y.swapaxes(0, 1), carry


def problem(cell, shared=False, seed=0, batch=B, steps=T, features=F, dtype=np.float64):
    """Inputs, recurrent kernel, carry; and weights of a loss that uses every result."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape).astype(dtype))  # noqa: E731
    blocks = 1 if shared else cell.gates
    carry = tuple(draw(batch, features) for _ in range(cell.carry_parts))
    given = (
        draw(batch, steps, blocks * features),
        draw(cell.gates, features, features) * np.array(0.5, dtype),
        carry,
    )
    return given, (draw(batch, steps, features), jax.tree.map(lambda c: draw(*c.shape), carry))


def loss(run, weights, lengths=None):
    def value(projected, kernel, carry):
        results = run(projected, kernel, carry, lengths)
        terms = jax.tree.map(lambda r, w: jnp.sum(w * r.astype(w.dtype)), results, weights)
        return sum(jax.tree.leaves(terms)), results

    return value


def gradient(run, weights, lengths=None):
    """The gradients of the loss in projected, kernel and carry; with it the results."""
    return jax.jit(jax.grad(loss(run, weights, lengths), (0, 1, 2), has_aux=True))
