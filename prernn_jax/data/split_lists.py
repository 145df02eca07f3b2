"""Reading official split lists: their lines, and the videos that they name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.errors import InputError


@dataclass(frozen=True)
class Listed:
    """A video as a split list names it."""

    video: Path
    label: int
    name: str  # also the prepared file's, under the data set's folder


def existing_folder(path: Path, layout: str) -> Path:
    """Return the path.

    Raises:
      InputError: there is no such folder; the message shows the layout that is expected.
    """
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; expected {layout}")
    return path


def numbered_lines(path: Path, layout: str) -> Iterator[tuple[int, str]]:
    """Number and text of a list's lines that are not empty; CR LF and blanks at the end go.

    Raises:
      InputError: there is no such file; the message shows the layout that is expected.
    """
    if not path.is_file():
        raise InputError(f"there is no {path}; expected {layout}")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def find_videos(folder: Path) -> dict[str, Path]:
    """Every video in the class folders by its lower-case name <class>/<file>."""
    return {f"{video.parent.name}/{video.name}".lower(): video for video in folder.glob("*/*.avi")}
