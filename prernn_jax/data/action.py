"""The action data sets as the training program sees them: classes and random-access splits."""

import contextlib
import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow_datasets as tfds

from prernn_jax.data.augment import TSN_AUGMENTATION, Augmentation
from prernn_jax.data.clip_files import ClipFiles, Flow, Recipe, prepare_clips
from prernn_jax.data.embedded import (
    ACTION_CLASSES,
    SPATIAL_CLASSES,
    STATIC_CLASSES,
    EmbeddedConfig,
)
from prernn_jax.data.embedded_builder import EmbeddedActions, Kind, builder_config
from prernn_jax.data.records import PreparedSplit, RandomAccessSource
from prernn_jax.data.sampling import Stream
from prernn_jax.data.ucf101 import read_classes, read_split
from prernn_jax.errors import InputError


@dataclass(frozen=True)
class ActionData:
    """A data set of labelled clips.

    Attributes:
      classes: names; a record's `label` counts in them.
      splits: name of a split -> its records (prernn_jax.data.records).
      stack: flow pairs L that the data were made for.
      size: side in pixels of the square picture that a network should be given.
      augmentation: how its training clips are best varied.
      spatial_classes: names for the spatial stream where they differ (one picture of the
        pre-training set shows a shape but no leg); a record's `spatial_label` counts in them.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, RandomAccessSource]
    stack: int
    size: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    spatial_classes: tuple[str, ...] | None = None

    def names(self, stream: Stream) -> tuple[str, ...]:
        """Return the names of the classes that the loader's labels count in."""
        return self.spatial_classes or self.classes if stream == "spatial" else self.classes


def data_folder(data_dir: Path | None = None) -> Path:
    """Return where prepared data are kept.

    That is the folder given, else $PRERNN_DATA_DIR, else ~/.cache/prernn_jax.
    """
    given = data_dir or os.environ.get("PRERNN_DATA_DIR") or Path.home() / ".cache" / "prernn_jax"
    return Path(given).expanduser()


def embedded_actions(
    data_dir: Path | None = None, config: EmbeddedConfig | None = None
) -> ActionData:
    """Return the embedded clips; draws them first where that has not been done yet.

    Args:
      data_dir: where to keep them; by default see `data_folder`.
      config: what to draw; its key is part of the folder's name.

    Returns:
      Splits train, validation and test.

    Raises:
      InputError: the folder cannot be written.
    """
    settings = config or EmbeddedConfig()
    splits = _embedded("actions", settings, data_dir)
    return ActionData(ACTION_CLASSES, splits, settings.stack, settings.size)


def embedded_stills(
    data_dir: Path | None = None, config: EmbeddedConfig | None = None
) -> ActionData:
    """Return the set for pre-training: other shapes, one picture and one flow stack a record.

    Args:
      data_dir: where to keep it; by default see `data_folder`.
      config: what to draw.

    Returns:
      Splits train and validation. The classes are shape x leg, those of the spatial stream the
      shapes alone.

    Raises:
      InputError: the folder cannot be written.
    """
    settings = config or EmbeddedConfig()
    splits = _embedded("stills", settings, data_dir)
    return ActionData(
        STATIC_CLASSES,
        splits,
        settings.stack,
        settings.size,
        spatial_classes=SPATIAL_CLASSES,
    )


def ucf101(
    source_dir: Path,
    cache_dir: Path | None = None,
    *,
    split: int = 1,
    flow: Flow = "dis",
    stack: int = 10,
    size: int = 224,
    short_side: int = 256,
    workers: int | None = None,
) -> ActionData:
    """Return UCF101; decodes the videos and computes their flow where that is still to do.

    Args:
      source_dir: the official layout, see `prernn_jax.data.ucf101`.
      cache_dir: where prepared videos are kept; by default see `data_folder`.
      split: 1, 2 or 3.
      flow: algorithm, or "none" for the spatial stream alone.
      stack: flow pairs L that a step should have.
      size: side of the network's input.
      short_side: to which the pictures are brought, 4:3 becomes 341x256.
      workers: videos prepared at a time; by default one a core.

    Returns:
      Splits train and test.

    Raises:
      InputError: something is missing or cannot be read; the message names it.
    """
    names = read_classes(source_dir)
    lists = {part: read_split(source_dir, split, part) for part in ("train", "test")}
    recipe = Recipe(flow, short_side)
    root = data_folder(cache_dir)
    folder = root / "ucf101" / recipe.key
    every = {item.name: item for part in lists.values() for item in part}
    with _writable(root, "UCF101"):
        prepare_clips(folder, list(every.values()), recipe, workers)
    splits = {part: ClipFiles(folder, listed, recipe) for part, listed in lists.items()}
    return ActionData(names, splits, stack, size, TSN_AUGMENTATION)


def _embedded(
    kind: Kind, settings: EmbeddedConfig, data_dir: Path | None
) -> dict[str, RandomAccessSource]:
    root = data_folder(data_dir)

    def make() -> EmbeddedActions:
        config = builder_config(kind, settings)
        return EmbeddedActions(data_dir=str(root), config=config, file_format="array_record")

    builder = prepare_once(make, root, f"the embedded {kind}")
    return {name: PreparedSplit(Path(builder.data_path), name) for name in builder.info.splits}


def prepare_once(
    make: Callable[[], tfds.core.DatasetBuilder], root: Path, what: str
) -> tfds.core.DatasetBuilder:
    """Return a prepared builder; of several processes one prepares, the others wait for it.

    TFDS writes into a folder of its own and renames it at the end, so an interrupted preparation
    leaves nothing that looks finished; its remains are swept away here, under the lock.

    Args:
      make: makes the builder; called again once the data are there.
      root: the data folder.
      what: for the message to the user.

    Raises:
      InputError: the folder cannot be written.
    """
    with _quiet():
        builder = make()
    final = Path(builder.data_path)
    if (final / "dataset_info.json").is_file():
        return builder
    with _writable(root, what):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{builder.name}-{final.parent.name}.lock"), _quiet():
            if not (final / "dataset_info.json").is_file():
                for remains in final.parent.glob("incomplete.*"):
                    shutil.rmtree(remains)
                print(f"preparing {what} in {final} (once)", file=sys.stderr, flush=True)
                make().download_and_prepare()
            return make()


@contextlib.contextmanager
def _writable(root: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(
            f"{what} cannot be written to {root} ({error}); give a folder that you may write, "
            "or set PRERNN_DATA_DIR"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # freed by the system when the process ends
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TFDS' progress bars, notices and its advice about TensorFlow from the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(level)
