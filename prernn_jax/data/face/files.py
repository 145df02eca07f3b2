"""Prepared face videos on disk: how they are written and read.

The part of the pictures in which the face moves is kept: one window for each video, twice as large
as the face. It is scaled so that the face is `side` pixels at the median; pictures are never
enlarged. A file holds N encoded pictures, their landmarks, their numbers, and a JSON record.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.landmarks import POINTS, bounding_box, outside, square_around
from prernn_jax.data.face.records import FaceBoxes, check_record
from prernn_jax.data.face.vw300 import (
    LANDMARK_FILES,
    annotations,
    broken_frames,
    numbering_fault,
    read_annotations,
)
from prernn_jax.data.face.window import FaceWindow, face_window, move_points
from prernn_jax.data.media.listing import PICTURES, is_video, not_too_deep, numbered_files
from prernn_jax.data.media.video import read_frames, require_decoder
from prernn_jax.data.prepared.folder import prepared_path, refuse_to_mix
from prernn_jax.data.prepared.lists import SOME_FRAMES, Listed
from prernn_jax.data.prepared.record_file import RecordFile, closing_record, record_writer
from prernn_jax.data.prepared.sources import fingerprint
from prernn_jax.data.records import Record, encode_picture, read_picture
from prernn_jax.errors import InputError

SMALLEST = 8.0
"""Landmarks that span fewer pixels are no face."""
Landmarks = dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class FaceRecipe:
    """How face videos are prepared; part of a folder's name, so that recipes never mix.

    Attributes:
        side: Side of the landmarks' bounding box in pixels to which larger faces are scaled.
        around: Side of what is kept around each face, as a multiple of its bounding box.
        quality: JPEG quality of the pictures.
    """

    side: int = 200
    around: float = 2.0
    quality: int = 95

    @property
    def key(self) -> str:
        """The name of the folder."""
        return f"face{self.side}px-x{self.around:g}-q{self.quality}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that must be the same for all videos of a folder."""
        return asdict(self)

    def sources(self, item: Listed) -> list[Path]:
        """Returns the files that a prepared video is made from: video or pictures, landmarks."""
        video = item.video
        pictures = [video]
        if video.is_dir():
            pictures = list(numbered_files(not_too_deep(video), PICTURES).values())
        return [*pictures, *numbered_files(annotations(video), LANDMARK_FILES).values()]

    def annotated(self, item: Listed) -> set[int]:
        """Returns the numbers of the frames for which there should be landmarks."""
        return set(numbered_files(annotations(item.video), LANDMARK_FILES))

    def landmarks(self, item: Listed) -> tuple[Landmarks, list[str]]:
        """Reads the landmarks of a video; see `read_annotations`."""
        return read_annotations(annotations(item.video))

    def broken(self, item: Listed) -> frozenset[int]:
        """Returns the numbers of the frames that are known to be badly annotated."""
        return broken_frames().get(item.name, frozenset())

    def pictures(self, item: Listed) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yields number and picture of each frame."""
        if item.video.is_dir():
            files = numbered_files(not_too_deep(item.video), PICTURES)
            if not files:
                raise InputError(
                    f"{item.video} holds no numbered picture; expected 000001.jpg, ... or "
                    "frame000001.png"
                )
            yield from read_pictures(files)
        else:
            yield from enumerate(read_frames(item.video), start=1)

    def require(self, items: Sequence[Listed]) -> None:
        """Checks that the packages are there; see `ListedFiles.prepare`."""
        if any(is_video(item.video) for item in items):
            require_decoder()

    def write(self, item: Listed, target: Path) -> None:
        """Decodes a video and writes its annotated frames. A failure leaves nothing behind.

        Badly annotated frames (`broken_frames`) are left out. Frames without landmarks, landmarks
        without a frame and faulty landmark files are noted.

        Raises:
            InputError: The video does not decode, or no frame of it has landmarks.
            OSError: The file cannot be written.
        """
        files = self.annotated(item)
        sources = self.sources(item)
        source = fingerprint(sources) if sources and item.video.exists() else None
        landmarks, faults = self.landmarks(item)
        broken = self.broken(item)
        kept = {number: points for number, points in landmarks.items() if number not in broken}
        window: FaceWindow | None = None
        seen, written = set(), []
        with record_writer(target) as write:
            for number, picture in self.pictures(item):
                seen.add(number)
                if number not in kept:
                    continue
                if window is None:
                    faults += _drop_outside(kept, picture, item.video)
                    if not kept:
                        break
                    every = np.stack(list(kept.values()))
                    height, width = picture.shape[:2]
                    window = face_window(every, height, width, self.side, self.around)
                if number not in kept:
                    continue
                write(encode_picture(window.cut(picture, item.video, number), self.quality))
                written.append(number)
            shifted = numbering_fault(seen, files)
            if shifted:
                raise InputError(f"{item.video}: {shifted}")
            if window is None or not written:
                first = f": {faults[0]}" if faults else ""
                raise InputError(f"no frame of {item.video} has landmarks that can be used{first}")
            points = np.stack([kept[number] for number in written])
            points = move_points(points, window.window, window.size)
            write(points.astype(np.float32).tobytes())
            write(np.array(written, np.int32).tobytes())
            facts = {
                "frames": len(written),
                "window": list(window.window),
                "size": list(window.size),
                "faulty": faults,
                "notes": _notes(files, seen, broken),
                "source": source,
                **self.facts,
            }
            write(closing_record(facts))


def _drop_outside(kept: Landmarks, picture: NDArray[np.uint8], video: Path) -> list[str]:
    """Drops frames whose landmarks are no face in this picture; returns what is wrong."""
    height, width = picture.shape[:2]
    faults, partly = [], []
    for number, points in list(kept.items()):
        x0, y0, x1, y1 = bounding_box(points)
        inside = x1 > 0 and y1 > 0 and x0 < width - 1 and y0 < height - 1
        if not inside or max(x1 - x0, y1 - y0) < SMALLEST:
            del kept[number]
            faults.append(
                f"the landmarks of frame {number} of {video} lie in ({x0:.0f}, {y0:.0f}) to "
                f"({x1:.0f}, {y1:.0f}): no face in a picture of {height}x{width} pixels"
            )
        elif outside(points, height, width).any():
            del kept[number]
            partly.append(number)
    if partly:
        faults.append(
            f"{len(partly)} frames of {video} have landmarks outside of the picture or marked as "
            f"hidden, first frame {partly[0]}"
        )
    return faults


def read_pictures(files: Mapping[int, Path]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yields number and picture of each file.

    Raises:
        InputError: One cannot be read; the message names it.
    """
    for number, path in files.items():
        yield number, read_picture(path)


