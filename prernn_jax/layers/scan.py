"""The two scans of `unroll.py`: a cell's steps forward, and their cotangents backward.

`by_features` says how the state lies: (F, B) when true, (B, F) when false.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from prernn_jax.layers.cells import Carry, Cell

_SHORT, _THIN = 8, 2  # steps and sequences up to which the backward pass multiplies with U itself


class How(NamedTuple):
    """What is fixed when the scan is traced."""

    cell: Cell
    remat: bool
    dtype: Any  # of the outputs


class Kept(NamedTuple):
    """What the forward pass leaves to the backward pass, one row a step.

    The rows are flat: (F, B) on a CPU and (B, F) on a GPU are then of one shape.
    """

    carries: Carry  # before the step, (T, F*B) each
    sums: Array | None  # pre-activations (T, G*F*B); None: to be computed again


def _swap(x: Array, by_features: bool) -> Array:
    """(..., B, F) <-> (..., F, B) where the state lies by features."""
    return x.swapaxes(-1, -2) if by_features else x


def _times(flat: Array, value: Array, by_features: bool, state: Any) -> Array:
    """U_g v for all g: U flat (n*F, F), value (F, B) or (B, F) -> (n, ...) of value's shape."""
    features = flat.shape[-1]
    value = value.astype(flat.dtype)
    if by_features:
        out = jnp.matmul(flat, value, preferred_element_type=state)  # (n*F, B)
        return out.reshape(-1, features, out.shape[-1])  # (n, F, B)
    blocks = flat.reshape(-1, features, features)
    return jnp.einsum("bi,goi->gbo", value, blocks, preferred_element_type=state)


def _parts(kernel: Array, groups: list[tuple[int, int]]) -> dict[tuple[int, int], Array]:
    """U in the pieces that the cell multiplies with, each flat (n*F, F).

    Cut outside the loops, since a slice inside would be a copy at every step; and cut alike for
    both passes, so that XLA makes one copy for both.
    """
    features = kernel.shape[-1]
    return {(i, j): kernel[i:j].reshape(-1, features) for i, j in groups}


def groups_of(cell: Cell) -> list[tuple[int, int]]:
    """The ranges of gates, start and stop, that the cell multiplies with at one time."""
    found: list[tuple[int, int]] = []

    def product(value: Array, start: int, stop: int) -> Sequence[Array]:
        found.append((start, stop))
        return [value] * (stop - start)

    def step() -> Carry:
        one = jnp.zeros((), jnp.float32)
        return cell.step((one,) * cell.carry_parts, (one,) * cell.gates, product)

    jax.eval_shape(step)
    return found


def _loop(how: How, body: Callable, carry: Any, inputs: Any, *, back: bool = False) -> Any:
    """The scan over time; a single step is taken without a loop."""
    if jax.tree.leaves(inputs)[0].shape[0] == 1:
        carry, out = body(carry, jax.tree.map(lambda x: x[0], inputs))
        return carry, jax.tree.map(lambda x: x[None], out)
    return lax.scan(body, carry, inputs, reverse=back)


