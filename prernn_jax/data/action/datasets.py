"""The action data sets: their classes and their splits with random access."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prernn_jax.data.action.hmdb51 import read_listing as read_hmdb51
from prernn_jax.data.action.loader import Stream
from prernn_jax.data.action.ucf101 import read_listing as read_ucf101
from prernn_jax.data.drawn.action_builder import Kind, embedded_splits
from prernn_jax.data.drawn.actions import (
    ACTION_CLASSES,
    SPATIAL_CLASSES,
    STATIC_CLASSES,
    TURNED_ACTIONS,
    TURNED_SPATIAL,
    TURNED_STILLS,
    EmbeddedConfig,
)
from prernn_jax.data.drawn.turned import Turned
from prernn_jax.data.media.augment import TSN_AUGMENTATION, Augmentation
from prernn_jax.data.own.open import own_videos
from prernn_jax.data.prepared.clip_files import Flow, Recipe, prepared_clips
from prernn_jax.data.records import RandomAccessSource

SHORT_SIDE = 256
"""The shorter side of prepared videos: 320x240 become 341x256; a network is given 224x224."""


@dataclass(frozen=True)
class ActionData:
    """A data set of labelled clips.

    Attributes:
        classes: Names of the classes; a record's `label` is a place in them.
        splits: Name of a split -> its records (prernn_jax.data.records).
        stack: Number of flow pairs L that the data were made for.
        size: Side in pixels of the square picture for a network.
        augmentation: How training clips vary.
        spatial_classes: Names for the spatial stream, where they differ: one picture of the set for
            stage one shows a shape but no leg. A record's `spatial_label` is a place in them.
        split_table: The split of a person's own videos as a CSV file; empty for other data.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, RandomAccessSource]
    stack: int
    size: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    spatial_classes: tuple[str, ...] | None = None
    split_table: str = ""

    def names(self, stream: Stream) -> tuple[str, ...]:
        """Returns the names of the classes for a stream, by label."""
        return self.spatial_classes or self.classes if stream == "spatial" else self.classes


_UNMIRRORED = Augmentation(flip=0.0)
"""The embedded clips are mirrored together with their labels, see `Turned`."""


def embedded_actions(
    cache_dir: Path | None = None,
    config: EmbeddedConfig | None = None,
    *,
    pretraining: bool = False,
) -> ActionData:
    """Returns the drawn clips; draws them first where they are not in the cache.

    The arguments and errors are those of `drawn_splits`.

    Args:
        cache_dir: The prepared cache.
        config: What to draw.
        pretraining: Returns the set for stage one instead: other shapes, one picture and one flow
            stack in each record. Its classes are shape and leg; those of the spatial stream are
            the shapes alone.

    Returns:
        The splits train and validation, and test unless `pretraining` is set. Each clip drawn for
        training stands for eight (`Turned`).
    """
    settings = config or EmbeddedConfig()
    kind: Kind = "stills" if pretraining else "actions"
    splits = dict(embedded_splits(kind, settings, cache_dir))
    turned = (TURNED_STILLS, TURNED_SPATIAL) if pretraining else (TURNED_ACTIONS, TURNED_ACTIONS)
    splits["train"] = Turned(splits["train"], *turned)
    return ActionData(
        STATIC_CLASSES if pretraining else ACTION_CLASSES,
        splits,
        settings.stack,
        settings.size,
        _UNMIRRORED,
        spatial_classes=SPATIAL_CLASSES if pretraining else None,
    )


def ucf101(
    source: Path,
    cache_dir: Path | None = None,
    *,
    split: int = 1,
    flow: Flow = "dis",
    stack: int = 10,
    size: int = 224,
    short_side: int = SHORT_SIDE,
    workers: int | None = None,
) -> ActionData:
    """Returns UCF101; prepares the videos that are not prepared yet.

    Args:
        source: Folder with the official files, see `prernn_jax.data.action.ucf101`.
        cache_dir: Folder for prepared videos; see `data_folder` for the default.
        split: 1, 2 or 3.
        flow: Algorithm of the flow, or "none" for the spatial stream alone.
        stack: Number of flow pairs L of a step.
        size: Side of the network's input.
        short_side: Shorter side of the prepared pictures: 4:3 becomes 341x256.
        workers: Number of processes that prepare; by default one for each core. They import the
            program that runs, so a script must work under `if __name__ == "__main__":`.

    Returns:
        The splits train and test, without the videos that `prernn prepare --allow_missing` left
        out.

    Raises:
        InputError: Something is missing or cannot be read; the message names it.
    """
    listing = read_ucf101(source, split)
    splits = prepared_clips("ucf101", listing, cache_dir, Recipe(flow, short_side), workers)
    return ActionData(listing.classes, splits, stack, size, TSN_AUGMENTATION)


def hmdb51(
    source: Path,
    cache_dir: Path | None = None,
    *,
    split: int = 1,
    flow: Flow = "dis",
    stack: int = 10,
    size: int = 224,
    short_side: int = SHORT_SIDE,
    workers: int | None = None,
) -> ActionData:
    """Returns HMDB51; arguments, splits and errors as for `ucf101`.

    The layout is described in `prernn_jax.data.action.hmdb51`.
    """
    listing = read_hmdb51(source, split)
    splits = prepared_clips("hmdb51", listing, cache_dir, Recipe(flow, short_side), workers)
    return ActionData(listing.classes, splits, stack, size, TSN_AUGMENTATION)


def own_actions(
    source: Path,
    cache_dir: Path | None = None,
    *,
    root: Path | None = None,
    seed: int = 1,
    flow: Flow = "dis",
    stack: int = 10,
    size: int = 224,
    short_side: int = SHORT_SIDE,
    workers: int | None = None,
) -> ActionData:
    """Returns a person's own videos; arguments and errors as for `ucf101` and `own_videos`."""
    found = own_videos(
        source, cache_dir, Recipe(flow, short_side), root=root, seed=seed, workers=workers
    )
    augmentation = TSN_AUGMENTATION if short_side >= SHORT_SIDE else Augmentation()
    return ActionData(
        found.classes, found.splits, stack, size, augmentation, split_table=found.table
    )
