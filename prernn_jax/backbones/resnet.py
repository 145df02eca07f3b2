"""ResNet (He et al., CVPR 2016), as torchvision or Caffe has it.

Layer names are torchvision's. The network classifies single images (N, H, W, C); its last
convolution can become recurrent (`head`).
"""

from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.backbones.head import HeadLayer
from prernn_jax.backbones.remat import Remat, run_block, run_stage
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.pool import max_pool
from prernn_jax.errors import InputError
from prernn_jax.layers.batch_norm import BatchNorm

Variant = Literal["torchvision", "caffe"]
Block = Literal["bottleneck", "basic"]
Place = Literal["first", "second"]  # of a block's convolutions
Pool = Literal["both", "end"]  # the sides on which the first max-pool is padded
EXPANSION = 4  # channels that a bottleneck gives out for each one of its 3x3 convolution

_Conv = partial(nnx.Conv, conv_general_dilated=conv_general_dilated, padding=0)
_he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class Bottleneck(nnx.Module):
    """1x1, 3x3, 1x1 convolutions with batch-norm, and a shortcut around them.

    Args:
        inputs: Channels that come in.
        features: Channels F of the first two convolutions; the block gives out 4 F.
        stride: Step of the block over the image.
        place: The convolution that makes the step: the `second` is the 3x3.
        epsilon: Constant added to the variance in the batch-norms.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        stride: int,
        place: Place = "second",
        epsilon: float = 1e-5,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        outputs = EXPANSION * features
        conv = partial(_Conv, use_bias=False, kernel_init=_he_normal, rngs=rngs)
        first, second = (1, stride) if place == "second" else (stride, 1)
        self.conv1 = conv(inputs, features, (1, 1), first)
        self.bn1 = BatchNorm(features, epsilon=epsilon)
        self.conv2 = conv(features, features, (3, 3), second, padding=1)
        self.bn2 = BatchNorm(features, epsilon=epsilon)
        self.conv3 = conv(features, outputs, (1, 1), 1)
        self.bn3 = BatchNorm(outputs, epsilon=epsilon)
        self.downsample = _shortcut(inputs, outputs, stride, epsilon, rngs)

    def before_last(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """X (N, H, W, I) -> the input of conv3 (N, h, w, F) and the shortcut (N, h, w, 4F)."""
        y = nnx.relu(self.bn1(self.conv1(x)))
        y = nnx.relu(self.bn2(self.conv2(y)))
        return y, _through(self.downsample, x)

    def last(self, y: jax.Array, shortcut: jax.Array) -> jax.Array:
        """What `before_last` gave -> the block's output (N, h, w, 4F)."""
        return nnx.relu(self.bn3(self.conv3(y)) + shortcut)

    def __call__(self, x: jax.Array) -> jax.Array:
        """X (N, H, W, I) -> (N, h, w, 4F)."""
        return self.last(*self.before_last(x))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with batch-norm, and a shortcut around them (ResNet-18 and 34).

    Args:
        inputs: Channels that come in.
        features: Channels F of both convolutions and of the output.
        stride: Step of the block over the image; the first convolution makes it.
        place: Not used: there is one place for the stride.
        epsilon: Constant added to the variance in the batch-norms.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        stride: int,
        place: Place = "first",
        epsilon: float = 1e-5,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        conv = partial(_Conv, use_bias=False, kernel_init=_he_normal, padding=1, rngs=rngs)
        self.conv1 = conv(inputs, features, (3, 3), stride)
        self.bn1 = BatchNorm(features, epsilon=epsilon)
        self.conv2 = conv(features, features, (3, 3), 1)
        self.bn2 = BatchNorm(features, epsilon=epsilon)
        self.downsample = _shortcut(inputs, features, stride, epsilon, rngs)

    def before_last(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """X (N, H, W, I) -> the input of conv2 and the shortcut, both (N, h, w, F)."""
        return nnx.relu(self.bn1(self.conv1(x))), _through(self.downsample, x)

    def last(self, y: jax.Array, shortcut: jax.Array) -> jax.Array:
        """What `before_last` gave -> the block's output (N, h, w, F)."""
        return nnx.relu(self.bn2(self.conv2(y)) + shortcut)

    def __call__(self, x: jax.Array) -> jax.Array:
        """X (N, H, W, I) -> (N, h, w, F)."""
        return self.last(*self.before_last(x))


def _shortcut(inputs: int, outputs: int, stride: int, epsilon: float, rngs: nnx.Rngs) -> nnx.List:
    """A strided 1x1 convolution with batch-norm, or nothing where the shapes agree."""
    if stride == 1 and inputs == outputs:
        return nnx.List([])
    projection = _Conv(
        inputs, outputs, (1, 1), stride, use_bias=False, kernel_init=_he_normal, rngs=rngs
    )
    return nnx.List([projection, BatchNorm(outputs, epsilon=epsilon)])


def _through(layers: Any, x: jax.Array) -> jax.Array:
    for layer in layers:
        x = layer(x)
    return x


class ResNet(nnx.Module):
    """ResNet; with the default sizes, ResNet50.

    Args:
        stage_sizes: Blocks in each stage: (3, 4, 6, 3) is ResNet50, and with basic blocks
            ResNet34; (3, 4, 23, 3) ResNet101; (3, 8, 36, 3) ResNet152; basic (2, 2, 2, 2)
            ResNet18.
        width: Channels of the first stage's 3x3 convolutions; doubles from stage to stage. 64 is
            ResNet50, 32 its half-width variant.
        num_outputs: Classes K.
        in_channels: Channels of the input: 3 for RGB, 2L for a stack of L flow fields.
        variant: `torchvision`: stride in the 3x3, max-pool padded by 1 on both sides. `caffe`
            (KaimingHe/deep-residual-networks): stride in the first 1x1, max-pool padded by one on
            the right and the bottom only (Caffe's ceil mode), conv1 with a bias.
        block: Three convolutions in a block, or two. With `basic` blocks no convolution of the
            head can become recurrent, as the last one is no 1x1.
        place: Which convolution of a bottleneck makes the stride; None: as `variant` says.
        pool: Padding of the max-pool, on `both` sides or at the `end`; None: as `variant` says.
        stem_bias: Whether conv1 has a bias; None: as `variant` says.
        epsilon: Constant added to the variance in the batch-norms: 1e-5 in PyTorch and
            Caffe, 1.001e-5 or 1e-3 in Keras.
        stem_width: Channels of the first convolution; None: as many as `width`.
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
        block: Block = "bottleneck",
        place: Place | None = None,
        pool: Pool | None = None,
        stem_bias: bool | None = None,
        epsilon: float = 1e-5,
        stem_width: int | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        if variant not in ("torchvision", "caffe"):
            raise InputError(f"variant is {variant!r}; expected 'torchvision' or 'caffe'")
        caffe = variant == "caffe"
        # As given: a backbone is saved by its constructor's arguments.
        self.block, self.place, self.pool = block, place, pool
        self.stem_bias, self.epsilon, self.stem_width = stem_bias, epsilon, stem_width
        place = place or ("first" if caffe else "second")
        pool = pool or ("end" if caffe else "both")
        for name, value, able in (
            ("block", block, ("bottleneck", "basic")),
            ("place", place, ("first", "second")),
            ("pool", pool, ("both", "end")),
        ):
            if value not in able:
                raise InputError(f"{name} is {value!r}; expected {able[0]!r} or {able[1]!r}")
        self.padding = (1, 1) if pool == "both" else (0, 1)
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.remat: Remat = "none"
        self.width, self.variant = width, variant
        self.stage_sizes = tuple(stage_sizes)
        inputs = width if stem_width is None else stem_width
        self.conv1 = _Conv(
            in_channels, inputs, (7, 7), 2, padding=3,
            use_bias=caffe if stem_bias is None else stem_bias,
            kernel_init=_he_normal, rngs=rngs,
        )  # fmt: skip
        self.bn1 = BatchNorm(inputs, epsilon=epsilon)
        make = Bottleneck if block == "bottleneck" else BasicBlock
        for number, size in enumerate(self.stage_sizes, start=1):
            features = width * 2 ** (number - 1)
            blocks = []
            for index in range(size):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(make(inputs, features, stride, place, epsilon, rngs=rngs))
                inputs = features * (EXPANSION if block == "bottleneck" else 1)
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
        """The last convolution where it is a 1x1, and the classifier."""
        if self.block == "basic":
            return (HeadLayer("fc"),)
        last = f"layer{len(self.stage_sizes)}.{self.stage_sizes[-1] - 1}.conv3"
        return HeadLayer(last, nnx.relu), HeadLayer("fc")

    def trunk(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Everything before the last convolution.

        Args:
            x: Images (N, H, W, C).

        Returns:
            The last convolution's input (N, h, w, D) and the last block's shortcut (N, h, w, F).
        """

        def stem(layers: Any, x: jax.Array) -> jax.Array:
            x = nnx.relu(_through(layers, x))  # (N, H/2, W/2, stem)
            return max_pool(x, (3, 3), (2, 2), (self.padding, self.padding))

        def through(blocks: Any, x: jax.Array) -> jax.Array:
            for block in blocks:
                x = run_block(self.remat, lambda block, x: block(x), block, x)
            return x

        x = run_block(self.remat, stem, [self.conv1, self.bn1], x)  # (N, H/4, W/4, stem)
        stages = [list(getattr(self, f"layer{n + 1}")) for n in range(len(self.stage_sizes))]
        last = stages[-1].pop()
        for blocks in filter(None, stages):
            x = run_stage(self.remat, through, blocks, x)
        found: tuple[jax.Array, jax.Array] = run_block(
            self.remat, lambda block, x: block.before_last(x), last, x
        )
        return found

    def features(self, x: jax.Array) -> jax.Array:
        """Images (N, H, W, C) -> the average-pooled features (N, F)."""
        y, shortcut = self.trunk(x)
        block = getattr(self, f"layer{len(self.stage_sizes)}")[-1]
        return jnp.mean(block.last(y, shortcut), axis=(1, 2))  # (N, F)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Images (N, H, W, C) -> logits (N, K)."""
        return self.fc(self.features(x))


ResNet50 = partial(ResNet, stage_sizes=(3, 4, 6, 3), width=64)