def _inputs(projected: Array, features: int, by_features: bool) -> Array:
    """(B, T, n*F) -> (T, n, F, B) or (T, n, B, F)."""
    batch, steps, width = projected.shape
    blocks = projected.reshape(batch, steps, width // features, features)
    return blocks.transpose(1, 2, 3, 0) if by_features else blocks.transpose(1, 2, 0, 3)


def _mask(m: Array | None, new: Array, old: Array | None, by_features: bool) -> Array:
    """`new` for the sequences that still run, `old` (zero when None) for the others."""
    if m is None:
        return new
    return jnp.where(m[None, :] if by_features else m[:, None], new, 0 if old is None else old)


def forward_scan(
    how: How,
    by_features: bool,
    keep: bool,
    projected: Array,
    kernel: Array,
    carry: Carry,
    valid: Array | None,
) -> tuple[Array, Carry, Kept | None]:
    """Runs the cell; arguments and results are as `unroll` has them, `valid` is (T, B) or None."""
    cell, state = how.cell, carry[0].dtype
    features = kernel.shape[-1]
    parts = _parts(kernel, groups_of(cell))

    def body(carry: Carry, inputs: tuple[Array, Array | None]) -> Any:
        given, m = inputs
        products: list[Array] = []

        def product(value: Array, start: int, stop: int) -> Sequence[Array]:
            products.append(_times(parts[start, stop], value, by_features, state))
            return list(products[-1])

        blocks = [_mask(m, p, None, by_features).astype(state) for p in given]
        blocks = blocks if len(blocks) == cell.gates else blocks * cell.gates
        after = cell.step(carry, blocks, product)
        after = tuple(
            _mask(m, new, old, by_features) for new, old in zip(after, carry, strict=True)
        )
        y = _mask(m, after[0], None, by_features).astype(how.dtype)
        if not keep:
            return after, (y, None)
        sums = None if how.remat else jnp.stack(blocks) + jnp.concatenate(products)
        kept = Kept(carry, sums)
        return after, (y, jax.tree.map(jnp.ravel, kept))

    carry = tuple(_swap(c, by_features) for c in carry)
    inputs = (_inputs(projected, features, by_features), valid)
    carry, (y, kept) = _loop(how, body, carry, inputs)
    y = _swap(y, by_features).swapaxes(0, 1)  # (T, F, B) or (T, B, F) -> (B, T, F)
    return y, tuple(_swap(c, by_features) for c in carry), kept


def backward_scan(
    how: How,
    by_features: bool,
    projected: Array,
    kernel: Array,
    valid: Array | None,
    kept: Kept,
    grad_y: Array,
    grad_carry: Carry,
) -> tuple[Array, Array, Carry]:
    """Cotangents of projected, kernel and carry from those of y and of the last carry."""
    cell, state = how.cell, grad_carry[0].dtype
    batch, steps, width = projected.shape
    features = kernel.shape[-1]
    # Transposing U in memory takes as long as several thin products with it as it lies.
    copied = by_features and steps > _SHORT and batch > _THIN
    shape = (features, batch) if by_features else (batch, features)
    groups = groups_of(cell)
    parts = back = _parts(kernel, groups)
    if copied:
        # Without the barrier XLA folds the transpose back into each step's product.
        back = {group: lax.optimization_barrier(flat.T) for group, flat in parts.items()}

    def pull(flat: Array, grads: Array) -> Array:
        """Sums over gates of U_g^T grad_g, grads (n, ...)."""
        grads = grads.astype(kernel.dtype)
        if by_features:
            grads = grads.reshape(-1, batch)  # (n*F, B)
            if not copied:
                rows = jnp.matmul(grads.T, flat, preferred_element_type=state)  # (B, F)
                return lax.optimization_barrier(rows).T
            return jnp.matmul(flat, grads, preferred_element_type=state)
        blocks = flat.reshape(-1, features, features)
        return jnp.einsum("gbo,goi->bi", grads, blocks, preferred_element_type=state)

    def body(grad_carry: Carry, inputs: Any) -> Any:
        grad_y, carries, sums, blocks, m = inputs
        carry = tuple(c.reshape(shape) for c in carries)
        if blocks is not None:
            blocks = [_mask(m, p, None, by_features).astype(state) for p in blocks]
            sums = blocks if len(blocks) == cell.gates else blocks * cell.gates
        else:
            sums = list(sums.reshape(-1, *shape))

        def step(carry: Carry, sums: list[Array]) -> tuple[Carry, list[Array]]:
            values: list[Array] = []

            def product(value: Array, start: int, stop: int) -> Sequence[Array]:
                values.append(value)
                flat = back[start, stop]

                def result(value: Array) -> Array:
                    if how.remat:
                        return _times(parts[start, stop], value, by_features, state)
                    return jnp.zeros((stop - start, *shape), state)  # U v is in the sums

                times = jax.custom_vjp(result)
                # `result` and not `times`: in a second derivative the sums already hold how U v
                # depends on v, and with the gradient of `times` it would be counted twice.
                times.defvjp(lambda v: (result(v), None), lambda _, grads: (pull(flat, grads),))
                return list(times(value))

            return cell.step(carry, sums, product), values

        _, vjp, values = jax.vjp(step, carry, sums, has_aux=True)
        grad_y = _mask(m, grad_y.astype(state), None, by_features)
        after = (grad_carry[0] + grad_y, *grad_carry[1:])
        before, grads = vjp(tuple(_mask(m, g, None, by_features) for g in after))
        if m is not None:
            none = jnp.zeros(shape, state)
            passed = (_mask(m, none, g, by_features) for g in after)
            before = tuple(b + p for b, p in zip(before, passed, strict=True))
        return before, (jnp.stack(grads), values)

    grad_y = _swap(grad_y.swapaxes(0, 1), by_features)  # (B, T, F) -> (T, ...)
    blocks = _inputs(projected, features, by_features) if how.remat else None
    carry = tuple(_swap(c, by_features) for c in grad_carry)
    inputs = (grad_y, kept.carries, kept.sums, blocks, valid)
    carry, (grads, values) = _loop(how, body, carry, inputs, back=True)
    spec = "tgob,tib->goi" if by_features else "tgbo,tbi->goi"
    grad_kernel = [
        jnp.einsum(
            spec,
            grads[:, start:stop].astype(kernel.dtype),
            v.astype(kernel.dtype),
            preferred_element_type=state,
        ).astype(kernel.dtype)
        for (start, stop), v in zip(groups, values, strict=True)
    ]
    if width == features:
        grads = grads.sum(axis=1, keepdims=True)  # one block for all gates
    axes = (3, 0, 1, 2) if by_features else (2, 0, 1, 3)
    grads = grads.transpose(axes).reshape(projected.shape)  # (B, T, n*F)
    grad_carry = tuple(_swap(c, by_features) for c in carry)
    return grads.astype(projected.dtype), jnp.concatenate(grad_kernel), grad_carry
