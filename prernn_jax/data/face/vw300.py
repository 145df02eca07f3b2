"""300VW from its official layout: a folder for each video, with a landmark file for each frame.

Layout: SOURCE/300VW_Dataset_2015_12_14/<id>/vid.avi and .../<id>/annot/000001.pts, one file for
each frame; frame 000001 is the first. SOURCE may also be the folder of the videos itself. Extracted
frames may stand in for vid.avi (<id>/imgs/000001.jpg, as by mmpose's instructions, or
frame000001.png and the like).

The training and test videos are those of the challenge (Shen et al., ICCV workshops 2015). The test
has three categories: 1 well lit, 2 unconstrained, 3 arbitrary. 2,127 frames of 16 test videos are
badly annotated and left out of the test. Their numbers are in vw300_broken.json, from
open-mmlab/mmpose, which has them from the data set's extra.zip.
"""

import functools
import json
from collections.abc import Collection
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.landmarks import POINTS
from prernn_jax.data.media.listing import (
    find_video,
    frame_number,
    not_too_deep,
    numbered_files,
    visible,
)
from prernn_jax.data.prepared.lists import Listed, Listing, existing_folder, shortened
from prernn_jax.errors import InputError

_FIRST_PIXEL = 1.0


def read_pts(path: Path, points: int | None = POINTS) -> NDArray[np.float32]:
    """Reads a .pts file. Blanks, empty lines and line ends do not matter.

    Args:
        path: The file.
        points: Number of points that it must have; None for any.

    Returns:
        The points (points, 2), x and y in pixels, counted from 0.

    Raises:
        InputError: There is no such file, it has no braces, something between them is not a finite
            number, or the number of points is another. The message names file and line.
    """
    if not path.is_file():
        raise InputError(f"there is no landmark file {path}")
    text = path.read_bytes().decode("ascii", "replace")
    head, opened, body = text.partition("{")
    body, closed, _ = body.rpartition("}")
    if not opened or not closed:
        raise InputError(f"{path} is no landmark file: expected points between {{ and }}")
    first_line, values = head.count("\n") + 1, []
    for line, row in enumerate(body.split("\n"), start=first_line):
        for word in row.split():
            values.append(_number(word, f"{path} line {line}"))
    if points is None and values and len(values) % 2 == 0:
        points = len(values) // 2
    if points is None:
        raise InputError(
            f"{path} line {first_line}: {len(values)} numbers; expected x, y, x, y ..."
        )
    if len(values) != 2 * points:
        raise InputError(
            f"{path} line {first_line}: {len(values)} numbers between {{ and }}, expected "
            f"{2 * points} (x and y of {points} points)"
        )
    return np.array(values, np.float64).reshape(points, 2).astype(np.float32) - np.float32(
        _FIRST_PIXEL
    )


def _number(word: str, where: str) -> float:
    try:
        value = np.nan if "_" in word else float(word)  # Python reads 1_0 as 10
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(
            f"{where}: {shortened(word)!r} is not a finite number; expected a coordinate"
        )
    return value


FOLDER = "300VW_Dataset_2015_12_14"
LAYOUT = f"SOURCE/{FOLDER}/<id>/vid.avi and SOURCE/{FOLDER}/<id>/annot/000001.pts, ..."
FRAMES = ("imgs", "images", "frames", "img")
"""Names that a folder of extracted frames may have."""
LANDMARK_FILES = (".pts",)
_TRAIN = """
    001 002 003 004 007 009 010 011 013 015 016 017 018 019 020 022 025 027 028 029 031 033 034 035
    037 039 041 043 044 046 047 048 049 053 057 059 112 113 115 119 120 123 138 143 144 160 204 205
    223 225
"""
_CATEGORY_1 = """
    114 124 125 126 150 158 401 402 505 506 507 508 509 510 511 514 515 518 519 520 521 522 524 525
    537 538 540 541 546 547 548
"""
_CATEGORY_2 = "203 208 211 212 213 214 218 224 403 404 405 406 407 408 409 412 550 551 553"
_CATEGORY_3 = "410 411 516 517 526 528 529 530 531 533 557 558 559 562"
PARTS = {
    "train": _TRAIN.split(),
    "category 1": _CATEGORY_1.split(),
    "category 2": _CATEGORY_2.split(),
    "category 3": _CATEGORY_3.split(),
}
"""Part -> names of its videos. The place of a part is the `label` of its videos."""


