"""NVGesture as the training program sees it: classes and random-access splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from prernn_jax.data.gesture.nvgesture import MIRROR, read_listing
from prernn_jax.data.media.augment import Augmentation
from prernn_jax.data.prepared.clip_files import Flow, Recipe, prepared_clips
from prernn_jax.data.records import RandomAccessSource
from prernn_jax.errors import InputError

Modality = Literal["color", "depth", "flow"]
SHORT_SIDE = 128
"""Of prepared gestures: 320x240 become 171x128, of which C3D is given 112x112."""


@dataclass(frozen=True)
class GestureData:
    """A data set of labelled gestures.

    Attributes:
        classes: names; a record's `label` counts in them.
        splits: Name of a split -> its records (prernn_jax.data.records).
        modality: What a network is to be given: the records' `frames` (for depth they are grey: one
            channel, which decoding as RGB repeats) or their `flow_x` and `flow_y`.
        mirror: Class that a mirrored clip shows, where it is another one.
        augmentation: How its training clips are best varied.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, RandomAccessSource]
    modality: Modality
    mirror: Mapping[int, int] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)


def gesture_recipe(modality: Modality, flow: Flow, short_side: int = SHORT_SIDE) -> Recipe:
    """Returns how a modality is prepared; color and its flow are prepared together.

    Raises:
        InputError: Unknown modality, or flow without an algorithm.
    """
    if modality not in get_args(Modality):
        raise InputError(f"modality is {modality!r}; expected one of {get_args(Modality)}")
    if modality == "flow" and flow == "none":
        raise InputError("the modality flow needs an algorithm: dis or tvl1")
    if modality == "depth":
        return Recipe("none", short_side, gray=True)
    return Recipe(flow, short_side)


def nvgesture(
    source: Path,
    cache_dir: Path | None = None,
    *,
    modality: Modality,
    flow: Flow = "dis",
    lists: tuple[str, str] | None = None,
    short_side: int = SHORT_SIDE,
    workers: int | None = None,
) -> GestureData:
    """Returns NVGesture; decodes the videos and computes their flow where that is still to do.

    A record holds the 80 frames of the gesture and no others.

    Args:
        source: Folder with the official files, see `prernn_jax.data.gesture.nvgesture`.
        cache_dir: Folder for prepared videos; see `data_folder` for the default.
        modality: "color", "depth", or "flow" of color.
        flow: Algorithm for color; "none" where no flow is wanted beside it.
        lists: Lists to train and to test on instead of the official ones, under `source` or
            with a path of their own.
        short_side: To which the pictures are brought.
        workers: As for `prernn_jax.data.action.datasets.ucf101`.

    Returns:
        The splits train and test, without the videos that `prernn prepare --allow_missing` left
        out.

    Raises:
        InputError: Something is missing or cannot be read; the message names it.
    """
    recipe = gesture_recipe(modality, flow, short_side)
    listing = read_listing(source, "depth" if modality == "depth" else "color", lists)
    splits = prepared_clips("nvgesture", listing, cache_dir, recipe, workers)
    return GestureData(listing.classes, splits, modality, MIRROR)
