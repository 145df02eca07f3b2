"""Reading official split lists: their lines, and the videos that they name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.media.listing import visible
from prernn_jax.errors import InputError

LONGEST_LINE = 1000
"""Characters of a line of a list."""
SOME_FRAMES = ", frames"
"""Follows a video's name where only some frames have a fault and the video is used."""


@dataclass(frozen=True)
class Listed:
    """A video, or a part of one, as a split list names it.

    Attributes:
        video: The file.
        label: Class number, from 0.
        name: Name of the sample, and of its prepared file in the data set's folder.
        start: The first frame, from 0.
        stop: The frame behind the last one; None for all frames.
        fault: What is wrong if the video is missing; names list and line where it can.
        hint: What to do about it; the same text for videos that are missing for one reason.
    """

    video: Path
    label: int
    name: str
    start: int = 0
    stop: int | None = None
    fault: str | None = None
    hint: str = ""


@dataclass(frozen=True)
class Listing:
    """What the lists of a data set name.

    Attributes:
        classes: Names of the classes, by label.
        parts: Part of the data set ("train", "test") -> its samples in the order of the lists.
        official: Part -> number of samples in the official lists; empty for a user's own lists.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, list[Listed]]
    official: Mapping[str, int]


def existing_folder(path: Path, layout: str, archive: bool = False) -> Path:
    """Returns the path.

    Args:
        path: The folder.
        layout: The layout that the message shows.
        archive: An archive unpacks to this folder, so a folder of the same name in it is a mistake.

    Raises:
        InputError: There is no such folder, or the archive was unpacked one folder too deep; the
            message shows the layout that is expected, and what to give instead.
    """
    inner = path / path.name
    if path.is_dir() and not (archive and inner.is_dir()):
        return path
    if path.is_dir():
        raise InputError(
            f"{path} holds a second folder {path.name}: the archive was unpacked one folder too "
            f"deep; move what is in {inner} to {path}"
        )
    hint = ""
    beside = visible(path.parent)
    deeper = [place / path.name for place in beside if (place / path.name).is_dir()]
    if deeper:
        hint = f"; {deeper[0]} is there, one folder too deep: give {deeper[0].parent} as the source"
    elif path.parent.name == path.name:
        hint = f"; give {path.parent.parent} as the source"
    raise InputError(f"there is no folder {path}; expected {layout}{hint}")


def numbered_lines(path: Path, layout: str) -> Iterator[tuple[int, str]]:
    """Yields number and text of the lines that are not empty, without blanks at their ends.

    Raises:
        InputError: There is no such file, or it is no text; the message shows the layout that is
            expected.
    """
    if not path.is_file():
        raise InputError(f"there is no {path}; expected {layout}")
    for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path)), start=1):
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"{path} line {number} has {len(line)} characters; expected at most "
                f"{LONGEST_LINE}: {layout}"
            )
        if line.strip():
            yield number, line.strip()


def read_text(path: Path) -> str:
    """Reads a text file in UTF-8 or UTF-16, with or without a byte-order mark, or Latin-1.

    Raises:
        InputError: It cannot be read, or is no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    order = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(data[:2])
    if order is None and b"\0" in data[:4]:  # UTF-16 without its mark: every second byte is 0
        order = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    text = None
    for encoding in (order,) if order else ("utf-8-sig", "latin-1"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    if text is None or re.search(r"[\0-\x08\x0e-\x1f]", text):
        raise InputError(f"{path} is no text; expected UTF-8, UTF-16 or Latin-1")
    return text.removeprefix("\ufeff")


def shortened(text: str) -> str:
    """Returns a text from a file so that a message with it stays one short line."""
    return text if len(text) <= 150 else f"{text[:150]}... ({len(text)} characters)"


def refuse_repeats(parts: Mapping[str, list[Listed]], where: Mapping[str, str]) -> None:
    """Checks that no video is listed twice.

    Args:
        parts: Part -> its samples.
        where: Part -> what messages call its list.

    Raises:
        InputError: A video is listed twice in one part, or in two: then the test would show what
            was trained on.
    """
    seen: dict[str, str] = {}
    for part, items in parts.items():
        for item in items:
            before = seen.setdefault(item.name.lower(), part)
            if before != part:
                raise InputError(
                    f"{where[part]} lists {shortened(item.name)}, which {where[before]} lists too: "
                    f"a video of {before} must not be in {part}; remove it from one of them"
                )
        names = [item.name.lower() for item in items]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(
                f"{where[part]} lists {shortened(twice)} twice; remove one of the lines"
            )
