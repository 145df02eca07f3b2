"""Own videos of faces and their landmarks, from folders: landmark files beside videos or pictures.

A video TAKE.mp4 has its landmarks in the folder TAKE beside it, one file for each frame, 000001.pts
for the first. A folder of pictures is a video too; a picture's landmarks lie beside it under the
same name. Instead of both, a folder `annot` may hold them, as in 300VW.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.vw300 import FRAMES
from prernn_jax.data.media.listing import (
    PICTURES,
    frame_number,
    is_video,
    numbered_files,
    visible,
    without_ending,
)
from prernn_jax.data.own.landmark_file import ENDINGS
from prernn_jax.data.own.lists import absent, as_name
from prernn_jax.data.own.rows import Row
from prernn_jax.data.prepared.lists import Listed

ANNOT = "annot"


@dataclass(frozen=True)
class FaceRow(Row):
    """One video of a face.

    Attributes:
        pictures: Number of a frame -> its picture, in their order; empty for a video file.
        marks: Number of a frame -> its landmark file.
        given: Number of a frame -> its landmarks (P, 2) in pixels from 0, where a table has them.
        faults: Why a table has none for some frames.
        table: The table.
        missing: What is wrong where the video cannot be used.
    """

    pictures: Mapping[int, Path] = field(default_factory=dict)
    marks: Mapping[int, Path] = field(default_factory=dict)
    given: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    table: Path | None = None
    missing: str | None = None


@dataclass(frozen=True)
class ListedFace(Listed):
    """A video of a face as the preparation takes it.

    Attributes:
        row: Its pictures and landmarks.
    """

    row: FaceRow | None = None


def face_row_of(item: Listed) -> FaceRow:
    """The pictures and landmarks of a listed video."""
    assert isinstance(item, ListedFace)
    assert item.row is not None
    return item.row


def faces_below(folder: Path, part: str | None = None) -> Iterator[FaceRow]:
    """Finds the videos of faces in a folder and in all folders below it.

    Args:
        folder: The folder.
        part: The part of the data set that it is.

    Raises:
        InputError: A folder cannot be read, or two landmark files belong to one frame.
    """
    root = folder
    while len(inner := visible(root)) == 1 and inner[0].is_dir() and not _has_faces(inner[0]):
        root = inner[0]  # an archive's own folder says nothing of its videos
    yield from _in_folder(root, root, part)


def face_row(
    video: Path, root: Path, part: str | None = None, group: str = "", where: str = ""
) -> FaceRow:
    """A video file or a folder of pictures, with the landmark files beside it.

    Args:
        video: The file or the folder.
        root: The names of videos are relative to it.
        part: As in `Row`.
        group: As in `Row`; by default the folders between `root` and the video.
        where: Which line of a list names it.

    Raises:
        InputError: Two pictures or two landmark files belong to one frame.
    """
    if video.is_dir():
        place, pictures, marks = _of_pictures(video)
    else:
        pictures = {}
        place, marks = _of_video(video)
    missing = None
    if not video.exists():
        missing = absent(where, video)
    elif not marks:
        missing = f"the video {video} has no landmarks: {_expected(video, place)}"
    inside = place.relative_to(root).parts if place.is_relative_to(root) else place.parts[-2:]
    name = as_name("_".join(inside) or place.resolve().name)
    return FaceRow(
        video,
        "",
        f"{part}/{name}" if part else name,
        part,
        group or "/".join(inside[:-1]),
        stated=bool(group),
        where=where,
        pictures=pictures,
        marks=marks,
        missing=missing,
    )


def _in_folder(folder: Path, root: Path, part: str | None) -> Iterator[FaceRow]:
    inner = visible(folder)
    for path in inner:
        if path.is_file() and is_video(path):
            yield face_row(path, root, part)
    if any(_is_picture(path) for path in inner):
        yield face_row(folder, root, part)
    for path in inner:
        if path.is_dir():
            yield from _in_folder(path, root, part)


def _has_faces(folder: Path) -> bool:
    """Whether a folder itself holds a video or pictures."""
    return any(is_video(path) or _is_picture(path) for path in visible(folder))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()


def _of_video(video: Path) -> tuple[Path, dict[int, Path]]:
    """What gives a video file its name, and its landmark files."""
    place = video.with_name(without_ending(video.name))
    if found := numbered_files(place, ENDINGS):
        return place, found
    videos = [path for path in visible(video.parent) if is_video(path)]
    found = numbered_files(video.parent / ANNOT, ENDINGS) if videos == [video] else {}
    return (video.parent if found else place), found


def _of_pictures(folder: Path) -> tuple[Path, dict[int, Path], dict[int, Path]]:
    """What gives a folder of pictures its name, its pictures, and their landmark files."""
    files = visible(folder)
    beside = {path.stem: path for path in files if path.suffix.lower() in ENDINGS}
    pictures = number_pictures([path for path in files if _is_picture(path)])
    marks = {n: beside[path.stem] for n, path in pictures.items() if path.stem in beside}
    if marks:
        return folder, pictures, marks
    named = folder.name.lower() in FRAMES
    for annot in (folder / ANNOT, folder.parent / ANNOT) if named else (folder / ANNOT,):
        if found := numbered_files(annot, ENDINGS):
            return (folder.parent if named else folder), pictures, found
    return folder, pictures, {}


def number_pictures(paths: list[Path]) -> dict[int, Path]:
    """Numbers the pictures of a video: by their names where each has its own number, else from 1.

    Returns:
        Number -> picture, in the order of the numbers.
    """
    numbers = [frame_number(path) for path in paths]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(paths):
        return dict(enumerate(sorted(paths), start=1))
    return dict(sorted(zip(known, paths, strict=True), key=lambda pair: pair[0]))


def _expected(video: Path, place: Path) -> str:
    if video.is_dir():
        return "expected 000001.pts beside 000001.jpg, or a folder annot"
    return f"expected {place.name}/000001.pts, 000002.pts, ... beside it, or a folder annot"
