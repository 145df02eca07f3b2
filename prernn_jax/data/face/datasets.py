"""The face data sets as the training program sees them: random-access splits of records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.drawn.face_builder import embedded_splits
from prernn_jax.data.drawn.faces import EmbeddedFacesConfig
from prernn_jax.data.face.files import FaceFiles, FaceRecipe
from prernn_jax.data.face.records import FaceBoxes
from prernn_jax.data.face.vw300 import read_listing
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.records import RandomAccessSource


@dataclass(frozen=True)
class FaceData:
    """A data set of face videos.

    Attributes:
        splits: Name of a split -> its records (prernn_jax.data.face.records).
        size: Side in pixels of the square picture that a network should be given.
    """

    splits: Mapping[str, RandomAccessSource]
    size: int


def embedded_faces(
    data_dir: Path | None = None, config: EmbeddedFacesConfig | None = None
) -> FaceData:
    """Returns the embedded faces; draws them first where that has not been done yet.

    Args:
        data_dir: Where to keep them; by default see `data_folder`.
        config: What to draw; its key is part of the folder's name.

    Returns:
        Splits train, validation and test.

    Raises:
        InputError: The folder cannot be written.
    """
    settings = config or EmbeddedFacesConfig()
    return FaceData(embedded_splits("faces", settings, data_dir), settings.size)


def embedded_face_stills(
    data_dir: Path | None = None, config: EmbeddedFacesConfig | None = None
) -> FaceData:
    """Returns single frames of other people for pre-training; splits train and validation.

    Arguments and errors are those of `embedded_faces`.
    """
    settings = config or EmbeddedFacesConfig()
    return FaceData(embedded_splits("faces_stills", settings, data_dir), settings.size)


def vw300(
    source_dir: Path,
    cache_dir: Path | None = None,
    *,
    boxes: FaceBoxes | None = None,
    size: int = 224,
    workers: int | None = None,
) -> FaceData:
    """Returns 300VW; decodes the videos where that is still to do.

    Args:
        source_dir: The official layout, see `prernn_jax.data.face.vw300`.
        cache_dir: Where prepared videos are kept; by default see `data_folder`.
        boxes: How the square of each frame is chosen; by default around its true landmarks, 1.3
            times as large.
        size: Side of the network's input.
        workers: As for `prernn_jax.data.action.datasets.ucf101`.

    Returns:
        Splits train and test; the test has the three categories, and not the badly annotated
        frames.
        Without what `prernn_jax.data.prepare --allow-missing` left out.

    Raises:
        InputError: Something is missing or cannot be read, or a box of `boxes.given` is missing or
            shares nothing with the picture around the face; the message names it.
    """
    recipe, choice = FaceRecipe(), boxes or FaceBoxes()
    files = ListedFiles("300vw", read_listing(source_dir), cache_dir, recipe)
    files.prepare(workers)
    usable = files.usable()
    train = usable.pop("train")
    test = [item for items in usable.values() for item in items]
    splits = {
        name: FaceFiles(files.folder, items, recipe, choice)
        for name, items in (("train", train), ("test", test))
    }
    if choice.given is not None:
        for source in splits.values():
            for video in range(len(source)):
                source[video]  # raises where a box cannot be used
    return FaceData(splits, size)
