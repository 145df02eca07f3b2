"""Own videos and their classes, from folders or from lists.

A folder has one sub-folder for each class, at its top or in `train`, `val` and `test`. A list is a
CSV file with a header, `path,label[,split][,group][,start,end]`, or has lines `path label`, as
pytorchvideo and mmaction2 have them. A folder may hold lists instead: train.csv, val.txt, ...
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.media.listing import (
    is_video,
    not_too_deep,
    visible,
    visible_below,
    without_ending,
)
from prernn_jax.data.prepared.lists import numbered_lines, read_text, shortened
from prernn_jax.errors import InputError

LAYOUT = (
    "SOURCE/<class>/<video>, SOURCE/{train,val,test}/<class>/<video>, or a list of lines "
    "`path label` or with the header path,label[,split][,group][,start,end]"
)
PARTS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
_LISTS = (".csv", ".txt")
_LONGEST = 220  # bytes of a name; prepared files add an ending
_COLUMNS = ("path", "label", "split", "group", "start", "end")


@dataclass(frozen=True)
class Row:
    """One video, or a part of one.

    Attributes:
        video: The file.
        label: Name of its class.
        name: The sample's; no other has it.
        part: `train`, `validation` or `test`; None where nothing says it.
        group: What must not be divided between training and testing; empty where nothing says it.
        stated: Whether a list says the group; else a folder does.
        start: The first frame, from 0.
        stop: The frame behind the last one; None: all frames.
        where: Which line names it; empty for a folder.
    """

    video: Path
    label: str
    name: str
    part: str | None = None
    group: str = ""
    stated: bool = False
    start: int = 0
    stop: int | None = None
    where: str = ""


def read_rows(source: Path, root: Path | None = None) -> list[Row]:
    """Reads a folder or a list.

    Args:
        source: The folder or the list.
        root: Folder of the videos that a list names; that of the list when None.

    Raises:
        InputError: There is no such folder or list, it holds no videos, a line is of no form that
            is known, or two samples have one name.
    """
    if source.is_file():
        rows = list(_of_list(source, root, None))
    elif source.is_dir():
        rows = list(_of_folder(source, root))
    else:
        raise InputError(f"--source={source}: there is no such folder or list; expected {LAYOUT}")
    if not rows:
        raise InputError(f"--source={source} holds no videos; expected {LAYOUT}")
    refuse_one_name(rows)
    return rows


def _of_folder(source: Path, root: Path | None) -> Iterator[Row]:
    folders, lists = named_parts(source, _LISTS)
    for folder, part in folders.items():
        yield from _classes(folder, part)
    for path, part in lists.items():
        yield from _of_list(path, root or source, part)
    if not folders and not lists:
        yield from _classes(source, None)


def named_parts(source: Path, endings: tuple[str, ...]) -> tuple[dict[Path, str], dict[Path, str]]:
    """Finds the parts of a data set that a folder names.

    Args:
        source: The folder.
        endings: Of lists.

    Returns:
        The folders of parts, or else the lists of parts, where there is one for training; both
        empty where there is none.
    """
    parts = {
        path: PARTS[path.stem.lower()] for path in visible(source) if path.stem.lower() in PARTS
    }
    folders = {path: part for path, part in parts.items() if path.is_dir()}
    lists = {path: part for path, part in parts.items() if path.suffix.lower() in endings}
    if "train" in folders.values():
        return folders, {}
    return {}, lists if "train" in lists.values() else {}


def _classes(folder: Path, part: str | None) -> Iterator[Row]:
    for place in visible(folder):
        top = not_too_deep(place)  # an archive's own folder is no group
        for video in visible_below(place) if place.is_dir() else ():
            if not is_video(video):
                continue
            inside = video.relative_to(place).with_name(without_ending(video.name))
            group = "/".join(video.relative_to(top).parts[:-1])
            name = "/".join([*([part] if part else []), place.name, "_".join(inside.parts)])
            yield Row(video, place.name, name, part, group)


def _of_list(path: Path, root: Path | None, part: str | None) -> Iterator[Row]:
    first = next(iter(numbered_lines(path, LAYOUT)), (0, ""))[1]
    header = [word.strip().lower() for word in first.split(",")]
    headed = {"path", "label"} <= set(header)
    for line, values in _headed(path, header) if headed else _plain(path):
        where = f"{path} line {line}"
        given = read_part(values["split"], where) if values.get("split") else part
        start, stop = (_frame(values.get(name), where, name) for name in ("start", "end"))
        if stop is not None and stop <= (start or 0):
            raise InputError(f"{where}: the frames from {start or 0} to before {stop} are none")
        video = place_below(values["path"], root or path.parent, where)
        cut = "" if start is None and stop is None else f"-{start or 0}-{stop or 'end'}"
        stem = as_name("_".join([*video.parts[-2:-1], without_ending(video.name)]) + cut)
        label = as_name(values["label"])
        name = "/".join([*([given] if given else []), label, stem])
        group = values.get("group") or ""
        yield Row(video, label, name, given, group, bool(group), start or 0, stop, where)


def _headed(path: Path, header: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    unknown = sorted(set(header) - set(_COLUMNS))
    if unknown:
        raise InputError(
            f"{path}: unknown column {shortened(unknown[0])!r}; expected {', '.join(_COLUMNS)}"
        )
    for number, values in enumerate(csv_lines(path), start=1):
        if not values or not "".join(values).strip() or number == 1:
            continue
        if len(values) != len(header):
            raise InputError(
                f"{path} line {number} has {len(values)} values; the header has {len(header)}"
            )
        found = {name: value.strip() for name, value in zip(header, values, strict=True)}
        if not found["path"] or not found["label"]:
            raise InputError(f"{path} line {number} has no path or no label")
        yield number, found


def _plain(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    for number, text in numbered_lines(path, LAYOUT):
        words = text.rsplit("," if "," in text else None, 1)
        if len(words) != 2 or not all(word.strip() for word in words):
            raise InputError(
                f"{path} line {number} is {shortened(text)!r}; expected a path and a label"
            )
        yield number, {"path": words[0].strip(), "label": words[1].strip()}


def _frame(text: str | None, where: str, name: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise InputError(f"{where}: {name} is {shortened(text)!r}; expected the number of a frame")
    return int(text)


def csv_lines(path: Path) -> list[list[str]]:
    """The lines of a CSV file, each as its values.

    Raises:
        InputError: It is no CSV file.
    """
    try:
        lines = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV file: {error}") from None
    for number, values in enumerate(lines, start=1):
        one_line("".join(values), f"{path} line {number}")
    return lines


def one_line(text: str, where: str) -> str:
    """Returns a name or path from a list.

    Raises:
        InputError: It holds a line break or another control character.
    """
    if any(ord(sign) < ord(" ") for sign in text.replace("\t", " ")):
        raise InputError(f"{where}: {shortened(repr(text))} holds a line break; expected one line")
    return text


def read_part(text: str, where: str) -> str:
    """The part of a data set that a list names.

    Raises:
        InputError: It is none; the message begins with `where`.
    """
    part = PARTS.get(text.lower())
    if part is None:
        raise InputError(f"{where}: the split is {shortened(text)!r}; expected train, val or test")
    return part


def absent(where: str, file: Path) -> str:
    """Says that a line of a list names a file that is not there, and what to do."""
    return f"{where} names {file}, which is not there; mend the line, or give --root, its folder"


def as_name(text: str) -> str:
    """A text of a list as one part of a sample's name, which is that of a file too."""
    return text.replace("/", "_") if text not in (".", "..") else "_"


