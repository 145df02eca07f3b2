"""Batch normalisation with the statistics of the batch, its backward pass in closed form."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

_Saved = tuple[Array, Array, Array, Array, Array]


def batch_norm_train(
    x: Array, scale: Array, bias: Array, epsilon: float, axis_name: str | None = None
) -> tuple[Array, Array, Array]:
    """Normalises over all axes but the last (Ioffe and Szegedy 2015).

    The backward pass reads x and the cotangent three times in all: two sums over the batch, then
    dx = a dy + b x + c with a, b and c of one value a channel.

    Args:
        x: (..., C).
        scale: (C,).
        bias: (C,).
        epsilon: Added to the variance.
        axis_name: Average the statistics over this named axis of devices too; as with any sum
            over devices, the gradients are then those of the sum of all devices' losses, and
            those of scale and bias are each device's own share of it.

    Returns:
        y like x, and the batch's mean and (biased) variance, (C,) in float32 or better.
    """
    return _batch_norm(epsilon, axis_name, x, scale, bias)


def _is_alone(axis_name: str | None) -> bool:
    """Whether there is no other device; XLA would not drop an average over one."""
    return axis_name is None or jax.lax.axis_size(axis_name) == 1


def _statistics(wide: Array, axis_name: str | None) -> tuple[Array, Array]:
    """Mean and variance over all axes but the last, (C,), of all devices together."""
    axes = tuple(range(wide.ndim - 1))
    mean = wide.mean(axes)  # (C,)
    # From the distances to the mean: the mean of the squares less the squared mean cancels.
    var = jnp.square(wide - _row(mean, wide.ndim)).mean(axes)  # (C,)
    if _is_alone(axis_name):
        return mean, var
    # The devices meet once: an average of means first and of variances then would be twice.
    means, variances = jax.lax.all_gather(jnp.stack([mean, var]), axis_name, axis=1)  # (n, C) each
    mean = means.mean(0)
    return mean, (variances + jnp.square(means - mean[None])).mean(0)


def _wide(x: Array) -> Array:
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def _row(value: Array, ndim: int) -> Array:
    """(C,) -> (1, ..., 1, C)."""
    return value.reshape((1,) * (ndim - 1) + (-1,))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _batch_norm(
    epsilon: float, axis_name: str | None, x: Array, scale: Array, bias: Array
) -> tuple[Array, Array, Array]:
    return _forward(epsilon, axis_name, x, scale, bias)[0]


def _forward(
    epsilon: float, axis_name: str | None, x: Array, scale: Array, bias: Array
) -> tuple[tuple[Array, Array, Array], _Saved]:
    wide = _wide(x)
    mean, var = _statistics(wide, axis_name)
    inverse = jax.lax.rsqrt(var + epsilon)
    factor = inverse * scale.astype(wide.dtype)
    y = (wide - _row(mean, x.ndim)) * _row(factor, x.ndim)
    y = (y + _row(bias.astype(wide.dtype), x.ndim)).astype(x.dtype)
    return (y, mean, var), (x, scale, bias, mean, inverse)


def _backward(
    epsilon: float, axis_name: str | None, saved: _Saved, grads: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    x, scale, bias, mean, inverse = saved
    grad, grad_mean, grad_var = grads
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    centred = _wide(x) - _row(mean, x.ndim)
    grad = _wide(grad)
    grad_bias = grad.sum(axes)  # (C,)
    grad_scale = (grad * centred).sum(axes) * inverse  # (C,)
    factor = inverse * scale.astype(inverse.dtype)
    # dL/dvar and dL/dmean, each divided by the number of values that one channel has.
    by_var = grad_var - grad_scale * factor * inverse / 2
    by_mean = grad_mean - grad_bias * factor
    if not _is_alone(axis_name):
        by_var, by_mean = jax.lax.pmean(jnp.stack([by_var, by_mean]), axis_name)
    by_var, by_mean = by_var / count, by_mean / count
    grad_x = grad * _row(factor, x.ndim) + centred * _row(2 * by_var, x.ndim)
    grad_x = grad_x + _row(by_mean, x.ndim)
    return grad_x.astype(x.dtype), grad_scale.astype(scale.dtype), grad_bias.astype(bias.dtype)


_batch_norm.defvjp(_forward, _backward)


class BatchNorm(nnx.Module):
    """y = (x - mean) / sqrt(var + epsilon) * scale + bias over all axes but the last.

    With `use_running_average` the stored statistics are used and stay as they are; otherwise
    those of the batch, and the stored ones move towards them:
    stored = momentum * stored + (1 - momentum) * batch.

    Args:
        features: Size C of the last axis.
        epsilon: Added to the variance; 1e-5 in PyTorch and in Caffe.
        momentum: Weight of the old statistics; PyTorch's `momentum=0.1` is 0.9 here.
        use_running_average: Whether to use the stored statistics; `model.train()` and
            `model.eval()` set it.
        axis_name: Mapped axis over which the batch statistics are averaged, or None.
    """

    def __init__(
        self,
        features: int,
        *,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        use_running_average: bool = True,
        axis_name: str | None = None,
    ) -> None:
        self.scale = nnx.Param(jnp.ones((features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((features,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((features,), jnp.float32))
        self.epsilon = epsilon
        self.momentum = momentum
        self.use_running_average = use_running_average
        self.axis_name = axis_name

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises x (..., C); the result has x's dtype."""
        scale, bias = self.scale[...], self.bias[...]
        if self.use_running_average:
            # Parameters may be half precision; the stored statistics are not.
            factor = scale.astype(self.var.dtype) * jax.lax.rsqrt(self.var[...] + self.epsilon)
            offset = bias.astype(self.var.dtype) - self.mean[...] * factor
            shape = (1,) * (x.ndim - 1) + factor.shape
            return x * factor.reshape(shape).astype(x.dtype) + offset.reshape(shape).astype(x.dtype)
        y, mean, var = batch_norm_train(x, scale, bias, self.epsilon, self.axis_name)
        for stored, batch in ((self.mean, mean), (self.var, var)):
            new = jax.lax.stop_gradient(batch).astype(stored.dtype)
            stored.set_value(self.momentum * stored[...] + (1 - self.momentum) * new)
        return y


def tile(norm: BatchNorm, times: int) -> BatchNorm:
    """A batch-norm whose C channels are repeated `times` over: (times * C,)."""
    new = BatchNorm(
        norm.scale.shape[0] * times,
        epsilon=norm.epsilon,
        momentum=norm.momentum,
        use_running_average=norm.use_running_average,
        axis_name=norm.axis_name,
    )
    for name in ("scale", "bias", "mean", "var"):
        getattr(new, name).set_value(jnp.tile(getattr(norm, name)[...], times))
    return new


def reset(norm: BatchNorm) -> None:
    """Sets scale, bias and stored statistics back to their initial values."""
    for name, value in (("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("var", 1.0)):
        array = getattr(norm, name)
        array.set_value(jnp.full_like(array[...], value))