def read_listing(source: Path) -> Listing:
    """Finds the videos of the official lists.

    Args:
        source: The folder that holds 300VW_Dataset_2015_12_14, or that folder itself.

    Returns:
        The parts "train" and "category 1" to "category 3"; absent videos have a `fault`.

    Raises:
        InputError: There is no such folder, or no video of the lists in it.
    """
    root = source / FOLDER if (source / FOLDER).is_dir() else source
    existing_folder(root, LAYOUT)
    parts = {
        part: [_find(root, name, label) for name in names]
        for label, (part, names) in enumerate(PARTS.items())
    }
    if all(item.fault for items in parts.values() for item in items):
        known = {name for names in PARTS.values() for name in names}
        below = [inner for folder in visible(root) for inner in visible(folder)]
        below += [inner for folder in below for inner in visible(folder)]
        deeper = [path for path in below if path.name in known and (path / "annot").is_dir()]
        hint = f"; give {deeper[0].parent} as the source" if deeper else ""
        raise InputError(f"there is no video of 300VW in {root}; expected {LAYOUT}{hint}")
    return Listing((), parts, {part: len(names) for part, names in PARTS.items()})


def _find(root: Path, name: str, label: int) -> Listed:
    folder = not_too_deep(root / name)
    video = find_video(folder, "vid.avi")
    if video is None:
        extracted = [folder / frames for frames in FRAMES if (folder / frames).is_dir()]
        video = extracted[0] if extracted else None
    fault, hint = None, ""
    if video is None:
        video = folder / "vid.avi"
        there = [path.name for path in visible(folder) if path.name != "annot"]
        hint = f"there is {there[0]} instead" if there else "unpack all of the archive"
        fault = f"the official lists name the video {name}, but there is no {video}; {hint}"
    elif not annotations(video).is_dir():
        hint = "there is no folder annot beside the video"
        fault = f"the video {name} has no landmarks: there is no folder {folder / 'annot'}"
    return Listed(video, label, name, fault=fault, hint=hint)


def annotations(video: Path) -> Path:
    """Returns the folder of the landmarks of a video or of a folder of extracted frames."""
    return not_too_deep(video.parent / "annot")


def numbering_fault(pictures: Collection[int], landmarks: Collection[int]) -> str | None:
    """Tells whether pictures and landmark files of a video begin with different numbers.

    All landmarks would then belong to a neighbouring frame.

    Returns:
        What is wrong, as the end of a message; None where the numbers fit or there are none.
    """
    if not pictures or not landmarks:
        return None
    first, last = min(pictures), max(pictures)
    begin, end = min(landmarks), max(landmarks)
    spans = len(pictures) == last - first + 1, len(landmarks) == end - begin + 1
    shifted = all(spans) and last - first == end - begin and first != begin
    if shifted or ((0 in pictures) != (0 in landmarks) and min(first, begin) == 0):
        return (
            f"frames are numbered from {first} to {last} and landmark files from {begin} to {end}, "
            "so that landmarks would belong to another frame: rename one of them (the official "
            "landmarks count from 1, and so do the frames of a video file)"
        )
    return None


def read_annotations(folder: Path) -> tuple[dict[int, NDArray[np.float32]], list[str]]:
    """Reads the landmarks of a video.

    Args:
        folder: Folder with 000001.pts, 000002.pts, ...

    Returns:
        Number of a frame -> landmarks (68, 2) in pixels, counted from 0; and the faults of the
        other files, whose frames are left out.

    Raises:
        InputError: No file can be used (the message is that of the first one), or two files have
            the same number.
    """
    found: dict[int, NDArray[np.float32]] = {}
    faults = []
    for path in visible(folder):
        if path.suffix.lower() == ".pts" and frame_number(path) is None:
            faults.append(f"{path} is not named by a frame; expected 000001.pts, ...")
    for number, path in numbered_files(folder, LANDMARK_FILES).items():
        try:
            found[number] = read_pts(path)
        except InputError as error:
            faults.append(str(error))
    if not found:
        raise InputError(faults[0] if faults else f"there is no landmark file in {folder}")
    return found, faults


@functools.cache
def broken_frames() -> dict[str, frozenset[int]]:
    """Returns the badly annotated frames: video -> numbers, as in the names of .pts files."""
    text = (resources.files("prernn_jax.data.face") / "vw300_broken.json").read_text(
        encoding="utf-8"
    )
    return {video: frozenset(_numbers(ranges)) for video, ranges in json.loads(text).items()}


def _numbers(ranges: str) -> list[int]:
    """Returns the numbers of a text such as "3,7-9"."""
    numbers: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
