"""Convolution: drop-in for `jax.lax.conv_general_dilated`, with fast gradients on CPU.

On a GPU everything is XLA's own (cuDNN). On a CPU a convolution with 3 x 3 taps and many channels
goes by Winograd's method (`winograd.py`), and so do its gradients. Otherwise the weight gradient
is a sum of products over shifted slices, a strided input gradient a set of dense convolutions
(`conv_gradients.py`), a 3-D convolution is built of 2-D ones (`conv_frames.py`), and one with a
window of one place is a product. `docs/performance.md` has the measurements.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from prernn_jax.cpu import winograd
from prernn_jax.cpu.conv_frames import convolve_frames
from prernn_jax.cpu.conv_gradients import (
    DIMENSIONS,
    input_gradient,
    weight_gradient,
    xla_has_fast_weight_gradient,
)
from prernn_jax.cpu.winograd_choice import tile_side

Pads = tuple[tuple[int, int], ...]
_Gradient = Callable[[Array, Array, Array], Array]  # of the input, the kernel and the cotangent


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

    Channels-last 2-D and 3-D convolutions without dilation and groups have their own gradients.
    These can be differentiated again, in either mode; forward mode without a gradient inside
    (`jax.jvp`, `jax.jacfwd`) is a TypeError. All others go to XLA as they come.

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


def _has_one_tap(pads: Pads, rhs: Array) -> bool:
    return set(rhs.shape[:-2]) == {1} and set(pads) == {(0, 0)}


def _on_cpu(
    convolve: Callable[..., Array],
    strides: Sequence[int],
    pads: Pads,
    precision: Any,
    lhs: Array,
    rhs: Array,
) -> Array:
    """The convolution for a CPU; `convolve` (`_conv` or `_plain`) is what does its planes."""
    if _has_one_tap(pads, rhs):
        met = lax.slice(lhs, [0] * lhs.ndim, lhs.shape, [1, *strides, 1])
        rows = met.reshape(-1, met.shape[-1])
        y = jnp.matmul(rows, rhs.reshape(rhs.shape[-2:]), precision=precision)
        return y.reshape(*met.shape[:-1], -1)
    if lhs.ndim == 5:
        plane = partial(convolve, tuple(strides[1:]), pads[1:], precision)
        return convolve_frames(plane, lhs, rhs, strides[0], pads[0])
    return _xla(strides, pads, precision, lhs, rhs)


def _plain(strides: tuple[int, ...], pads: Pads, precision: Any, lhs: Array, rhs: Array) -> Array:
    """The convolution with the derivatives that JAX gives it, in either mode."""
    xla = partial(_xla, strides, pads, precision)
    on_cpu = partial(_on_cpu, _plain, strides, pads, precision)
    if m := tile_side("forward", strides, pads, lhs, rhs):
        on_cpu = partial(winograd.convolve, pads=pads, m=m, precision=precision)
    elif lhs.ndim == 4 and not _has_one_tap(pads, rhs):
        return xla(lhs, rhs)
    return lax.platform_dependent(lhs, rhs, cpu=on_cpu, default=xla)


_conv = jax.custom_vjp(_plain, nondiff_argnums=(0, 1, 2))


def _conv_forward(
    strides: tuple[int, ...], pads: Pads, precision: Any, lhs: Array, rhs: Array
) -> tuple[Array, tuple[Array, Array]]:
    # Not `_conv`: derivatives of this are second derivatives, also in forward mode.
    return _plain(strides, pads, precision, lhs, rhs), (lhs, rhs)


def _gradients(convolve: Callable[[Array, Array], Array]) -> tuple[_Gradient, _Gradient]:
    """Those of the input and of the kernel, as JAX derives them."""

    def of_input(lhs: Array, rhs: Array, grad: Array) -> Array:
        return jax.vjp(lambda lhs: convolve(lhs, rhs), lhs)[1](grad)[0]

    def of_kernel(lhs: Array, rhs: Array, grad: Array) -> Array:
        return jax.vjp(lambda rhs: convolve(lhs, rhs), rhs)[1](grad)[0]

    return of_input, of_kernel


def _conv_backward(
    strides: tuple[int, ...], pads: Pads, precision: Any, saved: tuple[Array, Array], grad: Array
) -> tuple[Array, Array]:
    lhs, rhs = saved
    xla_input, xla_kernel = _gradients(partial(_xla, strides, pads, precision))
    # A 1x1 window's kernel gradient is JAX's, a product of x and grad as they lie. A transposed
    # copy of x would take in the operations that x comes from, since XLA's CPU compiler fuses
    # across barriers: in a ResNet each copy then computes the whole stage, column by column.
    on_cpu_input, on_cpu_kernel = _gradients(partial(_on_cpu, _conv, strides, pads, precision))

    def phases(lhs: Array, rhs: Array, grad: Array) -> Array:
        return input_gradient(grad, rhs, lhs.shape, strides, pads, precision)

    def products(lhs: Array, rhs: Array, grad: Array) -> Array:
        return weight_gradient(lhs, grad, rhs.shape[:2], strides, pads, precision)

    def tiles_of_input(lhs: Array, rhs: Array, grad: Array) -> Array:
        return winograd.input_gradient(grad, rhs, pads, side, precision)

    def tiles_of_kernel(lhs: Array, rhs: Array, grad: Array) -> Array:
        return winograd.weight_gradient(lhs, grad, pads, m, precision)

    if lhs.ndim == 4 and not _has_one_tap(pads, rhs):
        if max(strides) > 1 and min(min(pads)) >= 0:
            on_cpu_input = phases
        if not xla_has_fast_weight_gradient(lhs, rhs):
            on_cpu_kernel = products
    if side := tile_side("input gradient", strides, pads, lhs, rhs):
        on_cpu_input = tiles_of_input
    if m := tile_side("weight gradient", strides, pads, lhs, rhs):
        on_cpu_kernel = tiles_of_kernel
    # Each gradient is a branch of its own, so that XLA drops the one that nobody asks for.
    return (
        lax.platform_dependent(lhs, rhs, grad, cpu=on_cpu_input, default=xla_input),
        lax.platform_dependent(lhs, rhs, grad, cpu=on_cpu_kernel, default=xla_kernel),
    )


_conv.defvjp(_conv_forward, _conv_backward)
