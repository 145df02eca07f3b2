"""A network for optical flow from one for RGB images (cross-modality initialisation)."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from prernn_jax.errors import InputError


def repeat_mean_channel(kernel: Array, channels: int) -> Array:
    """Averages a convolution over its input channels and repeats the mean, without rescaling.

    Wang et al., "Temporal Segment Networks" (ECCV 2016), section 3.2.

    Args:
        kernel: (..., C, F).
        channels: Input channels of the new kernel, 2L for a stack of L flow fields.

    Returns:
        (..., channels, F).
    """
    return jnp.repeat(jnp.mean(kernel, axis=-2, keepdims=True), channels, axis=-2)


def for_flow(model: Any, channels: int) -> Any:
    """A copy of a network whose first convolution takes `channels` instead of its own.

    Args:
        model: A backbone with a first convolution named `conv1` or `conv1a`: ResNet, C3D.
        channels: 2L for a stack of L flow fields; 2 for clips of flow.

    Raises:
        InputError: The network has no convolution of that name.
    """
    names = [n for n in ("conv1", "conv1a") if isinstance(getattr(model, n, None), nnx.Conv)]
    if not names:
        raise InputError(
            f"{type(model).__name__} has no first convolution `conv1` or `conv1a`: only a ResNet "
            "or a C3D can be turned into a network for flow"
        )
    new = nnx.clone(model)
    first = getattr(new, names[0])
    first.kernel = nnx.Param(repeat_mean_channel(first.kernel[...], channels))
    first.in_features = channels
    return new
