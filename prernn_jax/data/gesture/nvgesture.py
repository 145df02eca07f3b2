"""NVGesture from its official layout: folders of AVI files and the two lists of version 2.

Layout: SOURCE/Video_data/class_NN/subjectS_rR/{sk_color,sk_depth}.avi and
SOURCE/nvgesture_{train,test}_correct_cvpr2016_v2.lst with lines

    path:./Video_data/class_01/subject3_r0 depth:sk_depth:146:226 color:sk_color:146:226 ... label:1

A field <sensor>:<file>:<start>:<end> says which frames show the gesture, counted from 0, the end
excluded: 80 of them, though depth may start a frame earlier or later than color. The label is the
list's, 1 to 25, and not the folder's: version 2 gives 23 recordings another class.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from prernn_jax.data.media.listing import find_folder, find_video, without_ending
from prernn_jax.data.prepared.lists import (
    Listed,
    Listing,
    existing_folder,
    numbered_lines,
    shortened,
)
from prernn_jax.errors import InputError

LAYOUT = (
    "SOURCE/Video_data/class_NN/subjectS_rR/*.avi and "
    "SOURCE/nvgesture_{train,test}_correct_cvpr2016_v2.lst"
)
LISTS = ("nvgesture_train_correct_cvpr2016_v2.lst", "nvgesture_test_correct_cvpr2016_v2.lst")
COUNTS = (1050, 482)
"""Number of recordings to train and to test on."""
CLASSES = (
    "five fingers move right",
    "five fingers move left",
    "five fingers move up",
    "five fingers move down",
    "two fingers move right",
    "two fingers move left",
    "two fingers move up",
    "two fingers move down",
    "click",
    "beckon",
    "stretch hand",
    "shake hand",
    "one",
    "two",
    "three",
    "lift up",
    "press down",
    "push",
    "shrink",
    "levorotation",
    "dextrorotation",
    "two fingers prod",
    "grab",
    "thumbs up",
    "OK",
)
"""Names of the classes by label, from 0."""
MIRROR = {0: 1, 1: 0, 4: 5, 5: 4, 19: 20, 20: 19}
"""Label -> label of the mirrored recording, where it differs."""

Sensor = Literal["color", "depth"]


def read_listing(source: Path, sensor: Sensor, lists: tuple[str, str] | None = None) -> Listing:
    """Reads a list to train and one to test on.

    Args:
        source: The folder that holds Video_data.
        sensor: The sensor whose file and frames are taken.
        lists: Two other lists, under the source or with a path of their own; by default the
            official ones.

    Returns:
        The parts "train" and "test"; absent videos have a `fault`.

    Raises:
        InputError: A folder or list is missing, a line is not of the form above or has a label
            outside 1 to 25, or a recording is listed twice. The message names list and line.
    """
    if sensor not in get_args(Sensor):
        raise InputError(f"NVGesture's sensors here are color and depth, got {sensor!r}")
    existing_folder(source / "Video_data", LAYOUT, archive=True)
    seen: dict[str, str] = {}
    parts = {
        part: [
            _read_line(source, sensor, text, f"{source / file} line {line}", seen)
            for line, text in numbered_lines(source / file, LAYOUT)
        ]
        for part, file in zip(("train", "test"), lists or LISTS, strict=True)
    }
    for file, items in zip(lists or LISTS, parts.values(), strict=True):
        if not items:
            raise InputError(f"{source / file} is empty; expected one recording a line")
    official = {} if lists else dict(zip(parts, COUNTS, strict=True))
    return Listing(CLASSES, parts, official)


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text) is not None


def _read_line(source: Path, sensor: Sensor, text: str, where: str, seen: dict[str, str]) -> Listed:
    fields = {field.partition(":")[0]: field.partition(":")[2] for field in text.split()}
    range_of = fields.get(sensor, "").split(":")
    numbers = [*range_of[1:], fields.get("label", "")]
    if "path" not in fields or len(numbers) != 3 or not all(map(_is_number, numbers)):
        raise InputError(
            f"{where} is {shortened(text)!r}; expected path:<folder> "
            f"{sensor}:<file>:<start>:<end> label:<N>"
        )
    start, stop, label = (int(number) for number in numbers)
    if not 1 <= label <= len(CLASSES):
        raise InputError(f"{where} has the label {label}; expected 1 to {len(CLASSES)}")
    if start >= stop:
        raise InputError(f"{where}: the range {start}:{stop} of {sensor} holds no frame")
    path, file = PurePosixPath(fields["path"].replace("\\", "/")), range_of[0]
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", str(path)):
        raise InputError(f"{where}: the path {shortened(str(path))} leads out of {source}")
    if not file or re.search(r"[/\\]", file) or file.startswith("."):
        raise InputError(
            f"{where}: {shortened(file)!r} is no name of a file in the recording's folder"
        )
    name = str(PurePosixPath(*(part for part in path.parts if part != "Video_data")))
    if name.lower() in seen:
        raise InputError(
            f"{where} lists {shortened(name)} a second time; the first is {seen[name.lower()]}: a "
            "recording must be listed once, to train on or to test on"
        )
    seen[name.lower()] = where
    folder = find_folder(source, path.parts)
    video = None
    if folder is not None:
        video = find_video(folder, file) or find_video(folder / folder.name, file)
    fault, hint = None, ""
    if video is None:
        video = source / path / f"{without_ending(file)}.avi"
        hint = "unpack all parts of nvGesture_v1.7z"
        fault = f"{where} names {video}, which is not there; {hint}"
    return Listed(video, label - 1, name, start, stop, fault, hint)
