"""A cell unrolled over time, with its own backward pass.

Only the hidden-to-hidden weights U work inside the scan; what makes that fast:

- Every gate's pre-activation is `projected + U v` (v is h, or r h for the GRU's candidate), so the
  cotangent of `projected` is that of `U v`, and dU is one product after the backward scan, over
  all steps and sequences at once, not a sum of (G, F, F) arrays carried through it.
- The forward pass keeps the carries and the pre-activations; the backward pass runs the cell's
  own step on them again, element-wise, and has no product in it but the one with U transposed.
- On a CPU a thin product is bound by how U lies in memory: the state is (F, B) there, and the
  backward pass multiplies with a transposed copy of U, made once, unless steps or sequences are
  so few that the copy would cost more than it saves. A GPU needs neither: (B, F).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from prernn_jax.errors import InputError
from prernn_jax.layers.cells import Carry, Cell
from prernn_jax.layers.lengths import Lengths, check_lengths, check_sizes, valid_steps
from prernn_jax.layers.scan import How, Kept, backward_scan, forward_scan


def unroll(
    cell: Cell,
    projected: Array,
    recurrent_kernel: Array,
    carry: Carry | None = None,
    lengths: Lengths = None,
    *,
    remat: bool = False,
) -> tuple[Array, Carry]:
    """Runs `cell` over the time axis of `projected`.

    Differentiable in `projected`, `recurrent_kernel` and `carry` by `jax.grad`, and the gradient
    again in either mode. Forward mode without a gradient inside (`jax.jvp`, `jax.jacfwd`) is a
    TypeError: `jax.hessian` is therefore `jax.jacfwd(jax.jacrev(f))`, its default.

    Args:
        cell: From `prernn_jax.layers.cells`.
        projected: Inputs times input-to-hidden weights, plus bias: (B, T, G*F), one block of F a
            gate, or (B, T, F) where all gates share one (SIH).
        recurrent_kernel: (G, F, F), indexed [gate, output, input].
        carry: Arrays (B, F), as many as the cell has; None for zeros.
        lengths: (B,) whole numbers from 0 to T; steps at and beyond a sequence's length change
            neither state nor gradients, whatever stands there, and y is 0 there. Inside `jax.jit`
            a number outside that range counts as the nearest one in it.
        remat: Keep `projected` instead of the pre-activations and compute U v again in the
            backward pass: less memory with shared or bfloat16 inputs, one more product a step.

    Returns:
        y (B, T, F), the h after every step, in the dtype of `projected`, and the last carry, in
        float64 if that is the dtype of `projected`, otherwise in float32.

    Raises:
        InputError: The shapes do not fit together, there is no sequence or no step, or a length
            is not from 0 to T.
    """
    carry, valid = _start(cell, projected, recurrent_kernel, carry, lengths)
    how = How(cell, remat, projected.dtype)
    return _run(how, projected, recurrent_kernel, carry, valid)


def pre_activations(
    cell: Cell,
    projected: Array,
    recurrent_kernel: Array,
    carry: Carry | None = None,
    lengths: Lengths = None,
) -> Array:
    """What the cell's sigmoids, tanh and ReLU are applied to at every step: `projected + U v`.

    These are the sums that `unroll` keeps for its backward pass. Arguments as there.

    Returns:
        (B, T, G, F), in the dtype of the carry. What stands beyond a sequence's length is of no
        step.

    Raises:
        InputError: The shapes do not fit together, there is no sequence or no step, or a length
            is not from 0 to T.
    """
    carry, valid = _start(cell, projected, recurrent_kernel, carry, lengths)
    how = How(cell, remat=False, dtype=projected.dtype)
    batch, steps, _ = projected.shape
    features = recurrent_kernel.shape[-1]

    def scan(by_features: bool, *given: Any) -> Array:
        kept = forward_scan(how, by_features, True, *given)[2]
        assert kept is not None
        assert kept.sums is not None
        shape = (features, batch) if by_features else (batch, features)
        sums = kept.sums.reshape(steps, cell.gates, *shape)  # (T, G, F, B) or (T, G, B, F)
        return sums.transpose((3, 0, 1, 2) if by_features else (2, 0, 1, 3))  # (B, T, G, F)

    found: Array = _by_platform(scan, projected, recurrent_kernel, carry, valid)
    return found


def _start(
    cell: Cell, projected: Array, kernel: Array, carry: Carry | None, lengths: Lengths
) -> tuple[Carry, Array | None]:
    """The checked carry to start from, and which steps are (T, B); None where all are."""
    state = jnp.float64 if projected.dtype == jnp.float64 else jnp.float32
    _check(cell, projected, kernel, carry)
    batch, steps, _ = projected.shape
    check_sizes(batch, steps)
    if carry is None:
        features = kernel.shape[-1]
        carry = tuple(jnp.zeros((batch, features), state) for _ in range(cell.carry_parts))
    valid = None
    if lengths is not None:
        valid = valid_steps(check_lengths(lengths, batch, steps, least=0), steps).T  # (T, B)
    return tuple(c.astype(state) for c in carry), valid


def _check(cell: Cell, projected: Array, kernel: Array, carry: Carry | None) -> None:
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


def _by_platform(scan: Callable, *arguments: Any) -> Any:
    return lax.platform_dependent(
        *arguments,
        cpu=lambda *given: scan(True, *given),
        default=lambda *given: scan(False, *given),
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
    how: How, projected: Array, kernel: Array, carry: Carry, valid: Array | None
) -> tuple[Array, Carry]:
    def scan(by_features: bool, *given: Any) -> tuple[Array, Carry]:
        return forward_scan(how, by_features, False, *given)[:2]

    return _by_platform(scan, projected, kernel, carry, valid)


def _forward(
    how: How, projected: Array, kernel: Array, carry: Carry, valid: Array | None
) -> tuple[tuple[Array, Carry], Any]:
    def scan(by_features: bool, *given: Any) -> tuple[Array, Carry, Kept | None]:
        return forward_scan(how, by_features, True, *given)

    y, last, kept = _by_platform(scan, projected, kernel, carry, valid)
    return (y, last), (projected, kernel, valid, kept)


def _backward(how: How, saved: Any, grads: tuple[Array, Carry]) -> Any:
    scan = partial(backward_scan, how)
    return *_by_platform(scan, *saved, *grads), None


_run.defvjp(_forward, _backward)
