"""Where Winograd's method is the faster one on a CPU, and with which tile."""

import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jax import Array

Pass = Literal["forward", "input gradient", "weight gradient"]

_CHANNELS = 64  # on either side; with fewer nothing was measured
_SIDE = 7  # of an output: smaller ones are mostly padding
_ABLE = (jnp.float32, jnp.float64)  # bfloat16 has no digits to lose

# From how many tiles of 4 x 4 outputs on, for each of the channels, these beat tiles of 2 x 2:
# with fewer, most of the time goes into writing the transformed kernel. See docs/performance.md.
_LARGE_TILES: dict[Pass, float] = {
    "forward": 1 / 3,
    "input gradient": 1 / 3,
    "weight gradient": 1 / 8,
}
_SMALL_TILES = 1 / 8  # and from how many of 2 x 2 on these beat the other forms


def tile_side(
    of: Pass, strides: Sequence[int], pads: Sequence[tuple[int, int]], x: Array, kernel: Array
) -> int:
    """Side m of the tiles for one pass of a convolution; 0 where another form is the better one.

    Args:
        of: The pass.
        strides: The convolution's strides, one for each spatial dimension.
        pads: (before, after) of each spatial dimension.
        x: Its input, (N, H, W, I) or (N, L, H, W, I).
        kernel: (kh, kw, I, O) or (kl, kh, kw, I, O).
    """
    sizes = [size + sum(pad) - 2 for size, pad in zip(x.shape[-3:-1], pads[-2:], strict=True)]
    able = (
        x.dtype in _ABLE
        and kernel.shape[-4:-2] == (3, 3)
        and set(strides) == {1}
        and min(pad for sides in pads for pad in sides) >= 0
        and max(pad for sides in pads[-2:] for pad in sides) <= 2
        and min(kernel.shape[-2:]) >= _CHANNELS
        and min(sizes) >= _SIDE
    )
    if not able:
        return 0
    images, channels = math.prod(x.shape[:-3]), max(kernel.shape[-2:])

    def tiles(m: int) -> int:
        return images * math.prod(-(-size // m) for size in sizes)

    if tiles(4) >= _LARGE_TILES[of] * channels:
        return 4
    return 2 if tiles(2) >= _SMALL_TILES * channels else 0
