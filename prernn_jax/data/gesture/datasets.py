"""NVGesture: its classes and its splits with random access."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from prernn_jax.data.gesture.nvgesture import MIRROR, read_listing
from prernn_jax.data.media.augment import Augmentation
from prernn_jax.data.own.open import own_videos
from prernn_jax.data.prepared.clip_files import Flow, Recipe, prepared_clips
from prernn_jax.data.records import RandomAccessSource
from prernn_jax.errors import InputError

Modality = Literal["color", "depth", "flow"]
SHORT_SIDE = 128
"""Shorter side of prepared gestures: 320x240 becomes 171x128, of which C3D takes 112x112."""


@dataclass(frozen=True)
class GestureData:
    """A data set of labelled gestures.

    Attributes:
        classes: Names of the classes; a record's `label` is a place in them.
        splits: Name of a split -> its records (prernn_jax.data.records).
        modality: What a network takes: `frames`, or `flow_x` and `flow_y`. The frames of depth are
            grey; decoded as RGB their one channel is repeated.
        mirror: Class -> class of the mirrored clip, where it differs.
        augmentation: How training clips vary.
        split_table: The split of a person's own videos as a CSV file; empty for other data.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, RandomAccessSource]
    modality: Modality
    mirror: Mapping[int, int] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)
    split_table: str = ""


def gesture_recipe(modality: Modality, flow: Flow, short_side: int = SHORT_SIDE) -> Recipe:
    """Returns how a modality is prepared; color and its flow are prepared together.

    Raises:
        InputError: The modality is unknown, or flow has no algorithm.
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
    """Returns NVGesture; prepares the videos that are not prepared yet.

    A record holds the 80 frames of the gesture and no others.

    Args:
        source: Folder with the official files, see `prernn_jax.data.gesture.nvgesture`.
        cache_dir: Folder for prepared videos; see `data_folder` for the default.
        modality: "color", "depth", or "flow" of color.
        flow: Algorithm of the flow of color; "none" for no flow.
        lists: Lists to train and to test on in place of the official ones, under `source` or
            with a path of their own.
        short_side: Shorter side of the prepared pictures.
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


def own_gestures(
    source: Path,
    cache_dir: Path | None = None,
    *,
    modality: Modality,
    flow: Flow = "dis",
    root: Path | None = None,
    short_side: int = SHORT_SIDE,
    workers: int | None = None,
) -> GestureData:
    """Returns a person's own videos of gestures; arguments and errors as for `own_videos`.

    For the modality depth the pictures are made grey. Nothing is mirrored: a move to the left would
    become one to the right, and which classes are such a pair is not known.
    """
    recipe = gesture_recipe(modality, flow, short_side)
    found = own_videos(source, cache_dir, recipe, root=root, workers=workers)
    still = Augmentation(flip=0.0)
    return GestureData(
        found.classes, found.splits, modality, augmentation=still, split_table=found.table
    )
