"""Own videos of faces from one table: a CSV file, or the JSON of COCO's keypoints.

A CSV file has a header. The column `path` names a picture, or a video, whose frame, from 0, the
column `frame` names. Each landmark has a column of x and one of y, `x0,y0,x1,y1,...` or
`nose_x,nose_y,...`, in pixels from 0. `split`, `group` and `video` may be given. Without columns of
landmarks a row names a whole video with its landmark files beside it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.media.listing import is_video
from prernn_jax.data.own.face_rows import FaceRow, face_row, number_pictures
from prernn_jax.data.own.landmark_file import FARTHEST
from prernn_jax.data.own.lists import (
    absent,
    as_name,
    csv_table,
    one_line,
    place_below,
    read_part,
)
from prernn_jax.data.prepared.lists import read_text, shortened
from prernn_jax.errors import InputError

_COLUMNS = ("path", "frame", "video", "split", "group")


@dataclass(frozen=True)
class _Frame:
    """One line of a table: a picture, or a frame of a video, and its landmarks."""

    where: str
    file: Path
    frame: int | None
    points: NDArray[np.float32] | None  # None where they are not all there
    fault: str
    video: str
    part: str | None
    group: str


def faces_of_csv(path: Path, root: Path, part: str | None) -> Iterator[FaceRow]:
    """Reads a CSV file.

    Args:
        path: The file.
        root: Folder of the pictures and videos that it names.
        part: The part of the data set that it is, where its name says it.

    Raises:
        InputError: A column or a line cannot be used; the message names it.
    """
    header, lines = csv_table(path)
    known = {name: header.index(name) for name in _COLUMNS if name in header}
    if "path" not in known:
        raise InputError(
            f"{path} has no column `path`; expected path[,frame][,video][,split][,group],x0,y0,..."
        )
    xs, ys = _coordinates(path, header, set(known.values()))
    frames: list[_Frame] = []
    for number, words in lines:
        where = f"{path} line {number}"
        row = {name: words[column] for name, column in known.items()}
        if not row["path"]:
            raise InputError(f"{where} has no path")
        mine = read_part(row["split"], where) if row.get("split") else part
        file, group = place_below(row["path"], root, where), row.get("group", "")
        if not xs:
            yield face_row(file, root, mine, group, where)
            continue
        values = [words[column] for pair in zip(xs, ys, strict=True) for column in pair]
        points = None if "" in values else _numbers(values, where).reshape(-1, 2)
        fault = f"{where} has an empty coordinate" if points is None else ""
        frame = _frame(row.get("frame", ""), is_video(file), where)
        frames.append(_Frame(where, file, frame, points, fault, row.get("video", ""), mine, group))
    yield from _videos(frames, root, path)


def faces_of_coco(path: Path, root: Path, part: str | None) -> Iterator[FaceRow]:
    """Reads COCO's keypoints; see `faces_of_csv`. Landmarks with the visibility 0 are not there.

    Pictures of one `video_id`, or else of one folder, are a video.
    """
    form = 'expected COCO\'s {"images": [...], "annotations": [{"image_id": 1, "keypoints": ...}]}'
    try:
        content = json.loads(read_text(path))
        images = _by_id(content["images"], f"{path}: images")
        videos = _by_id(content.get("videos", ()), f"{path}: videos")
        titles = {number: str(video["name"]) for number, video in videos.items()}
        marked = [(str(note["image_id"]), note["keypoints"]) for note in content["annotations"]]
        names = [len(kind.get("keypoints", ())) for kind in content.get("categories", ())]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is no table of landmarks ({shortened(repr(error))}); {form}"
        ) from None
    sizes = [len(keys) for _, keys in marked if isinstance(keys, list)]
    count = (
        next((n for n in names if n), 0) or (Counter(sizes).most_common(1) or [(0, 0)])[0][0] // 3
    )
    frames = []
    for number, (image_id, keypoints) in enumerate(marked):
        where = f"{path} annotation {number}"
        if image_id not in images:
            raise InputError(
                f"{where} is of the image {shortened(image_id)}, which is not in the table"
            )
        image = images[image_id]
        if not isinstance(image.get("file_name"), str):
            raise InputError(f"{path}: the image {shortened(image_id)} has no file_name")
        given = image.get("video_id")
        number_of_video = "" if given is None else str(given)
        video = one_line(titles.get(number_of_video, number_of_video), where)
        points, fault = _keypoints(keypoints, count, where)
        file = place_below(image["file_name"], root, where)
        frames.append(_Frame(where, file, None, points, fault, video, part, ""))
    yield from _videos(frames, root, path)


def _by_id(objects: Iterable[Any], where: str) -> dict[str, Any]:
    """The objects of a table by their `id`; an InputError where two have the same one."""
    found: dict[str, Any] = {}
    for item in objects:
        if found.setdefault(str(item["id"]), item) is not item:
            raise InputError(
                f"{where} has the id {shortened(str(item['id']))} twice; nobody knows which one an "
                "annotation means: give each its own id"
            )
    return found


def _coordinates(path: Path, header: Sequence[str], used: set[int]) -> tuple[list[int], list[int]]:
    """The columns of x and those of y, in the order of the landmarks."""
    places: dict[str, dict[str, int]] = {"x": {}, "y": {}}
    for column, name in enumerate(header):
        if column in used:
            continue
        found = re.fullmatch(r"([xy])[_ ]?(\w+)|(\w+?)[_ .]([xy])", name)
        axis = found and (found[1] or found[4])
        if not found or not axis:
            raise InputError(
                f"{path}: unknown column {shortened(name)!r}; expected {', '.join(_COLUMNS)}, or "
                "x0,y0,x1,y1,... of the landmarks"
            )
        point = found[2] or found[3]
        if point in places[axis]:
            raise InputError(f"{path} has two columns {axis} of the landmark {point}")
        places[axis][point] = column
    alone = sorted(places["x"].keys() ^ places["y"].keys())
    if alone:
        raise InputError(f"{path}: the landmark {alone[0]} has a column of x or of y only")
    return list(places["x"].values()), [places["y"][point] for point in places["x"]]


def _numbers(words: Sequence[str], where: str) -> NDArray[np.float32]:
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"{where}: {shortened(str(error))}; expected numbers of pixels") from None
    if not (np.abs(values) < FARTHEST).all():
        raise InputError(f"{where}: a coordinate is not a finite number of pixels")
    return values.astype(np.float32)


def _frame(text: str, of_video: bool, where: str) -> int | None:
    if text and (not text.isdecimal() or len(text) > 9):
        raise InputError(f"{where}: frame is {shortened(text)!r}; expected a number from 0")
    if of_video and not text:
        raise InputError(f"{where} names a video; give its frame, from 0, in the column frame")
    return int(text) if text else None


def _keypoints(keypoints: Any, count: int, where: str) -> tuple[NDArray[np.float32] | None, str]:
    """The landmarks of an annotation, or why there are none."""
    try:
        values = np.asarray(keypoints, np.float64).reshape(-1, 3)
    except (ValueError, TypeError, OverflowError):
        return None, f"{where}: keypoints are not x, y, v of each landmark"
    if len(values) != count:
        return None, f"{where} has {len(values)} landmarks; expected {count}"
    if hidden := int((values[:, 2] == 0).sum()):
        return None, f"{where}: {hidden} of {count} landmarks are not labelled"
    if not (np.abs(values) < FARTHEST).all():
        return None, f"{where}: a coordinate is not a finite number of pixels"
    return values[:, :2].astype(np.float32), ""


def _videos(frames: Iterable[_Frame], root: Path, table: Path) -> Iterator[FaceRow]:
    """The videos to which the lines of a table belong, in the order of their first lines."""
    grouped: dict[str, list[_Frame]] = {}
    for frame in frames:
        of_file = is_video(frame.file)
        place = frame.file.with_suffix("") if of_file else frame.file.parent
        inside = place.relative_to(root) if place.is_relative_to(root) else Path(*place.parts[-2:])
        name = frame.video or inside.as_posix()
        grouped.setdefault(name if name != "." else place.resolve().name, []).append(frame)
    for name, members in grouped.items():
        yield _video(name, members, table)


def _video(name: str, frames: Sequence[_Frame], table: Path) -> FaceRow:
    first = frames[0]
    for what, values in (("split", {f.part for f in frames}), ("group", {f.group for f in frames})):
        if len(values) > 1:
            raise InputError(
                f"{table}: the frames of the video {name} have more than one {what}: "
                f"{', '.join(sorted(map(str, values)))}; a video is never divided"
            )
    films = sorted({frame.file for frame in frames if is_video(frame.file)})
    if len(films) > 1 or (films and not all(frame.file == films[0] for frame in frames)):
        raise InputError(f"{table}: the video {name} has frames of {len(films)} video files")
    if films:
        pictures, there = {}, films[0].is_file()
        number = [int(frame.frame or 0) + 1 for frame in frames]
    else:
        files = {frame.file for frame in frames if frame.file.is_file()}
        pictures, there = number_pictures(sorted(files)), bool(files)
        of_file = {file: number for number, file in pictures.items()}
        number = [of_file.get(frame.file, 0) for frame in frames]
    given, faults, twice = {}, [], Counter(number)
    for frame, place in zip(frames, number, strict=True):
        if not place:
            faults.append(absent(frame.where, frame.file))
        elif twice[place] > 1:
            faults.append(f"{frame.where}: {frame.file} has {twice[place]} faces in this frame")
        elif frame.points is None:
            faults.append(frame.fault)
        else:
            given[place] = frame.points
    missing = None
    if not there:
        missing = absent(first.where, first.file)
    elif not given:
        missing = f"the video {name} has no landmarks that can be used: {faults[0]}"
    title = as_name(name)
    return FaceRow(
        films[0] if films else first.file.parent,
        "",
        f"{first.part}/{title}" if first.part else title,
        first.part,
        first.group or name.rpartition("/")[0],
        stated=bool(first.group),
        where=first.where,
        pictures=pictures,
        given=given,
        faults=tuple(faults),
        table=table,
        missing=missing,
    )
