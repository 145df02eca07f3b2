"""A cell unrolled over time, with its own backward pass.

Only the hidden-to-hidden weights U work inside the scan; what makes that fast:

- Every gate's pre-activation is `projected + U v` (v is h, or r h for the GRU's candidate), so the
  cotangent of `projected` is that of `U v`, and dU is one product after the backward scan, over
  all steps and sequences at once, not a sum of (G, F, F) arrays carried through it.
- The forward pass keeps the carries and the pre-activations; the backward pass runs the cell's
  own step on them again, element-wise, and has no product in it but the one with U transposed.
- On a CPU a thin product is bound by how U lies in memory: the state is (F, B) there, and the
  backward pass multiplies with a transposed copy of U, made once. A GPU needs neither: (B, F).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from prernn_jax.cells import Carry, Cell
from prernn_jax.errors import InputError


class _How(NamedTuple):
    """What is fixed when the scan is traced."""

    cell: Cell
    reverse: bool
    unroll: int
    remat: bool
    dtype: Any  # of the outputs


class _Kept(NamedTuple):
    """What the forward pass leaves to the backward pass, one row a step.

    The rows are flat: (F, B) on a CPU and (B, F) on a GPU are then of one shape.
    """

    carries: Carry  # before the step, (T, F*B) each
    sums: Array | None  # pre-activations (T, G*F*B); None: to be computed anew


def unroll(
    cell: Cell,
    projected: Array,
    recurrent_kernel: Array,
    carry: Carry | None = None,
    lengths: Array | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
    remat: bool = False,
) -> tuple[Array, Carry]:
    """Runs `cell` over the time axis of `projected`.

    Differentiable (reverse mode, once) in `projected`, `recurrent_kernel` and `carry`.

    Args:
        cell: From `prernn_jax.cells`.
        projected: Inputs times input-to-hidden weights, plus bias: (B, T, G*F), one block of F a
            gate, or (B, T, F) where all gates share one (SIH).
        recurrent_kernel: (G, F, F), indexed [gate, output, input].
        carry: Arrays (B, F), as many as the cell has; None for zeros.
        lengths: (B,) integers; steps at and beyond a sequence's length change neither state nor
            gradients, whatever stands there, and y is 0 there.
        reverse: Go from the last step to the first.
        unroll: Steps in one turn of the loop.
        remat: Keep `projected` instead of the pre-activations and compute U v anew in the
            backward pass: less memory with shared or bfloat16 inputs, one more product a step.

    Returns:
        y (B, T, F), the h after every step, in the dtype of `projected`, and the last carry, in
        float64 if that is the dtype of `projected`, otherwise in float32.

    Raises:
        InputError: The shapes do not fit together.
    """
    state = jnp.float64 if projected.dtype == jnp.float64 else jnp.float32
    _check(cell, projected, recurrent_kernel, carry, lengths)
    batch, steps, _ = projected.shape
    features = recurrent_kernel.shape[-1]
    if carry is None:
        carry = tuple(jnp.zeros((batch, features), state) for _ in range(cell.carry_parts))
    valid = None
    if lengths is not None:
        valid = jnp.arange(steps, dtype=jnp.int32)[:, None] < lengths[None, :].astype(
            jnp.int32
        )  # (T, B)
    how = _How(cell, reverse, unroll, remat, projected.dtype)
    return _run(how, projected, recurrent_kernel, tuple(c.astype(state) for c in carry), valid)


def _check(
    cell: Cell, projected: Array, kernel: Array, carry: Carry | None, lengths: Array | None
) -> None:
    if kernel.ndim != 3 or kernel.shape[0] != cell.gates or kernel.shape[1] != kernel.shape[2]:
        raise InputError(
            f"recurrent_kernel has shape {kernel.shape}; {cell.name} needs ({cell.gates}, F, F)"
        )
    features = kernel.shape[-1]
    widths = sorted({features, cell.gates * features})
    if projected.ndim != 3 or projected.shape[-1] not in widths:
        raise InputError(
            f"projected has shape {projected.shape}; a recurrent_kernel {kernel.shape} needs "
            f"(B, T, {' or '.join(map(str, widths))})"
        )
    wanted = [(projected.shape[0], features)] * cell.carry_parts
    if carry is not None and [c.shape for c in carry] != wanted:
        raise InputError(f"carry has shapes {[c.shape for c in carry]}; expected {wanted}")
    if lengths is not None and lengths.shape != wanted[0][:1]:
        raise InputError(f"lengths has shape {lengths.shape}; expected {wanted[0][:1]}")


def _swap(x: Array, by_features: bool) -> Array:
    """(..., B, F) <-> (..., F, B) where the state lies by features."""
    return x.swapaxes(-1, -2) if by_features else x


def _times(kernel: Array, value: Array, by_features: bool, state: Any) -> Array:
    """U_g v for all g: kernel (n, F, F), value (F, B) or (B, F) -> (n, ...) of value's shape."""
    gates, features, _ = kernel.shape
    value = value.astype(kernel.dtype)
    if by_features:
        flat = kernel.reshape(-1, features)  # (n*F, F)
        out = jnp.matmul(flat, value, preferred_element_type=state)  # (n*F, B)
        return out.reshape(gates, features, -1)  # (n, F, B)
    return jnp.einsum("bi,goi->gbo", value, kernel, preferred_element_type=state)


