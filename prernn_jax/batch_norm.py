"""Batch normalisation as a module: batch or stored statistics, averaged over devices."""

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.ops.batch_norm import batch_norm_train


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
