"""A network for optical flow from one for RGB images (cross-modality initialisation)."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing

# Flow images are 128 where nothing moves; divided by 16 their values are of the size that the
# training programs use.
FLOW = Preprocessing(channels="flow", scale=1 / 16, mean=(8.0,))
_FIRST = ("conv1", "conv1a", "conv1_1")  # ResNet and CompactVGG, C3D, VGG16


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


def first_convolution(model: Any) -> str:
    """The name of a network's first convolution.

    Raises:
        InputError: The network has no convolution of a name that we know.
    """
    for name in _FIRST:
        if isinstance(getattr(model, name, None), nnx.Conv):
            return name
    raise InputError(
        f"{type(model).__name__} has no first convolution {', '.join(_FIRST)}; only one of "
        "our backbones can be turned into a network for flow"
    )


def for_flow(model: Any, channels: int) -> Any:
    """A copy of a network whose first convolution takes `channels` instead of its own.

    Args:
        model: One of our backbones.
        channels: 2L for a stack of L flow fields; 2 for clips of flow.

    Raises:
        InputError: The network has no first convolution of a name that our backbones use.
    """
    new = nnx.clone(model)
    first = getattr(new, first_convolution(model))
    first.kernel = nnx.Param(repeat_mean_channel(first.kernel[...], channels))
    first.in_features = channels
    return new
