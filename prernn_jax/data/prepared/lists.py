"""Reading official split lists: their lines, and the videos that they name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.errors import InputError


@dataclass(frozen=True)
class Listed:
    """A video, or a part of one, as a split list names it.

    Attributes:
        video: The file.
        label: Class number, from 0.
        name: The sample's, also the prepared file's under the data set's folder.
        start: The first frame, from 0.
        stop: The frame behind the last one; None: all frames.
        fault: What is wrong if the video is not there; it names list and line.
    """

    video: Path
    label: int
    name: str
    start: int = 0
    stop: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Listing:
    """What the lists of a data set name.

    Attributes:
        classes: names, by label.
        parts: Part of the data set ("train", "test") -> its samples in the lists' order.
        official: Part -> number of samples in the official lists; empty for lists of the user's.
    """

    classes: tuple[str, ...]
    parts: Mapping[str, list[Listed]]
    official: Mapping[str, int]


def existing_folder(path: Path, layout: str, archive: bool = False) -> Path:
    """Returns the path.

    Args:
        path: A folder.
        layout: What is expected, for the message.
        archive: This is what an archive unpacks to, so a folder of its own name in it is a mistake.

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
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    deeper = [place / path.name for place in beside if (place / path.name).is_dir()]
    if deeper:
        hint = f"; {deeper[0]} is there, one folder too deep: give {deeper[0].parent} as the source"
    elif path.parent.name == path.name:
        hint = f"; give {path.parent.parent} as the source"
    raise InputError(f"there is no folder {path}; expected {layout}{hint}")


def numbered_lines(path: Path, layout: str) -> Iterator[tuple[int, str]]:
    """Number and text of a list's lines that are not empty; CR LF and blanks at the end go.

    Raises:
        InputError: There is no such file; the message shows the layout that is expected.
    """
    if not path.is_file():
        raise InputError(f"there is no {path}; expected {layout}")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def find_videos(folder: Path) -> dict[str, Path]:
    """Every video in the class folders by its lower-case name <class>/<file>."""
    return {f"{video.parent.name}/{video.name}".lower(): video for video in folder.glob("*/*.avi")}