def _notes(files: set[int], seen: set[int], broken: frozenset[int]) -> list[str]:
    notes = []
    if files & seen & broken:
        bad = len(files & seen & broken)
        notes.append(f"{bad} badly annotated frames are left out, as in the official test")
    if files - seen:
        first = min(files - seen)
        notes.append(f"{len(files - seen)} landmark files have no frame, first {first:06d}.pts")
    if seen - files:
        notes.append(f"{len(seen - files)} frames have no landmarks, first {min(seen - files)}")
    return notes


class FaceFiles:
    """Prepared face videos as a source of records (`prernn_jax.data.face.records`).

    Args:
        folder: The folder of the prepared files.
        listed: The videos; their label is the test category, 0 for training videos.
        recipe: How they must have been prepared.
        boxes: How the square of each frame is chosen.
        points: Landmarks P of a face.
    """

    def __init__(
        self,
        folder: Path,
        listed: Sequence[Listed],
        recipe: FaceRecipe,
        boxes: FaceBoxes,
        points: int = POINTS,
    ) -> None:
        self._folder, self._listed, self._boxes, self._points = folder, listed, boxes, points
        self._facts = recipe.facts

    def __len__(self) -> int:
        return len(self._listed)

    def frames_of(self, index: int) -> int:
        """Returns the number of frames of one video; reads its closing record only."""
        return int(self._open(self._listed[index]).facts["frames"])

    def _open(self, item: Listed) -> RecordFile:
        path = prepared_path(self._folder, item)
        file = RecordFile(path)
        refuse_to_mix(path, file.facts, self._facts)
        return file

    def __getitem__(self, index: int) -> Record:
        item = self._listed[index]
        file = self._open(item)
        count, size = int(file.facts["frames"]), file.facts["size"]
        landmarks = np.frombuffer(file.read(count), np.float32).reshape(count, -1, 2)
        if self._boxes.given is None:
            boxes = self._boxes.around(landmarks)
        else:
            numbers = np.frombuffer(file.read(count + 1), np.int32)
            given = self._boxes.of(item.name, numbers.tolist()).reshape(count, 2, 2)
            moved = move_points(given, file.facts["window"], size).reshape(count, 4)
            boxes = square_around(moved).astype(np.float32)
        record = {
            "frames": file.pictures(0, 1, count),
            "landmarks": landmarks,
            "boxes": boxes,
            "name": item.name,
            "category": str(item.label) if item.label else "",
        }
        check_record(record, size[0], size[1], self._points)
        return record


def frame_report(folder: Path, listed: Sequence[Listed]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns what preparation noted about frames: faults, and remarks.

    The keys of the faults are "<video>, frames", since the videos are used without these frames.
    """
    faulty, notes = {}, {}
    for item in listed:
        path = prepared_path(folder, item)
        if not path.is_file():
            continue
        facts = RecordFile(path).facts
        if facts["faulty"]:
            more = f" (and {len(facts['faulty']) - 1} more files)" * (len(facts["faulty"]) > 1)
            faulty[f"{item.name}{SOME_FRAMES}"] = f"left out: {facts['faulty'][0]}{more}"
        if facts["notes"]:
            notes[item.name] = "; ".join(facts["notes"])
    return faulty, notes
