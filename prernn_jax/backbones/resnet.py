"""ResNet with bottleneck blocks (He et al., CVPR 2016), as torchvision or Caffe has it.

Layer names are torchvision's. The network classifies single images (N, H, W, C); its last
convolution can become recurrent (`head`).
"""

from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.backbones.head import HeadLayer
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.pool import max_pool
from prernn_jax.errors import InputError
from prernn_jax.layers.batch_norm import BatchNorm

Variant = Literal["torchvision", "caffe"]
EXPANSION = 4  # channels that a block gives out for each one of its 3x3 convolution

_Conv = partial(nnx.Conv, conv_general_dilated=conv_general_dilated, padding=0)
_he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class Bottleneck(nnx.Module):
    """1x1, 3x3, 1x1 convolutions with batch-norm, and a shortcut around them.

    Args:
        inputs: Channels that come in.
        features: Channels F of the first two convolutions; the block gives out 4 F.
        stride: Step of the block over the image.
        variant: The stride lies in the 3x3 (`torchvision`) or in the first 1x1 (`caffe`).
        rngs: Source of the initial weights.
    """

    def __init__(
        self, inputs: int, features: int, stride: int, variant: Variant, *, rngs: nnx.Rngs
    ) -> None:
        outputs = EXPANSION * features
        conv = partial(_Conv, use_bias=False, kernel_init=_he_normal, rngs=rngs)
        first, second = (1, stride) if variant == "torchvision" else (stride, 1)
        self.conv1 = conv(inputs, features, (1, 1), first)
        self.bn1 = BatchNorm(features)
        self.conv2 = conv(features, features, (3, 3), second, padding=1)
        self.bn2 = BatchNorm(features)
        self.conv3 = conv(features, outputs, (1, 1), 1)
        self.bn3 = BatchNorm(outputs)
        if stride != 1 or inputs != outputs:
            projection = conv(inputs, outputs, (1, 1), stride)
            self.downsample = nnx.List([projection, BatchNorm(outputs)])
        else:
            self.downsample = nnx.List([])

    def before_last(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """X (N, H, W, I) -> the input of conv3 (N, h, w, F) and the shortcut (N, h, w, 4F)."""
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        shortcut = x
        for layer in self.downsample:
            shortcut = layer(shortcut)
        return y, shortcut

    def __call__(self, x: jax.Array) -> jax.Array:
        """X (N, H, W, I) -> (N, h, w, 4F)."""
        y, shortcut = self.before_last(x)
        return nnx.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNet(nnx.Module):
    """Bottleneck ResNet; with the default sizes, ResNet50.

    Args:
        stage_sizes: Blocks in each stage: (3, 4, 6, 3) is ResNet50.
        width: Channels of the stem and of the first stage's 3x3 convolutions; doubles from stage
            to stage. 64 is ResNet50, 32 its half-width variant.
        num_outputs: Classes K.
        in_channels: Channels of the input: 3 for RGB, 2L for a stack of L flow fields.
        variant: `torchvision`: stride in the 3x3, max-pool padded by 1 on both sides. `caffe`
            (KaimingHe/deep-residual-networks): stride in the first 1x1, max-pool padded by one on
            the right and the bottom only (Caffe's ceil mode), conv1 with a bias.
        rngs: Source of the initial weights; seed 0 when None.

    Raises:
        InputError: There is no such variant.
    """

    axes: ClassVar[str] = "HWC"

    def __init__(
        self,
        stage_sizes: tuple[int, ...] = (3, 4, 6, 3),
        width: int = 64,
        num_outputs: int = 1000,
        in_channels: int = 3,
        variant: Variant = "torchvision",
        *,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        if variant not in ("torchvision", "caffe"):
            raise InputError(f"variant is {variant!r}; expected 'torchvision' or 'caffe'")
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.width, self.variant = width, variant
        self.stage_sizes = tuple(stage_sizes)
        self.conv1 = _Conv(
            in_channels, width, (7, 7), 2, padding=3, use_bias=variant == "caffe",
            kernel_init=_he_normal, rngs=rngs,
        )  # fmt: skip
        self.bn1 = BatchNorm(width)
        inputs = width
        for number, size in enumerate(self.stage_sizes, start=1):
            features = width * 2 ** (number - 1)
            blocks = []
            for index in range(size):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(Bottleneck(inputs, features, stride, variant, rngs=rngs))
                inputs = EXPANSION * features
            setattr(self, f"layer{number}", nnx.List(blocks))
        self.fc = nnx.Linear(inputs, num_outputs, rngs=rngs)

    @property
    def num_outputs(self) -> int:
        """Outputs K of the output layer."""
        size: int = self.fc.out_features
        return size

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        size: int = self.conv1.in_features
        return size

    @property
    def head(self) -> tuple[HeadLayer, ...]:
        """The last convolution and the classifier."""
        last = f"layer{len(self.stage_sizes)}.{self.stage_sizes[-1] - 1}.conv3"
        return HeadLayer(last, nnx.relu), HeadLayer("fc")

    def trunk(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Everything before the last convolution.

        Args:
            x: Images (N, H, W, C).

        Returns:
            The last convolution's input (N, h, w, D) and the last block's shortcut (N, h, w, F).
        """
        x = nnx.relu(self.bn1(self.conv1(x)))  # (N, H/2, W/2, width)
        padding = (1, 1) if self.variant == "torchvision" else (0, 1)
        x = max_pool(x, (3, 3), (2, 2), (padding, padding))  # (N, H/4, W/4, width)
        blocks = [
            block
            for number in range(1, len(self.stage_sizes) + 1)
            for block in getattr(self, f"layer{number}")
        ]
        for block in blocks[:-1]:
            x = block(x)
        return blocks[-1].before_last(x)

    def features(self, x: jax.Array) -> jax.Array:
        """Images (N, H, W, C) -> the average-pooled features (N, F)."""
        y, shortcut = self.trunk(x)
        block = getattr(self, f"layer{len(self.stage_sizes)}")[-1]
        y = nnx.relu(block.bn3(block.conv3(y)) + shortcut)  # (N, h, w, F)
        return jnp.mean(y, axis=(1, 2))  # (N, F)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Images (N, H, W, C) -> logits (N, K)."""
        return self.fc(self.features(x))


ResNet50 = partial(ResNet, stage_sizes=(3, 4, 6, 3), width=64)
