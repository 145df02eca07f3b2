"""Own videos of faces prepared and opened: a folder, a CSV file or COCO's keypoints."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.files import FaceFiles, FaceRecipe, Landmarks, frame_report, read_pictures
from prernn_jax.data.face.records import FaceBoxes
from prernn_jax.data.media.video import read_frames
from prernn_jax.data.own.face_rows import FaceRow, ListedFace, face_row_of, faces_below
from prernn_jax.data.own.face_table import faces_of_coco, faces_of_csv
from prernn_jax.data.own.landmark_file import read_landmarks
from prernn_jax.data.own.leaks import refuse_leaks
from prernn_jax.data.own.open import cache_name, prepare_usable
from prernn_jax.data.own.rows import named_parts, refuse_one_name
from prernn_jax.data.own.split import divide, written_groups
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.prepared.lists import Listed, Listing
from prernn_jax.errors import InputError

LAYOUT = (
    "SOURCE/<video>.mp4 with SOURCE/<video>/000001.pts, ..., folders of pictures with a .pts file "
    "each, a CSV file path,x0,y0,x1,y1,... or a JSON file of COCO's keypoints"
)
_TABLES = {".csv": faces_of_csv, ".json": faces_of_coco}


@dataclass(frozen=True)
class OwnFaces:
    """A data set of own videos of faces.

    Attributes:
        splits: `train`, `test` and perhaps `validation` -> records.
        points: Landmarks P of a face.
        table: The split as a CSV file.
    """

    splits: dict[str, FaceFiles]
    points: int
    table: str


@dataclass(frozen=True)
class OwnFaceRecipe(FaceRecipe):
    """How own videos of faces are prepared.

    Attributes:
        points: Landmarks P; frames with another number are left out.
    """

    points: int = 0

    @property
    def key(self) -> str:
        """The name of the folder."""
        return f"{super().key}-{self.points}points"

    def sources(self, item: Listed) -> list[Path]:
        """Returns the files that a prepared video is made from."""
        row = face_row_of(item)
        table = [row.table] if row.table else []
        return [*(row.pictures.values() or [row.video]), *row.marks.values(), *table]

    def annotated(self, item: Listed) -> set[int]:
        """Returns the numbers of the frames for which there should be landmarks."""
        row = face_row_of(item)
        return {*row.marks, *row.given}

    def landmarks(self, item: Listed) -> tuple[Landmarks, list[str]]:
        """Returns the landmarks that can be used, and why the others cannot."""
        row = face_row_of(item)
        found, faults = dict(row.given), list(row.faults)
        for number, path in row.marks.items():
            try:
                found[number] = read_landmarks(path, self.points)
            except InputError as error:
                faults.append(str(error))
        return {n: p for n, p in found.items() if len(p) == self.points}, faults

    def broken(self, item: Listed) -> frozenset[int]:
        """Returns no frames: nobody has told of any."""
        return frozenset()

    def pictures(self, item: Listed) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yields number and picture of each frame."""
        row = face_row_of(item)
        if row.pictures:
            yield from read_pictures(row.pictures)
        else:
            yield from enumerate(read_frames(row.video), start=1)


def read_face_rows(source: Path, root: Path | None = None) -> list[FaceRow]:
    """Finds the videos of a folder or of a table.

    Args:
        source: The folder or the table.
        root: Folder of the files that a table names; that of the table when None.

    Raises:
        InputError: There is no such folder or table, no video has landmarks, something in it
            cannot be used, or two videos have one name.
    """
    if source.is_dir():
        folders, tables = named_parts(source, tuple(_TABLES))
        rows = [row for folder, part in folders.items() for row in faces_below(folder, part)]
        for path, part in tables.items():
            rows += _TABLES[path.suffix.lower()](path, root or source, part)
        if not folders and not tables:
            rows = list(faces_below(source))
    elif source.is_file() and source.suffix.lower() in _TABLES:
        rows = list(_TABLES[source.suffix.lower()](source, root or source.parent, None))
    else:
        state = "is neither .csv nor .json" if source.is_file() else "there is no such folder"
        raise InputError(f"--source={source}: {state}; expected {LAYOUT}")
    if not rows:
        raise InputError(f"--source={source} holds no video of a face; expected {LAYOUT}")
    if all(row.missing for row in rows):
        more = f" (and {len(rows) - 1} more videos)" * (len(rows) > 1)
        raise InputError(f"{rows[0].missing}{more}")
    refuse_one_name(rows)
    return rows


def open_faces(
    source: Path,
    cache_dir: Path | None,
    boxes: FaceBoxes,
    *,
    root: Path | None = None,
    seed: int = 1,
    workers: int | None = None,
) -> OwnFaces:
    """Reads a folder or a table, prepares what is still to do, and opens it.

    Args:
        source: See `prernn_jax.data.own.face_rows` and `prernn_jax.data.own.face_table`.
        cache_dir: The prepared cache; see `data_folder` for the default.
        boxes: How the square of each frame is chosen.
        root: Folder of the files that a table names.
        seed: The seed of the split, where no split is given.
        workers: Processes that prepare; by default one a core.

    Raises:
        InputError: The source cannot be used, or no video for training or testing can.
    """
    parts = divide(read_face_rows(source, root), seed)
    refuse_leaks(parts, lambda row: tuple(row.pictures.values()) or (row.video,))
    points = count_points([row for rows in parts.values() for row in rows])
    recipe = OwnFaceRecipe(points=points)
    listing = Listing(
        (), {part: [_listed(row) for row in rows] for part, rows in parts.items()}, {}
    )
    files = ListedFiles(cache_name(source), listing, cache_dir, recipe)
    known = prepare_usable(files, workers)
    usable = files.usable()
    for part in ("train", "test"):
        if not usable[part]:
            why = f" (the first: {next(iter(known.values()))})" if known else ""
            raise InputError(f"no video can be used in the part {part}{why}")
    faults, _ = frame_report(files.folder, [item for items in usable.values() for item in items])
    for name, why in list(faults.items())[:5]:
        print(f"{name}: {why}", file=sys.stderr, flush=True)
    splits = {
        part: FaceFiles(files.folder, items, recipe, boxes, points)
        for part, items in usable.items()
    }
    if boxes.given is not None:
        for videos in splits.values():
            for video in range(len(videos)):
                videos[video]  # raises where a box cannot be used
    return OwnFaces(splits, points, _table(parts))


def count_points(rows: Sequence[FaceRow]) -> int:
    """The number of landmarks that most videos have in their first frame.

    Raises:
        InputError: No landmarks can be read, or there is one only.
    """
    counts: Counter[int] = Counter()
    fault = ""
    for row in rows:
        try:
            if row.given:
                counts[len(next(iter(row.given.values())))] += 1
            elif row.marks:
                counts[len(read_landmarks(next(iter(row.marks.values()))))] += 1
        except InputError as error:
            fault = fault or str(error)
    if not counts:
        raise InputError(f"no landmarks can be read (the first: {fault})")
    points = counts.most_common(1)[0][0]
    if points < 2:
        raise InputError(f"a face has {points} landmarks; the square around it needs two or more")
    return points


def _listed(row: FaceRow) -> ListedFace:
    return ListedFace(row.video, 0, row.name, fault=row.missing, row=row)


def _table(parts: Mapping[str, Sequence[FaceRow]]) -> str:
    """The split; where the landmarks lie beside the videos it can be given again as --source."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "split", "group"])
    groups = written_groups(parts)
    for part, rows in parts.items():
        for row in rows:
            writer.writerow([str(row.video.absolute()), part, groups[row.name]])
    return text.getvalue()
