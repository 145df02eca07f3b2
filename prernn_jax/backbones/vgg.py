"""VGG (Simonyan and Zisserman, ICLR 2015), channels last; VGG16 unless told otherwise.

Layer names are those of Caffe's `VGG_ILSVRC_16_layers`. The network classifies single images
(N, H, W, C); its fully connected layers can become recurrent (`head`).
"""

from functools import partial
from typing import Any, ClassVar, Literal

import jax
from flax import nnx

from prernn_jax.backbones.fully_connected import FullyConnected
from prernn_jax.backbones.remat import run_block
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.dense import dot_general
from prernn_jax.cpu.pool import max_pool
from prernn_jax.errors import InputError
from prernn_jax.layers.batch_norm import BatchNorm

Variant = Literal["torchvision", "caffe"]
STAGES = (2, 2, 3, 3, 3)  # convolutions before each pooling
FACTORS = (1, 2, 4, 8, 8)  # their channels, in units of the first stage's

_he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class VGG16(FullyConnected):
    """3x3 convolutions in five stages, thirteen unless told otherwise, then fc6, fc7 and fc8.

    The flattening before fc6 is in H, W, C order. Dropout follows fc6 and fc7 when a key is given.

    Args:
        num_outputs: Classes K.
        width: Channels of the first stage: 64 is VGG16, less gives a compact net of the same form.
        hidden: Features of fc6 and fc7; 4096 in VGG16.
        image_size: Height and width of the images in pixels: one number, or (height, width). It
            decides the inputs of fc6: 25088 at 224.
        in_channels: Channels of the input: 3 for RGB, 2L for a stack of L flow fields.
        dropout: Rate of the dropout.
        variant: How the 2x2 pooling treats an odd size: `torchvision` drops the last row, `caffe`
            keeps it (ceil mode). At 224 they are the same.
        stages: Convolutions before each pooling: (2, 2, 3, 3, 3) is VGG16, (1, 1, 2, 2, 2) VGG11,
            (2, 2, 2, 2, 2) VGG13, (2, 2, 4, 4, 4) VGG19.
        batch_norm: Put a batch-norm, `bn1_1` and so on, between each convolution and its ReLU.
        rngs: Source of the initial weights; seed 0 when None.

    Raises:
        InputError: There is no such variant, or the images are too small for five poolings.
    """

    axes: ClassVar[str] = "HWC"

    def __init__(
        self,
        num_outputs: int = 1000,
        width: int = 64,
        hidden: int = 4096,
        image_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        dropout: float = 0.5,
        variant: Variant = "torchvision",
        stages: tuple[int, ...] = STAGES,
        batch_norm: bool = False,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        if variant not in ("torchvision", "caffe"):
            raise InputError(f"variant is {variant!r}; expected 'torchvision' or 'caffe'")
        if len(stages) != len(FACTORS):
            raise InputError(f"stages is {stages}; expected {len(FACTORS)} numbers")
        self.stages = tuple(stages)
        self.batch_norm = batch_norm
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.width, self.hidden, self.image_size = width, hidden, image_size
        self.dropout, self.variant = dropout, variant
        height, breadth = (
            (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        )
        inputs = in_channels
        for stage, (count, factor) in enumerate(zip(stages, FACTORS, strict=True), start=1):
            for index in range(1, count + 1):
                conv = nnx.Conv(
                    inputs, width * factor, (3, 3), padding=1, kernel_init=_he_normal,
                    conv_general_dilated=conv_general_dilated, rngs=rngs,
                )  # fmt: skip
                setattr(self, f"conv{stage}_{index}", conv)
                if batch_norm:
                    setattr(self, f"bn{stage}_{index}", BatchNorm(width * factor))
                inputs = width * factor
            height, breadth = self._pooled(height), self._pooled(breadth)
        if height * breadth == 0:
            raise InputError(
                f"image_size is {image_size}; five poolings need 32 or more in each direction"
            )
        dense = partial(nnx.Linear, dot_general=dot_general, rngs=rngs)
        self.flat_features = height * breadth * inputs
        self.fc6 = dense(self.flat_features, hidden)
        self.fc7 = dense(hidden, hidden)
        self.fc8 = dense(hidden, num_outputs)
        self.drop = nnx.Dropout(dropout)

    def _pooled(self, size: int) -> int:
        return (size + 1) // 2 if self.variant == "caffe" else size // 2

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        first = "conv1_1"  # the convolutions are set by name, unknown to a type checker
        size: int = getattr(self, first).in_features
        return size

    def trunk(self, x: jax.Array) -> jax.Array:
        """Images (N, H, W, C) -> the inputs of fc6 (N, D), flattened in H, W, C order."""
        given = x.shape

        def block(layers: Any, x: jax.Array) -> jax.Array:
            for conv, norms in layers:
                x = conv(x)
                for norm in norms:
                    x = norm(x)
                x = nnx.relu(x)
            # Caffe's ceil mode: one row and column of -inf below and to the right of odd sizes.
            pads = [(0, 2 * self._pooled(size) - size) for size in x.shape[1:3]]
            padding = pads if self.variant == "caffe" else "VALID"
            return max_pool(x, (2, 2), (2, 2), padding)  # (N, H/2, W/2, C)

        for stage, count in enumerate(self.stages, start=1):
            names = [f"{stage}_{index}" for index in range(1, count + 1)]
            layers = [
                (getattr(self, f"conv{n}"), [getattr(self, f"bn{n}")] if self.batch_norm else [])
                for n in names
            ]
            x = run_block(self.remat, block, layers, x)
        return self.flattened(x, given, f"image_size={self.image_size}")
