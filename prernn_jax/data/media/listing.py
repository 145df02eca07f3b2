"""Which files of a folder are data: videos, numbered pictures, landmark files.

Downloads hold other files too: hidden ones, the `._name` twin that macOS puts beside every file on
foreign disks, the folder `__MACOSX` that it puts into archives, and what Windows and network disks
keep for themselves. No listing of this package shows them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from prernn_jax.errors import InputError

VIDEOS = (
    *(".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg"),
    *(".wmv", ".flv", ".ogv", ".ts", ".3gp", ".gif"),
)
"""Endings of video files, in lower case. Where a video has several files, the first one counts."""
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Endings of picture files, in lower case."""
_OF_THE_SYSTEM = (
    *("@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"),
    *("thumbs.db", "desktop.ini"),
)
_LONGEST = 9  # most digits of a frame's number


def visible(folder: Path) -> list[Path]:
    """Returns what a folder holds, sorted by name, without hidden files.

    Returns:
        The paths; none where there is no such folder.

    Raises:
        InputError: The folder cannot be read.
    """
    if not folder.is_dir():
        return []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from error
    return [
        path
        for path in paths
        if not path.name.startswith((".", "__MACOSX")) and path.name.lower() not in _OF_THE_SYSTEM
    ]


def visible_below(folder: Path) -> Iterator[Path]:
    """Yields the files in a folder and in all folders below it, sorted, without hidden ones."""
    for path in visible(folder):
        if path.is_dir():
            yield from visible_below(path)
        else:
            yield path


def is_video(path: Path) -> bool:
    """Tells by its ending, without regard to case, whether a file is a video."""
    return path.suffix.lower() in VIDEOS


def without_ending(name: str) -> str:
    """Returns a video's name without its ending; other dots belong to the name."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in VIDEOS else name


def find_video(folder: Path, name: str) -> Path | None:
    """Returns the video of a name in a folder, without regard to case and ending."""
    wanted, stem = name.lower(), without_ending(name).lower()
    found = [
        path
        for path in visible(folder)
        if is_video(path) and without_ending(path.name).lower() == stem
    ]
    return min(found, key=lambda path: _rank(path, wanted), default=None)


def _rank(path: Path, wanted: str) -> tuple[bool, int]:
    return path.name.lower() != wanted, VIDEOS.index(path.suffix.lower())


def videos_by_class(folder: Path) -> dict[str, Path]:
    """Finds the videos of class folders.

    The archive of a class may have been unpacked into a folder of its own, so all folders below the
    class's are searched.

    Returns:
        `<class>/<name without ending>` in lower case -> the file; the least deep one of several.
    """
    found: dict[str, Path] = {}
    for place in visible(folder):
        videos = [path for path in visible_below(place) if is_video(path)]
        for path in sorted(videos, key=lambda path: (len(path.parts), _rank(path, ""))):
            key = f"{place.name}/{without_ending(path.name)}".lower()
            found.setdefault(key, path)
    return found


def find_folder(root: Path, parts: Sequence[str]) -> Path | None:
    """Returns the folder root/part/part/...; None if there is none.

    Each part may hold a folder of its own name in which the rest lies: so an archive looks that was
    unpacked one folder too deep.
    """
    if not parts:
        return root if root.is_dir() else None
    for place in (root / parts[0], root / parts[0] / parts[0]):
        found = find_folder(place, parts[1:]) if place.is_dir() else None
        if found is not None:
            return found
    return None


def not_too_deep(folder: Path) -> Path:
    """Returns a folder, or the folder of the same name in it if it holds nothing else."""
    return folder / folder.name if visible(folder) == [folder / folder.name] else folder


def why_absent(folder: Path, kind: str, name: str) -> str:
    """Says what stands in the place of an absent video, as the end of a message.

    Args:
        folder: The folder that holds the class folders.
        kind: The class.
        name: The video's file name.

    Returns:
        What is there instead; an empty text where nothing is.
    """
    stem = without_ending(name).lower()
    here = [path for path in visible(folder) if path.stem.lower() == kind.lower()]
    packed = [path.name for path in here if path.is_file()]
    if packed and not any(path.is_dir() for path in here):
        return f"{packed[0]} is there: unpack it"
    for place in here:
        for path in visible(place):
            if path.stem.lower() == stem or path.name.lower() == stem:
                what = "a folder" if path.is_dir() else "no video that is known by its ending"
                return f"there is {path}, {what}"
    return ""


def frame_number(path: Path) -> int | None:
    """Returns the number at the end of a name such as 000001.jpg, frame000001.jpg, img_00001.png.

    Returns:
        The number; None if the name does not end with one.

    Raises:
        InputError: The number has more digits than a frame can have.
    """
    digits = re.search(r"[0-9]*$", path.stem)
    assert digits is not None  # it matches the end of any text
    text = digits.group().lstrip("0") or digits.group()[:1]
    if len(text) > _LONGEST:
        raise InputError(
            f"{path.parent} holds a file that is numbered {text[:_LONGEST]}... ({len(text)} "
            f"digits); expected a frame's number of at most {_LONGEST} digits"
        )
    return int(text) if text else None


def numbered_files(folder: Path, endings: tuple[str, ...]) -> dict[int, Path]:
    """Finds the files of a folder that are numbered by frames.

    Args:
        folder: The folder.
        endings: Endings in lower case; other files are passed over.

    Returns:
        Number -> file, in the order of the numbers.

    Raises:
        InputError: Two files have the same number; the message names both.
    """
    found: dict[int, Path] = {}
    for path in visible(folder):
        number = frame_number(path) if path.suffix.lower() in endings else None
        if number is None:
            continue
        if number in found:
            raise InputError(
                f"{folder} has {found[number].name} and {path.name}, two files for frame {number}; "
                "keep one of them"
            )
        found[number] = path
    return dict(sorted(found.items()))
