"""Own videos and their classes, from folders or from lists.

A folder has one sub-folder for each class, at its top or in `train`, `val` and `test`. A list is a
CSV file with a header, `path,label[,split][,group][,start,end]`, or has lines `path label`, as
pytorchvideo and mmaction2 have them. A folder may hold lists instead: train.csv, val.txt, ...
"""

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
from prernn_jax.data.own.lists import (
    LONGEST,
    as_name,
    csv_table,
    header_of,
    part_of,
    place_below,
    read_part,
)
from prernn_jax.data.prepared.lists import numbered_lines, shortened
from prernn_jax.errors import InputError

LAYOUT = (
    "SOURCE/<class>/<video>, SOURCE/{train,val,test}/<class>/<video>, or a list of lines "
    "`path label` or with the header path,label[,split][,group][,start,end]"
)
_LISTS = (".csv", ".tsv", ".txt")
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
    _refuse_alike(sorted({row.label for row in rows}))
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
    parts = {path: part for path in visible(source) if (part := part_of(path.stem))}
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
            yield Row(video, as_name(place.name), name, part, group)


def _of_list(path: Path, root: Path | None, part: str | None) -> Iterator[Row]:
    headed = {"path", "label"} <= set(header_of(path))
    for line, values in _headed(path) if headed else _plain(path):
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


def _headed(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    header, lines = csv_table(path)
    unknown = sorted(set(header) - set(_COLUMNS))
    if unknown:
        raise InputError(
            f"{path}: unknown column {shortened(unknown[0])!r}; expected {', '.join(_COLUMNS)}"
        )
    for number, values in lines:
        found = dict(zip(header, values, strict=True))
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


def _refuse_alike(labels: Iterable[str]) -> None:
    """Raises an InputError where two classes differ in small and capital letters only."""
    seen: dict[str, str] = {}
    for label in labels:
        other = seen.setdefault(label.casefold(), label)
        if other != label:
            raise InputError(
                f"there are the classes {other!r} and {label!r}; if they are one, give them one "
                "name, else two names that differ in more than small and capital letters"
            )


def refuse_one_name(rows: Iterable[Row]) -> None:
    """Raises an InputError where two samples have one name, or a name is none for a file."""
    seen: dict[str, Row] = {}
    for row in rows:
        if not row.name.isprintable():
            raise InputError(
                f"{row.where or repr(str(row.video))}: the name {shortened(row.name)!r} holds a "
                "line break or another sign that cannot be printed; rename the file or its folder"
            )
        if len(row.name.encode(errors="replace")) > LONGEST:
            raise InputError(
                f"{row.where or row.video}: the name {shortened(row.name)!r} is too long for a "
                "file; give shorter names of videos and labels"
            )
        other = seen.setdefault(row.name.casefold(), row)
        if other is not row:
            raise InputError(
                f"two videos have the name {row.name}: {other.video} and {row.video}; rename or "
                "remove one of them"
            )
