"""C3D (Tran et al., ICCV 2015), channels last.

Layer names are those of Caffe's Sports-1M model without the `-1`. The network classifies short
clips (N, L, H, W, C); its fully connected layers can become recurrent (`head`).
"""

from collections.abc import Sequence
from functools import partial
from string import ascii_lowercase
from typing import Any, ClassVar, Literal

import jax
from flax import nnx

from prernn_jax.backbones.fully_connected import FullyConnected
from prernn_jax.backbones.remat import run_block
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.dense import dot_general
from prernn_jax.cpu.pool import max_pool
from prernn_jax.errors import InputError

Variant = Literal["caffe", "pytorch"]
STAGE_SIZES = (1, 1, 2, 2, 2)
"""Convolutions before each pooling."""

_he_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
Padding = tuple[tuple[int, int], ...]


class C3D(FullyConnected):
    """Eight 3x3x3 convolutions in five stages, then fc6, fc7 and fc8.

    The channels double from stage to stage up to eight times those of the first. The flattening
    before fc6 is in L, H, W, C order. Dropout follows fc6 and fc7 when a key is given.

    Args:
        num_outputs: Classes K; 487 in Sports-1M.
        width: Channels of the first convolution: 64 is C3D.
        hidden: Features of fc6 and fc7; 4096 in C3D.
        clip_length: Frames of a clip; 16 in C3D, 8 gives the same inputs of fc6.
        image_size: Height and width of the frames in pixels: one number, or (height, width). It
            decides the inputs of fc6: 8192 at 112.
        in_channels: Channels of a frame.
        dropout: Rate of the dropout.
        variant: Pooling. `caffe` keeps a last half-filled window (ceil mode): pool5 sees rows
            (0,1), (2,3), (4,5), (6). `pytorch` (the ports) drops it, but pads the last pooling by
            one row and column on both sides: (0), (1,2), (3,4), (5,6). A file of weights says
            which one they need.
        stage_sizes: Convolutions in each stage; fewer make a compact network for small clips.
        stride: Step of the first convolution over the image; 1 in C3D.
        rngs: Source of the initial weights; seed 0 when None.

    Raises:
        InputError: There is no such variant, or the clips are too small for the poolings.
    """

    axes: ClassVar[str] = "LHWC"

    def __init__(
        self,
        num_outputs: int = 487,
        width: int = 64,
        hidden: int = 4096,
        clip_length: int = 16,
        image_size: int | tuple[int, int] = 112,
        in_channels: int = 3,
        dropout: float = 0.5,
        variant: Variant = "caffe",
        stage_sizes: Sequence[int] = STAGE_SIZES,
        stride: int = 1,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        if variant not in ("caffe", "pytorch"):
            raise InputError(f"variant is {variant!r}; expected 'caffe' or 'pytorch'")
        rngs = nnx.Rngs(0) if rngs is None else rngs
        self.width, self.hidden = width, hidden
        self.clip_length, self.image_size = clip_length, image_size
        self.dropout, self.variant = dropout, variant
        self.stage_sizes, self.stride = tuple(stage_sizes), stride
        self.stages = tuple(
            tuple(f"conv{stage}{letter}" for letter in ascii_lowercase[:size])
            for stage, size in enumerate(stage_sizes, start=1)
        )
        image = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        inputs = in_channels
        sizes: tuple[int, ...] = (clip_length, *(-(-side // stride) for side in image))
        for stage, names in enumerate(self.stages, start=1):
            channels = width * min(2 ** (stage - 1), 8)
            for name in names:
                step = stride if name == "conv1a" else 1
                conv = nnx.Conv(
                    inputs, channels, (3, 3, 3), (1, step, step), padding=1,
                    kernel_init=_he_normal, conv_general_dilated=conv_general_dilated, rngs=rngs,
                )  # fmt: skip
                setattr(self, name, conv)
                inputs = channels
            if min(sizes) < 1:
                raise InputError(
                    f"clips of {clip_length} frames of size {image_size} are too small for "
                    f"{len(self.stages)} poolings; give longer or larger ones, or fewer stages"
                )
            window, padding = self.pooling(stage, sizes)
            sizes = tuple(
                (size + low + high - k) // k + 1
                for size, k, (low, high) in zip(sizes, window, padding, strict=True)
            )
        self.flat_features = inputs * sizes[0] * sizes[1] * sizes[2]
        dense = partial(nnx.Linear, dot_general=dot_general, rngs=rngs)
        self.fc6 = dense(self.flat_features, hidden)
        self.fc7 = dense(hidden, hidden)
        self.fc8 = dense(hidden, num_outputs)
        self.drop = nnx.Dropout(dropout)

    def pooling(self, stage: int, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], Padding]:
        """Window (= stride) and padding of a stage's pooling over (L, H, W)."""
        window = (1, 2, 2) if stage == 1 else (2, 2, 2)
        if self.variant == "caffe":
            padding = tuple((0, -size % k) for size, k in zip(sizes, window, strict=True))
            return window, padding
        # A clip too short for the last halving keeps its one frame, as in Caffe's ceil mode.
        window = (min(window[0], sizes[0]), *window[1:])
        side = (1, 1) if stage == len(self.stages) else (0, 0)
        return window, ((0, 0), side, side)

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        size: int = getattr(self, self.stages[0][0]).in_features
        return size

    def trunk(self, x: jax.Array) -> jax.Array:
        """Clips (N, L, H, W, C) -> the inputs of fc6 (N, D), flattened in L, H, W, C order."""
        given = x.shape

        def block(stage: int, convs: Any, x: jax.Array) -> jax.Array:
            for conv in convs:
                x = nnx.relu(conv(x))
            window, padding = self.pooling(stage, x.shape[1:4])
            return max_pool(x, window, window, padding)  # (N, L/2, H/2, W/2, C)

        for stage, names in enumerate(self.stages, start=1):
            convs = [getattr(self, name) for name in names]
            x = run_block(self.remat, partial(block, stage), convs, x)
        made_for = f"clip_length={self.clip_length}, image_size={self.image_size}"
        return self.flattened(x, given, made_for)
