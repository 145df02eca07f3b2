"""UCF101 from its official layout: folders of AVI files and the lists of the three splits.

Layout: SOURCE/UCF-101/<Class>/v_<Class>_gXX_cYY.avi and SOURCE/ucfTrainTestlist/classInd.txt,
trainlist0N.txt, testlist0N.txt (lines may end in CR LF). A test list has no labels: the class is
the folder. Names are matched without regard to case, for the archive and its lists disagree on
HandstandPushups / HandStandPushups.
"""

from collections.abc import Iterator
from pathlib import Path

from prernn_jax.data.clip_files import Listed
from prernn_jax.errors import InputError

LAYOUT = "SOURCE/UCF-101/<Class>/*.avi and SOURCE/ucfTrainTestlist/{classInd,trainlist01,...}.txt"
CLASSES = 101


def read_classes(source: Path) -> tuple[str, ...]:
    """Read classInd.txt: names by number, the first is number 0 here and 1 in the file.

    Raises:
      InputError: no such file, or its numbers are not 1, 2, 3, ...
    """
    path = _lists(source) / "classInd.txt"
    names: list[str] = []
    for line, text in _lines(path):
        number, _, name = text.partition(" ")
        if number != str(len(names) + 1) or not name:
            raise InputError(
                f"{path} line {line} is {text!r}; expected {len(names) + 1} and a class name"
            )
        names.append(name.strip())
    return tuple(names)


def read_split(source: Path, split: int, part: str) -> list[Listed]:
    """Read one official list.

    Args:
      source: the folder that holds UCF-101 and ucfTrainTestlist.
      split: 1, 2 or 3.
      part: "train" or "test".

    Returns:
      The videos in the list's order.

    Raises:
      InputError: a folder or list is missing, or a line names an absent video, an unknown
        class, or a number that is not the class's. The message names list, line and video.
    """
    if split not in (1, 2, 3):
        raise InputError(f"UCF101 has the splits 1, 2 and 3, got {split}")
    numbers = {name.lower(): number for number, name in enumerate(read_classes(source))}
    path = _lists(source) / f"{part}list{split:02d}.txt"
    videos = _videos(source)
    listed = []
    for line, text in _lines(path):
        name, _, given = text.partition(" ")
        where = f"{path} line {line}"
        folder = name.partition("/")[0].lower()
        if folder not in numbers:
            raise InputError(f"{where} is {text!r}: {folder!r} is no class of classInd.txt")
        if given and given.strip() != str(numbers[folder] + 1):
            raise InputError(
                f"{where} gives {name} the class {given.strip()}, but classInd.txt says "
                f"{numbers[folder] + 1}"
            )
        video = videos.get(name.lower())
        if video is None:
            raise InputError(
                f"{where} names {name}, which is not under {_folder(source)}; unpack the whole "
                "UCF101.rar there"
            )
        listed.append(Listed(video, numbers[folder], str(Path(name).with_suffix(""))))
    if not listed:
        raise InputError(f"{path} is empty; expected one video a line")
    return listed


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that are not empty."""
    if not path.is_file():
        raise InputError(f"there is no {path}; expected {LAYOUT}")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _lists(source: Path) -> Path:
    if not source.is_dir():
        raise InputError(f"there is no folder {source}; expected {LAYOUT}")
    return source / "ucfTrainTestlist"


def _folder(source: Path) -> Path:
    folder = source / "UCF-101"
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; expected {LAYOUT}")
    return folder


def _videos(source: Path) -> dict[str, Path]:
    """Every video by its lower-case name <class>/<file>."""
    return {
        f"{video.parent.name}/{video.name}".lower(): video
        for video in _folder(source).glob("*/*.avi")
    }