def _groups(cell: Cell) -> list[tuple[int, int]]:
    """The ranges of gates that the cell multiplies with at one time."""
    found: list[tuple[int, int]] = []

    def product(value: Array, start: int, stop: int) -> Sequence[Array]:
        found.append((start, stop))
        return [value] * (stop - start)

    def step() -> Carry:
        one = jnp.zeros((), jnp.float32)
        return cell.step((one,) * cell.carry_parts, (one,) * cell.gates, product)

    jax.eval_shape(step)
    return found


def _loop(how: _How, body: Callable, carry: Any, inputs: Any, *, back: bool = False) -> Any:
    """The scan over time; a single step is taken without a loop."""
    if jax.tree.leaves(inputs)[0].shape[0] == 1:
        carry, out = body(carry, jax.tree.map(lambda x: x[0], inputs))
        return carry, jax.tree.map(lambda x: x[None], out)
    return lax.scan(body, carry, inputs, reverse=how.reverse != back, unroll=how.unroll)


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


def _forward_scan(
    how: _How,
    by_features: bool,
    keep: bool,
    projected: Array,
    kernel: Array,
    carry: Carry,
    valid: Array | None,
) -> tuple[Array, Carry, _Kept | None]:
    cell, state = how.cell, carry[0].dtype
    features = kernel.shape[-1]
    # Cut outside the loop: a slice of U inside would be a copy at every step.
    parts = {(i, j): kernel[i:j] for i, j in _groups(cell)}

    def body(carry: Carry, inputs: tuple[Array, Array | None]) -> Any:
        blocks, m = inputs
        products: list[Array] = []

        def product(value: Array, start: int, stop: int) -> Sequence[Array]:
            products.append(_times(parts[start, stop], value, by_features, state))
            return list(products[-1])

        blocks = [_mask(m, p, None, by_features).astype(state) for p in blocks]
        blocks = blocks if len(blocks) == cell.gates else blocks * cell.gates
        after = cell.step(carry, blocks, product)
        after = tuple(
            _mask(m, new, old, by_features) for new, old in zip(after, carry, strict=True)
        )
        y = _mask(m, after[0], None, by_features).astype(how.dtype)
        if not keep:
            return after, (y, None)
        sums = None if how.remat else jnp.stack(blocks) + jnp.concatenate(products)
        kept = _Kept(carry, sums)
        return after, (y, jax.tree.map(jnp.ravel, kept))

    carry = tuple(_swap(c, by_features) for c in carry)
    inputs = (_inputs(projected, features, by_features), valid)
    carry, (y, kept) = _loop(how, body, carry, inputs)
    y = _swap(y, by_features).swapaxes(0, 1)  # (T, F, B) or (T, B, F) -> (B, T, F)
    return y, tuple(_swap(c, by_features) for c in carry), kept


def _backward_scan(
    how: _How,
    by_features: bool,
    projected: Array,
    kernel: Array,
    valid: Array | None,
    kept: _Kept,
    grad_y: Array,
    grad_carry: Carry,
) -> tuple[Array, Array, Carry]:
    cell, state = how.cell, grad_carry[0].dtype
    batch, steps, width = projected.shape
    features = kernel.shape[-1]
    shape = (features, batch) if by_features else (batch, features)
    groups = _groups(cell)
    parts = {(i, j): kernel[i:j] for i, j in groups} if how.remat else {}

    def transposed(start: int, stop: int) -> Array:
        flat = kernel[start:stop].reshape(-1, features)  # (n*F, F)
        # Without the barrier XLA folds the transpose back into each step's product.
        return lax.optimization_barrier(flat.T) if by_features else flat

    back = {(i, j): transposed(i, j) for i, j in groups}

    def pull(flat: Array, grads: Array) -> Array:
        """Sum over gates of U_g^T grad_g, grads (n, ...)."""
        grads = grads.astype(kernel.dtype)
        if by_features:
            grads = grads.reshape(-1, batch)  # (n*F, B)
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
                known: Any = 0  # U v is already in the sums
                if how.remat:
                    known = _times(parts[start, stop], value, by_features, state)
                flat = back[start, stop]

                @jax.custom_vjp
                def times(value: Array) -> Array:
                    return jnp.zeros((stop - start, *shape), state) + known

                times.defvjp(lambda v: (times(v), None), lambda _, grads: (pull(flat, grads),))
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


def _by_platform(scan: Callable, *arguments: Any) -> Any:
    return lax.platform_dependent(
        *arguments,
        cpu=lambda *given: scan(True, *given),
        default=lambda *given: scan(False, *given),
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
    how: _How, projected: Array, kernel: Array, carry: Carry, valid: Array | None
) -> tuple[Array, Carry]:
    def scan(by_features: bool, *given: Any) -> tuple[Array, Carry]:
        return _forward_scan(how, by_features, False, *given)[:2]

    return _by_platform(scan, projected, kernel, carry, valid)


def _forward(
    how: _How, projected: Array, kernel: Array, carry: Carry, valid: Array | None
) -> tuple[tuple[Array, Carry], Any]:
    def scan(by_features: bool, *given: Any) -> tuple[Array, Carry, _Kept | None]:
        return _forward_scan(how, by_features, True, *given)

    y, last, kept = _by_platform(scan, projected, kernel, carry, valid)
    return (y, last), (projected, kernel, valid, kept)


def _backward(how: _How, saved: Any, grads: tuple[Array, Carry]) -> Any:
    scan = partial(_backward_scan, how)
    return *_by_platform(scan, *saved, *grads), None


_run.defvjp(_forward, _backward)
