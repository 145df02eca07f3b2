"""The eight symmetries of the square, on pictures, on flow, and on directions.

Symmetry g mirrors left and right if g is 4 or more, and then turns by g % 4 quarters, clockwise on
the screen. A flow field's vectors turn with the picture.
"""

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.media.flow import flip_flow_x

SYMMETRIES = 8


def turned_direction(direction: int, symmetry: int) -> int:
    """Where a direction points after a symmetry.

    Args:
        direction: 0 right, 1 down, 2 left, 3 up.
        symmetry: 0 to 7.
    """
    mirrored = (2 - direction) % 4 if symmetry >= 4 else direction
    return (mirrored + symmetry) % 4


def turn_pictures(pictures: NDArray[np.uint8], symmetry: int) -> NDArray[np.uint8]:
    """Turns square pictures (N, S, S, C); the result has memory of its own."""
    turned = pictures[:, :, ::-1] if symmetry >= 4 else pictures
    return np.ascontiguousarray(np.rot90(turned, -(symmetry % 4), axes=(1, 2)))


def turn_flow(stacks: NDArray[np.uint8], symmetry: int) -> NDArray[np.uint8]:
    """Turns stacks of quantised flow (N, S, S, 2 L) with channels x1, y1, x2, y2, ...

    A sign is changed as `flip_flow_x` does it.
    """
    if symmetry == 0:
        return stacks  # all real data: nothing is copied
    turned = turn_pictures(stacks, symmetry)
    x, y = turned[..., 0::2].copy(), turned[..., 1::2].copy()
    if symmetry >= 4:
        x = flip_flow_x(x)
    for _ in range(symmetry % 4):  # a quarter clockwise: (x, y) becomes (-y, x)
        x, y = flip_flow_x(y), x
    turned[..., 0::2], turned[..., 1::2] = x, y
    return turned
