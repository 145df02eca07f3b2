"""Max-pooling, channels last, of any number of spatial dimensions.

On a CPU XLA's window reduction and the scatter that is its gradient have no fast path: there the
maximum is taken over one strided slice for each place of the window, and the gradient is gathered
through the winner's number. On a GPU both are XLA's own.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_Sizes = tuple[int, ...]
_Pads = tuple[tuple[int, int], ...]


def max_pool(
    x: Array,
    window: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Array:
    """Maximum over windows of the spatial dimensions.

    Where several values of a window are the largest, the first gets the gradient. The gradient can
    be differentiated again, in either mode; forward mode without a gradient inside (`jax.jvp`,
    `jax.jacfwd`) is a TypeError.

    Args:
        x: (N, spatial..., C), floating point.
        window: Size of the window in each spatial dimension.
        strides: Step of the window in each spatial dimension.
        padding: "VALID", or (before, after) for each spatial dimension, filled with -inf.

    Returns:
        (N, pooled spatial..., C).
    """
    pads = [(0, 0)] * len(window) if isinstance(padding, str) else list(padding)
    return _max_pool(tuple(window), tuple(strides), tuple((a, b) for a, b in pads), x)


def _reduce_window(window: _Sizes, strides: _Sizes, pads: _Pads, x: Array) -> Array:
    return lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),  # not traced: XLA must see that this is a maximum
        lax.max,
        (1, *window, 1),
        (1, *strides, 1),
        [(0, 0), *pads, (0, 0)],
    )


def _slices(window: _Sizes, strides: _Sizes, pads: _Pads, x: Array) -> list[Array]:
    """For each place of the window, what stands there in all windows: (N, pooled..., C) each."""
    x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), [(0, 0, 0), *((*p, 0) for p in pads), (0, 0, 0)])
    last = [
        (size - length) // stride * stride
        for size, length, stride in zip(x.shape[1:-1], window, strides, strict=True)
    ]
    return [
        lax.slice(
            x,
            (0, *place, 0),
            (x.shape[0], *(i + n + 1 for i, n in zip(place, last, strict=True)), x.shape[-1]),
            (1, *strides, 1),
        )
        for place in itertools.product(*map(range, window))
    ]


def _maximum(window: _Sizes, strides: _Sizes, pads: _Pads, x: Array) -> Array:
    return functools.reduce(jnp.maximum, _slices(window, strides, pads, x))


def _gather(window: _Sizes, strides: _Sizes, pads: _Pads, x: Array, y: Array, grad: Array) -> Array:
    places = list(itertools.product(*map(range, window)))
    none = jnp.array(len(places), jnp.int32)
    winner = jnp.full(y.shape, none)
    numbered = list(enumerate(_slices(window, strides, pads, x)))
    for number, part in reversed(numbered):
        winner = jnp.where(part == y, jnp.int32(number), winner)
    # Computed once, not anew for each place that reads it.
    winner = lax.optimization_barrier(winner)
    zero = jnp.zeros((), grad.dtype)
    padded = [size + sum(pad) for size, pad in zip(x.shape[1:-1], pads, strict=True)]
    counts = [-(-size // stride) for size, stride in zip(padded, strides, strict=True)]

    def moved(array: Array, steps: list[int], fill: Array) -> Array:
        around = [
            (step, count - size - step, 0)
            for step, count, size in zip(steps, counts, array.shape[1:-1], strict=True)
        ]
        return lax.pad(array, fill, [(0, 0, 0), *around, (0, 0, 0)])

    def phase(offsets: _Sizes) -> Array:
        """The gradient of the inputs at these distances from the multiples of the strides."""
        total = jnp.zeros((x.shape[0], *counts, x.shape[-1]), grad.dtype)
        reach = [range(o, w, s) for o, w, s in zip(offsets, window, strides, strict=True)]
        for place in itertools.product(*reach):
            steps = [i // stride for i, stride in zip(place, strides, strict=True)]
            won = moved(winner, steps, none) == jnp.int32(places.index(place))
            total = total + jnp.where(won, moved(grad, steps, zero), zero)
        return total

    def interleaved(offsets: _Sizes) -> Array:
        dimension = len(offsets)
        if dimension == len(strides):
            return phase(offsets)
        phases = [interleaved((*offsets, r)) for r in range(strides[dimension])]
        return jnp.stack(phases, axis=dimension + 2)

    full = interleaved(())  # (N, H'/s, s, W'/s, s, C)
    sizes = [count * stride for count, stride in zip(counts, strides, strict=True)]
    full = full.reshape(x.shape[0], *sizes, x.shape[-1])  # (N, H', W', C)
    starts = [before for before, _ in pads]
    stops = [before + size for before, size in zip(starts, x.shape[1:-1], strict=True)]
    return lax.slice(full, (0, *starts, 0), (x.shape[0], *stops, x.shape[-1]))


def _pooled(window: _Sizes, strides: _Sizes, pads: _Pads, x: Array) -> Array:
    slices = functools.partial(_maximum, window, strides, pads)
    xla = functools.partial(_reduce_window, window, strides, pads)
    return lax.platform_dependent(x, cpu=slices, default=xla)


_max_pool = jax.custom_vjp(_pooled, nondiff_argnums=(0, 1, 2))
# What the gradient's own derivatives go through, in either mode: they have to give a window's
# slope to the first of its largest values too, and JAX's for `jnp.maximum` would share it out.
_with_tangent = jax.custom_jvp(_pooled, nondiff_argnums=(0, 1, 2))


@_with_tangent.defjvp
def _tangent(
    window: _Sizes, strides: _Sizes, pads: _Pads, given: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (x,), (dx,) = given, tangents
    y = _with_tangent(window, strides, pads, x)
    dy = jnp.zeros(y.shape, dx.dtype)
    parts = _slices(window, strides, pads, x), _slices(window, strides, pads, dx)
    for part, slope in reversed(list(zip(*parts, strict=True))):
        dy = jnp.where(part == y, slope, dy)
    return y, dy


def _forward(
    window: _Sizes, strides: _Sizes, pads: _Pads, x: Array
) -> tuple[Array, tuple[Array, Array]]:
    y = _with_tangent(window, strides, pads, x)
    return y, (x, y)


def _backward(
    window: _Sizes, strides: _Sizes, pads: _Pads, saved: tuple[Array, Array], grad: Array
) -> tuple[Array]:
    def xla(x: Array, y: Array, grad: Array) -> Array:
        return jax.vjp(functools.partial(_reduce_window, window, strides, pads), x)[1](grad)[0]

    gather = functools.partial(_gather, window, strides, pads)
    return (lax.platform_dependent(*saved, grad, cpu=gather, default=xla),)


_max_pool.defvjp(_forward, _backward)
