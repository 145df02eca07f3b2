"""Random scaling, cropping and mirroring. One draw serves all pictures of a clip."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """How training clips vary: a random part of the picture, mirrored at random.

    Attributes:
        scales: Sides of the crop, as parts of the picture's short side. Height and width are drawn
            separately, but never more than one place apart in this list.
        corners: Place crops in one of the four corners or in the centre; otherwise anywhere.
        flip: Probability of mirroring left and right. The x of flow then changes its sign.
    """

    scales: tuple[float, ...] = (1.0, 0.92, 0.85)
    corners: bool = False
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not self.scales or not all(0.0 < scale <= 1.0 for scale in self.scales):
            raise InputError(f"scales must lie in (0, 1], got {self.scales}")
        if not 0.0 <= self.flip <= 1.0:
            raise InputError(f"the probability of a flip must lie in 0 .. 1, got {self.flip}")


TSN_AUGMENTATION = Augmentation(scales=(1.0, 0.875, 0.75, 0.66), corners=True)
"""Multi-scale corner crops (Wang et al., ECCV 2016), for real videos of 256 or more pixels."""


class View(NamedTuple):
    """The part of a picture that is looked at, in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def draw_view(
    rng: np.random.Generator, height: int, width: int, augmentation: Augmentation
) -> View:
    """Draws the part of (height, width) pictures that a clip shows."""
    sides = [round(scale * min(height, width)) for scale in augmentation.scales]
    first = int(rng.integers(len(sides)))
    low, high = max(first - 1, 0), min(first + 1, len(sides) - 1)
    tall, wide = sides[first], sides[int(rng.integers(low, high + 1))]
    down, across = height - tall, width - wide
    if augmentation.corners:
        places = ((0, 0), (0, across), (down, 0), (down, across), (down // 2, across // 2))
        top, left = places[int(rng.integers(len(places)))]
    else:
        top, left = int(rng.integers(down + 1)), int(rng.integers(across + 1))
    return View(top, left, tall, wide, bool(rng.random() < augmentation.flip))


def centre_view(height: int, width: int, size: int) -> View:
    """Returns the middle square of (height, width) pictures for testing.

    Its side is `size` where that is at least 0.8 of the short side (such as 224 of 256), so that
    nothing is resized. Otherwise it is the whole short side.
    """
    short = min(height, width)
    side = size if 0.8 * short <= size <= short else short
    return View((height - side) // 2, (width - side) // 2, side, side, flip=False)


CROPS = 10
"""Number of `ten_views`."""


def ten_views(height: int, width: int, size: int) -> tuple[View, ...]:
    """The ten crops of testing: four corners and the centre, and all five mirrored.

    They are as large as `centre_view`.
    """
    centre = centre_view(height, width, size)
    down, across = height - centre.height, width - centre.width
    corners = [centre._replace(top=top, left=left) for top in (0, down) for left in (0, across)]
    straight = (*corners, centre)
    return (*straight, *(view._replace(flip=True) for view in straight))


def apply_view(picture: NDArray[np.uint8], view: View, size: int) -> NDArray[np.uint8]:
    """Cuts a view out of a picture (H, W) or (H, W, C) and brings it to (size, size[, C]).

    The values of flow are not rescaled, as is usual in the field. Their sign is not changed here.
    """
    rows = slice(view.top, view.top + view.height)
    part = picture[rows, view.left : view.left + view.width]
    if part.shape[:2] != (size, size):
        part = cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return cv2.flip(part, 1) if view.flip else part  # type: ignore[return-value]
