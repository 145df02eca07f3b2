"""Frames that were extracted from a video: numbered pictures in a folder."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from prernn_jax.data.media.listing import PICTURES, frame_number
from prernn_jax.data.records import read_picture
from prernn_jax.errors import InputError


class FrameFolder(NamedTuple):
    """The numbered pictures of one name in a folder: `frame000001.jpg`, `img_00001.jpg`, ...

    Attributes:
        folder: The folder.
        prefix: The part of the names before the number.
        files: Number -> picture, in the order of the numbers.
        faults: What is wrong with the names.
    """

    folder: Path
    prefix: str
    files: dict[int, Path]
    faults: list[str]


def frame_folders(paths: Sequence[Path]) -> list[FrameFolder]:
    """Groups pictures by folder and by the name before the number.

    Pictures and flow may lie in one folder (`img_00001.jpg`, `flow_x_00001.jpg`). A picture without
    a number belongs to no group, unless there is a group of two or more in its folder: then it is
    a fault of the first group.

    Args:
        paths: Files; those that are no pictures are passed over.

    Returns:
        The groups of two or more pictures, by folder and name.
    """
    groups: dict[tuple[Path, str], FrameFolder] = {}
    strange: dict[Path, list[str]] = {}
    for path in paths:
        if path.suffix.lower() not in PICTURES:
            continue
        prefix = re.sub(r"[0-9]*$", "", path.stem)
        group = groups.setdefault((path.parent, prefix), FrameFolder(path.parent, prefix, {}, []))
        try:
            number = frame_number(path)
        except InputError as error:
            group.faults.append(str(error))
            continue
        if number is None:
            strange.setdefault(path.parent, []).append(path.name)
        elif number in group.files:
            first = group.files[number].name
            group.faults.append(f"{first} and {path.name} are two files for frame {number}")
        else:
            group.files[number] = path
    found = []
    for (folder, _), group in sorted(groups.items()):
        if len(group.files) + len(group.faults) < 2:
            continue
        names = strange.pop(folder, [])
        if names:
            group.faults.append(f"{len(names)} pictures have no number, first {names[0]}")
        found.append(group._replace(files=dict(sorted(group.files.items()))))
    return found


def read_frame_folder(frames: FrameFolder) -> tuple[tuple[int, int], str | None]:
    """Decodes all frames.

    Returns:
        Height and width of the first frame that can be read; what is wrong with names, numbers or
        pictures, or None.
    """
    faults = list(frames.faults)
    numbers = list(frames.files)
    if numbers and len(numbers) < numbers[-1] - numbers[0] + 1:
        gap = next(a for a, b in itertools.pairwise(numbers) if b != a + 1)
        missing = numbers[-1] - numbers[0] + 1 - len(numbers)
        faults.append(f"{missing} frames are missing, first {gap + 1}")
    if numbers and numbers[0] > 1:
        faults.append(f"the first frame is number {numbers[0]}; expected 0 or 1")
    size: tuple[int, int] | None = None
    damaged, others = [], []
    for path in frames.files.values():
        try:
            height, width = read_picture(path).shape[:2]
        except InputError:
            damaged.append(path.name)
            continue
        size = size or (height, width)
        if (height, width) != size:
            others.append(f"{path.name} ({width}x{height})")
    if damaged:
        faults.append(f"{len(damaged)} pictures cannot be decoded, first {damaged[0]}")
    if others and size is not None:
        faults.append(
            f"{len(others)} pictures are not of the first one's size {size[1]}x{size[0]}, "
            f"first {others[0]}"
        )
    return size or (0, 0), "; ".join(faults) or None
