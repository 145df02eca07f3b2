"""What the port knows of a network besides its tables: sizes from shapes, and preprocessing."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prernn_jax.preprocess import CAFFE, TORCHVISION, Preprocessing
from weights_port.mapping import Layout

Shapes = Mapping[str, tuple[int, ...]]
RGB = dataclasses.replace(TORCHVISION, resize=256, crop=(224, 224))
BGR = dataclasses.replace(CAFFE, resize=256, crop=(224, 224), antialias=False)


@dataclass(frozen=True)
class Architecture:
    """One of the networks that can be ported.

    Attributes:
        name: What `--arch` calls it.
        backbone: Its name in a file's metadata, see `prernn_jax.files.backbones`.
        layouts: The tables; the first of a family is the published one.
        infer: From the shapes in a file, by our names, the constructor's arguments. Where a
            shape is missing it takes the published network's.
        image_size: Of the published network, to which the layouts' preprocessing belongs.
        channels: Channels of the last feature map in units of `width`, for the first dense layer.
        first: The kernel with which the network begins.
        classifier: The output layer.
        depth: The arguments that tell this network from its siblings; none where a name stands
            for the whole family.
    """

    name: str
    backbone: str
    layouts: tuple[Layout, ...]
    infer: Callable[[Shapes, Layout], dict[str, Any]]
    image_size: int
    channels: int
    first: str
    classifier: str
    depth: Mapping[str, Any] = field(default_factory=dict)

    def named(self, name: str) -> list[Layout]:
        """The layouts of that name; siblings may share it."""
        return [layout for layout in self.layouts if layout.name == name]


def axis(shapes: Shapes, name: str, index: int, default: int) -> int:
    """One axis of an array's shape; the default where there is no such array or axis."""
    shape = shapes.get(name, ())
    return shape[index] if -len(shape) <= index < len(shape) else default


def side(places: int, default: int) -> int:
    """The side of a square of so many places; the default where it is none."""
    root = math.isqrt(max(places, 0))
    return root if root > 0 and root * root == places else default


def scaled(preprocessing: Preprocessing, size: int, published: int) -> Preprocessing:
    """The same resize and crop for a network of another image size."""
    if size == published:
        return preprocessing

    def scale(value: int) -> int:
        return round(value * size / published)

    resize, crop = preprocessing.resize, preprocessing.crop
    return dataclasses.replace(
        preprocessing,
        resize=(scale(resize[0]), scale(resize[1])) if isinstance(resize, tuple)
        else None if resize is None else scale(resize),
        crop=None if crop is None else (scale(crop[0]), scale(crop[1])),
    )  # fmt: skip