def refuse_one_name(rows: Iterable[Row]) -> None:
    """Raises an InputError where two samples have one name, or a name is none for a file."""
    seen: dict[str, Row] = {}
    for row in rows:
        if len(row.name.encode(errors="replace")) > _LONGEST:
            raise InputError(
                f"{row.where or row.video}: the name {shortened(row.name)!r} is too long for a "
                "file; give shorter names of videos and labels"
            )
        other = seen.setdefault(row.name.lower(), row)
        if other is not row:
            raise InputError(
                f"two videos have the name {row.name}: {other.video} and {row.video}; rename or "
                "remove one of them"
            )


def place_below(text: str, root: Path, where: str) -> Path:
    """The file that a list names: below the root, also where it was written on another machine.

    Args:
        text: What the list says.
        root: The folder of the files.
        where: What to call the line in messages.

    Raises:
        InputError: No file can have such a name.
    """
    path = Path(one_line(text, where))
    if any(len(part.encode(errors="replace")) > _LONGEST for part in path.parts):
        raise InputError(f"{where}: {shortened(text)!r} is no path of a file")
    if path.is_absolute() and path.exists():
        return path
    parts = path.parts[1:] if path.is_absolute() else path.parts
    for start in range(len(parts)):
        if (found := root.joinpath(*parts[start:])).exists():
            return found
    return root.joinpath(*parts) if not path.is_absolute() else path
