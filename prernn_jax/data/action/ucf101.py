"""UCF101 from its official layout: folders of AVI files and the lists of the three splits.

Layout: SOURCE/UCF-101/<Class>/v_<Class>_gXX_cYY.avi and SOURCE/ucfTrainTestlist/classInd.txt,
trainlist0N.txt, testlist0N.txt (lines may end in CR LF). A test list has no labels: the class is
the folder. Names are matched without regard to case, since the archive and its lists disagree on
HandstandPushups and HandStandPushups.
"""

from collections.abc import Mapping
from pathlib import Path

from prernn_jax.data.media.listing import videos_by_class, why_absent, without_ending
from prernn_jax.data.prepared.lists import (
    Listed,
    Listing,
    existing_folder,
    numbered_lines,
    refuse_repeats,
    shortened,
)
from prernn_jax.errors import InputError

LAYOUT = "SOURCE/UCF-101/<Class>/*.avi and SOURCE/ucfTrainTestlist/{classInd,trainlist01,...}.txt"
COUNTS = {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
"""Number of videos to train and to test on in each official split."""


def read_classes(source: Path) -> tuple[str, ...]:
    """Reads the names of the classes from classInd.txt, which counts from 1.

    Raises:
        InputError: No such file, or its numbers are not 1, 2, 3, ...
    """
    path = _lists(source) / "classInd.txt"
    names: list[str] = []
    for line, text in numbered_lines(path, LAYOUT):
        number, _, name = text.replace("\t", " ").partition(" ")
        if number != str(len(names) + 1) or not name:
            raise InputError(
                f"{path} line {line} is {shortened(text)!r}; expected {len(names) + 1} and a class "
                "name"
            )
        names.append(name.strip())
    return tuple(names)


def read_listing(source: Path, split: int) -> Listing:
    """Reads the official lists of one split.

    Args:
        source: The folder that holds UCF-101 and ucfTrainTestlist.
        split: 1, 2 or 3.

    Returns:
        The parts "train" and "test"; absent videos have a `fault`.

    Raises:
        InputError: A folder or list is missing, or a line names an unknown class, or a number that
            is not the class's, or a video is listed twice. The message names list, line and video.
    """
    if split not in COUNTS:
        raise InputError(f"UCF101 has the splits 1, 2 and 3, got {split}")
    classes = read_classes(source)
    folder = existing_folder(source / "UCF-101", LAYOUT, archive=True)
    videos = videos_by_class(folder)
    parts = {}
    for part in ("train", "test"):
        path = _lists(source) / f"{part}list{split:02d}.txt"
        parts[part] = _read_list(path, classes, folder, videos)
    lists = {part: f"{part}list{split:02d}.txt" for part in parts}
    refuse_repeats(parts, lists)
    return Listing(classes, parts, dict(zip(parts, COUNTS[split], strict=True)))


def _read_list(
    path: Path, classes: tuple[str, ...], folder: Path, videos: Mapping[str, Path]
) -> list[Listed]:
    numbers = {name.lower(): number for number, name in enumerate(classes)}
    listed = []
    for line, text in numbered_lines(path, LAYOUT):
        name, *more = text.split(maxsplit=1)
        given = more[0] if more else ""
        where = f"{path} line {line}"
        kind, _, file = name.partition("/")
        kind = kind.lower()
        if not file or "/" in file or file in (".", ".."):
            raise InputError(f"{where} is {shortened(text)!r}; expected <Class>/<video>.avi")
        if kind not in numbers:
            raise InputError(
                f"{where} is {shortened(text)!r}: {shortened(kind)!r} is no class of classInd.txt"
            )
        if given and given.strip() != str(numbers[kind] + 1):
            raise InputError(
                f"{where} gives {shortened(name)} the class {shortened(given.strip())}, but "
                f"classInd.txt says {numbers[kind] + 1}"
            )
        stem = without_ending(name)
        video, fault, hint = videos.get(stem.lower()), None, ""
        if video is None:
            video = folder / name
            hint = why_absent(folder, kind, file) or "unpack all of UCF101.rar"
            fault = f"{where} names {name}, which is not under {folder}; {hint}"
        listed.append(Listed(video, numbers[kind], stem, fault=fault, hint=hint))
    if not listed:
        raise InputError(f"{path} is empty; expected one video a line")
    return listed


def _lists(source: Path) -> Path:
    lists = existing_folder(source, LAYOUT) / "ucfTrainTestlist"
    return existing_folder(lists, LAYOUT, archive=True)
