"""A network of VGG16's form for small pictures: few convolutions, then fc6, fc7 and fc8."""

from typing import Any, ClassVar

import jax
from flax import nnx

from prernn_jax.backbones.fully_connected import FullyConnected
from prernn_jax.backbones.remat import run_block
from prernn_jax.cpu.conv import conv_general_dilated

_he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
_he_fan_in = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")


class CompactVGG(FullyConnected):
    """3x3 convolutions of stride 2, `conv1`, `conv2`, ..., then fc6, fc7 and fc8.

    The flattening before fc6 is in H, W, C order, as in `VGG16`.

    Args:
        num_outputs: Outputs K.
        channels: Channels of each convolution; each halves height and width (rounded up).
        hidden: Features of fc6 and fc7.
        image_size: Height and width of the images in pixels.
        in_channels: Channels of the input.
        rngs: Source of the initial weights; seed 0 when None.
    """

    axes: ClassVar[str] = "HWC"

    def __init__(
        self,
        num_outputs: int = 136,
        channels: tuple[int, ...] = (16, 32, 64),
        hidden: int = 128,
        image_size: int = 48,
        in_channels: int = 3,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.channels, self.hidden, self.image_size = tuple(channels), hidden, image_size
        self.convs = tuple(f"conv{number}" for number in range(1, len(channels) + 1))
        inputs, side = in_channels, image_size
        for name, outputs in zip(self.convs, channels, strict=True):
            conv = nnx.Conv(
                inputs, outputs, (3, 3), 2, padding=1, kernel_init=_he_normal,
                conv_general_dilated=conv_general_dilated, rngs=rngs,
            )  # fmt: skip
            setattr(self, name, conv)
            inputs, side = outputs, (side + 1) // 2
        self.flat_features = side * side * inputs
        self.fc6 = nnx.Linear(self.flat_features, hidden, kernel_init=_he_fan_in, rngs=rngs)
        self.fc7 = nnx.Linear(hidden, hidden, kernel_init=_he_fan_in, rngs=rngs)
        self.fc8 = nnx.Linear(hidden, num_outputs, rngs=rngs)
        self.drop = nnx.Dropout(0.0)

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        size: int = getattr(self, self.convs[0]).in_features
        return size

    def trunk(self, x: jax.Array) -> jax.Array:
        """Images (N, H, W, C) -> the inputs of fc6 (N, D), flattened in H, W, C order."""
        given = x.shape

        def block(conv: Any, x: jax.Array) -> jax.Array:
            return nnx.relu(conv(x))  # (N, H/2, W/2, C')

        for name in self.convs:
            x = run_block(self.remat, block, getattr(self, name), x)
        return self.flattened(x, given, f"image_size={self.image_size}")
