"""Convolution: drop-in for `jax.lax.conv_general_dilated`, with fast gradients on CPU.

On a GPU everything is XLA's own (cuDNN); on a CPU the weight gradient is a sum of products over
shifted slices, a strided input gradient a set of dense convolutions (`conv_gradients.py`), and
a 3-D convolution is built of 2-D ones. `docs/performance.md` has the measurements.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from prernn_jax.ops.conv_gradients import (
    DIMENSIONS,
    input_gradient,
    weight_gradient,
    xla_has_fast_weight_gradient,
)

Pads = tuple[tuple[int, int], ...]

_STACK_CHANNELS = 64  # up to here frames stacked as channels measure better than a sum


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: Any = None,
    **others: Any,
) -> Array:
    """Convolves as `jax.lax.conv_general_dilated` does; takes the same arguments.

    Channels-last 2-D and 3-D convolutions without dilation and groups have their own gradients
    (and no forward-mode derivative); all others go to XLA as they come.

    Args:
        lhs: Input, (N, H, W, I) or (N, L, H, W, I) on the fast path.
        rhs: Kernel, (kh, kw, I, O) or (kl, kh, kw, I, O) on the fast path.
        window_strides: One for each spatial dimension.
        padding: (before, after) for each spatial dimension, "SAME", "SAME_LOWER" or "VALID".
        lhs_dilation: As in `jax.lax`.
        rhs_dilation: As in `jax.lax`.
        dimension_numbers: As in `jax.lax`.
        feature_group_count: As in `jax.lax`.
        batch_group_count: As in `jax.lax`.
        precision: As in `jax.lax`.
        preferred_element_type: As in `jax.lax`.
        **others: Passed on.

    Returns:
        The convolved array, (N, h, w, O) or (N, l, h, w, O) on the fast path.
    """
    dilations = [*(lhs_dilation or ()), *(rhs_dilation or ())]
    plain = (
        lhs.ndim in (4, 5)
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and preferred_element_type in (None, lhs.dtype)
        and feature_group_count == batch_group_count == 1
        and all(dilation == 1 for dilation in dilations)
        and all(value is None for value in others.values())
        and _channels_last(lhs, rhs, dimension_numbers)
    )
    if not plain:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
            **others,
        )
    strides = tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:-1], rhs.shape[:-2], strides, padding)
    pads = tuple((int(before), int(after)) for before, after in padding)
    hashable = tuple(precision) if isinstance(precision, list) else precision
    return _conv(strides, pads, hashable, lhs, rhs)


def _channels_last(lhs: Array, rhs: Array, dimension_numbers: Any) -> bool:
    spatial = tuple(range(1, lhs.ndim - 1))
    wanted = lax.ConvDimensionNumbers(
        (0, lhs.ndim - 1, *spatial),
        (lhs.ndim - 1, lhs.ndim - 2, *range(lhs.ndim - 2)),
        (0, lhs.ndim - 1, *spatial),
    )
    return lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) == wanted


def _xla(strides: Sequence[int], pads: Pads, precision: Any, lhs: Array, rhs: Array) -> Array:
    dimensions = DIMENSIONS if lhs.ndim == 4 else ("NDHWC", "DHWIO", "NDHWC")
    return lax.conv_general_dilated(
        lhs, rhs, strides, pads, dimension_numbers=dimensions, precision=precision
    )


def _of_planes(strides: Sequence[int], pads: Pads, precision: Any, lhs: Array, rhs: Array) -> Array:
    """A 3-D convolution built of 2-D ones over the frames."""
    before, after = pads[0]
    zero = jnp.zeros((), lhs.dtype)
    # A crop or padding of the frames: (N, L', H, W, I)
    lhs = lax.pad(lhs, zero, [(0, 0, 0), (before, after, 0), *[(0, 0, 0)] * 3])
    depth = rhs.shape[0]
    frames = (lhs.shape[1] - depth) // strides[0] + 1
    last = (frames - 1) * strides[0] + 1
    shifted = [
        lax.slice_in_dim(lhs, k, k + last, strides[0], axis=1).reshape(-1, *lhs.shape[2:])
        for k in range(depth)
    ]  # each (N*l, H, W, I)
    conv = partial(_conv, tuple(strides[1:]), pads[1:], precision)
    if lhs.shape[-1] <= _STACK_CHANNELS:
        # (kl, kh, kw, I, O) -> (kh, kw, kl*I, O), as the frames lie side by side
        kernel = jnp.concatenate(list(rhs), axis=2)
        y = conv(jnp.concatenate(shifted, axis=-1), kernel)
    else:
        y = sum(map(conv, shifted[1:], rhs[1:]), conv(shifted[0], rhs[0]))
    return y.reshape(lhs.shape[0], frames, *y.shape[1:])  # (N, l, h, w, O)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _conv(strides: tuple[int, ...], pads: Pads, precision: Any, lhs: Array, rhs: Array) -> Array:
    xla = partial(_xla, strides, pads, precision)
    if lhs.ndim == 4:
        return xla(lhs, rhs)
    planes = partial(_of_planes, strides, pads, precision)
    return lax.platform_dependent(lhs, rhs, cpu=planes, default=xla)


def _conv_forward(
    strides: tuple[int, ...], pads: Pads, precision: Any, lhs: Array, rhs: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _conv(strides, pads, precision, lhs, rhs), (lhs, rhs)


def _conv_backward(
    strides: tuple[int, ...], pads: Pads, precision: Any, saved: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
    # Each gradient is a branch of its own, so that XLA drops the one that nobody asks for.
    lhs, rhs = saved
    xla = partial(_xla, strides, pads, precision)

    def xla_input(lhs: Array, rhs: Array, grad: Array) -> Array:
        return jax.vjp(lambda lhs: xla(lhs, rhs), lhs)[1](grad)[0]

    def xla_weight(lhs: Array, rhs: Array, grad: Array) -> Array:
        return jax.vjp(lambda rhs: xla(lhs, rhs), rhs)[1](grad)[0]

    def planes_input(lhs: Array, rhs: Array, grad: Array) -> Array:
        return jax.vjp(lambda lhs: _of_planes(strides, pads, precision, lhs, rhs), lhs)[1](grad)[0]

    def planes_weight(lhs: Array, rhs: Array, grad: Array) -> Array:
        return jax.vjp(lambda rhs: _of_planes(strides, pads, precision, lhs, rhs), rhs)[1](grad)[0]

    def phases(lhs: Array, rhs: Array, grad: Array) -> Array:
        return input_gradient(grad, rhs, lhs.shape, strides, pads, precision)

    def products(lhs: Array, rhs: Array, grad: Array) -> Array:
        return weight_gradient(lhs, grad, rhs.shape[:2], strides, pads, precision)

    on_cpu_input, on_cpu_weight = planes_input, planes_weight
    if lhs.ndim == 4:
        phased = max(strides) > 1 and min(min(pads)) >= 0
        on_cpu_input = phases if phased else xla_input
        slow = not xla_has_fast_weight_gradient(lhs, rhs)
        on_cpu_weight = products if slow else xla_weight
    return (
        lax.platform_dependent(lhs, rhs, grad, cpu=on_cpu_input, default=xla_input),
        lax.platform_dependent(lhs, rhs, grad, cpu=on_cpu_weight, default=xla_weight),
    )


_conv.defvjp(_conv_forward, _conv_backward)
