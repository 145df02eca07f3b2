"""The face data sets: their splits of records with random access."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.drawn.face_builder import Kind, embedded_splits
from prernn_jax.data.drawn.faces import EmbeddedFacesConfig
from prernn_jax.data.face.files import FaceFiles, FaceRecipe
from prernn_jax.data.face.metrics import TwoPoints
from prernn_jax.data.face.point_set import IBUG, PointSet, point_set
from prernn_jax.data.face.records import FaceBoxes
from prernn_jax.data.face.vw300 import read_listing
from prernn_jax.data.own.faces import open_faces
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.records import RandomAccessSource


@dataclass(frozen=True)
class FaceData:
    """A data set of face videos.

    Attributes:
        splits: Name of a split -> its records (prernn_jax.data.face.records).
        size: Side in pixels of the square picture for a network.
        points: What is known of the landmarks.
        split_table: How own videos were divided, as a CSV file; empty for other data.
    """

    splits: Mapping[str, RandomAccessSource]
    size: int
    points: PointSet = IBUG
    split_table: str = ""


def embedded_faces(
    cache_dir: Path | None = None,
    config: EmbeddedFacesConfig | None = None,
    *,
    pretraining: bool = False,
) -> FaceData:
    """Returns the drawn faces; draws them first where they are not in the cache.

    The arguments and errors are those of `drawn_splits`. With `pretraining` the records are single
    frames of other people, for stage one, and there is no split test.
    """
    settings = config or EmbeddedFacesConfig()
    kind: Kind = "faces_stills" if pretraining else "faces"
    return FaceData(embedded_splits(kind, settings, cache_dir), settings.size)


def vw300(
    source: Path,
    cache_dir: Path | None = None,
    *,
    boxes: FaceBoxes | None = None,
    size: int = 224,
    workers: int | None = None,
) -> FaceData:
    """Returns 300VW; prepares the videos that are not prepared yet.

    Args:
        source: Folder with the official files, see `prernn_jax.data.face.vw300`.
        cache_dir: Folder for prepared videos; see `data_folder` for the default.
        boxes: How the square of each frame is chosen; by default around its true landmarks, 1.3
            times as large.
        size: Side of the network's input.
        workers: As for `prernn_jax.data.action.datasets.ucf101`.

    Returns:
        The splits train and test, without the videos that `prernn prepare --allow_missing` left
        out. The test has the three categories, without the badly annotated frames.

    Raises:
        InputError: Something is missing or cannot be read, or a box of `boxes.given` is missing or
            shares nothing with the picture around the face; the message names it.
    """
    recipe, choice = FaceRecipe(), boxes or FaceBoxes()
    files = ListedFiles("300vw", read_listing(source), cache_dir, recipe)
    files.prepare(workers)
    usable = files.usable()
    train = usable.pop("train")
    test = [item for items in usable.values() for item in items]
    splits = {
        name: FaceFiles(files.folder, items, recipe, choice)
        for name, items in (("train", train), ("test", test))
    }
    if choice.given is not None:
        for videos in splits.values():
            for video in range(len(videos)):
                videos[video]  # raises where a box cannot be used
    return FaceData(splits, size)


def own_faces(
    source: Path,
    cache_dir: Path | None = None,
    *,
    root: Path | None = None,
    seed: int = 1,
    boxes: FaceBoxes | None = None,
    size: int = 48,
    mirror_pairs: Path | None = None,
    normalise_by: TwoPoints | None = None,
    workers: int | None = None,
) -> FaceData:
    """Returns a person's own videos of faces; prepares those that are not prepared yet.

    Args:
        source: See `prernn_jax.data.own.faces`.
        cache_dir: Folder for prepared videos; see `data_folder` for the default.
        root: Folder of the files that a table names.
        seed: The seed of the split, where no split is given.
        boxes: As for `vw300`.
        size: Side of the network's input.
        mirror_pairs: See `prernn_jax.data.face.point_set.point_set`, also for `normalise_by`.
        normalise_by: Two landmarks whose distance divides the errors.
        workers: As for `vw300`.

    Returns:
        The splits train, test and perhaps validation.

    Raises:
        InputError: The source, a box or a landmark of `normalise_by` cannot be used; the message
            names it.
    """
    choice = boxes or FaceBoxes()
    found = open_faces(source, cache_dir, choice, root=root, seed=seed, workers=workers)
    points = point_set(found.points, mirror_pairs, normalise_by)
    return FaceData(found.splits, size, points, found.table)
