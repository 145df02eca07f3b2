"""Batch normalisation with the statistics of the batch."""

import jax
import jax.numpy as jnp
from jax import Array


def batch_norm_train(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None = None
) -> tuple[Array, Array, Array]:
    """Normalises over all axes but the last.

    Args:
        x: (..., C).
        scale: (C,).
        bias: (C,).
        epsilon: Added to the variance.
        axis_name: Average the statistics over this named axis of devices too.

    Returns:
        y like x, and the batch's mean and (biased) variance, (C,) in float32 or better.
    """
    axes = tuple(range(x.ndim - 1))
    wide = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    mean = wide.mean(axes)
    if axis_name is not None:
        mean = jax.lax.pmean(mean, axis_name)
    expand = (1,) * (x.ndim - 1) + (-1,)
    centred = wide - mean.reshape(expand)
    var = jnp.square(centred).mean(axes)
    if axis_name is not None:
        var = jax.lax.pmean(var, axis_name)
    factor = jax.lax.rsqrt(var + epsilon) * scale.astype(wide.dtype)
    y = centred * factor.reshape(expand) + bias.astype(wide.dtype).reshape(expand)
    return y.astype(x.dtype), mean, var
