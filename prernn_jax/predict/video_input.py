"""What can be given to a model in place of a prepared record: files, pictures, arrays, a camera."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.media.listing import PICTURES, is_video, visible, visible_below
from prernn_jax.data.media.video import fit, open_video, read_frames, scaled
from prernn_jax.data.records import read_picture
from prernn_jax.errors import InputError

Frames = Iterable[NDArray[np.uint8]]


@dataclass(frozen=True)
class VideoInput:
    """A video that has not been read yet.

    Attributes:
        name: What it is called in reports.
        source: A video file, pictures in their order, or frames (N, H, W, 3) uint8 RGB.
    """

    name: str
    source: Path | tuple[Path, ...] | NDArray[np.uint8]

    def frames(self, short_side: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Reads it, one picture at a time.

        Args:
            short_side: Shorter side in pixels to which pictures are brought; None keeps them.

        Yields:
            (H, W, 3) RGB, all of one size.

        Raises:
            InputError: It cannot be read; the message names the file.
        """
        if isinstance(self.source, Path):
            yield from read_frames(self.source, short_side)
            return
        first: tuple[int, ...] | None = None
        for number, picture in enumerate(self._pictures()):
            first = first or picture.shape
            if picture.shape != first:
                raise InputError(
                    f"{self.name}: picture {number} is {picture.shape[:2]}, the first is "
                    f"{first[:2]}; give pictures of one size"
                )
            yield scaled(picture, fit(picture.shape[0], picture.shape[1], short_side))

    @property
    def rate(self) -> Fraction:
        """Frames a second; 25 where nothing says it."""
        if isinstance(self.source, Path):
            with open_video(self.source) as (_, stream):
                found = stream.average_rate
                return Fraction(found) if found and 1 <= found <= 240 else Fraction(25)
        return Fraction(25)

    def _pictures(self) -> Iterator[NDArray[np.uint8]]:
        if isinstance(self.source, np.ndarray):
            yield from self.source
            return
        assert isinstance(self.source, tuple)
        for path in self.source:
            yield read_picture(path)


def as_input(given: Any) -> VideoInput:
    """One video: a file, a folder of pictures, or an array.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(given, VideoInput):
        return given
    if isinstance(given, str | os.PathLike):
        found = find_inputs(Path(given))
        if len(found) != 1:
            raise InputError(f"{given} holds {len(found)} videos; give one of them")
        return found[0]
    frames = np.asarray(given)
    if frames.ndim == 3 and frames.shape[-1] in (3, 4):
        raise InputError(
            f"an array of shape {frames.shape} may be one picture; expected (N, H, W, 3): give "
            "array[None] for one picture, array[..., None] for grey ones"
        )
    if frames.ndim == 3:  # grey
        frames = np.repeat(frames[..., None], 3, axis=-1)
    if frames.ndim != 4 or frames.shape[-1] not in (1, 3) or 0 in frames.shape:
        raise InputError(
            f"frames of shape {frames.shape}; expected (N, H, W, 3) RGB, or a path to a video"
        )
    if frames.dtype != np.uint8:
        raise InputError(f"frames are {frames.dtype}; expected uint8, 0 to 255")
    frames = np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames
    return VideoInput("array", np.ascontiguousarray(frames))


def find_inputs(path: Path) -> list[VideoInput]:
    """The videos of a path: itself, the pictures in it as one video, or all videos below it.

    Raises:
        InputError: There is nothing of that name, or no video in it.
    """
    if path.is_file():
        if path.suffix.lower() in PICTURES:
            return [VideoInput(str(path), (path,))]
        return [VideoInput(str(path), path)]
    if not path.is_dir():
        raise InputError(
            f"there is no {path}; expected a video file, a folder of videos or of pictures, - or "
            "the number of a camera"
        )
    pictures = [file for file in visible(path) if file.suffix.lower() in PICTURES]
    if pictures:
        _refuse_twice(pictures)
        return [VideoInput(str(path), tuple(sorted(pictures, key=_natural)))]
    videos = sorted(file for file in visible_below(path) if is_video(file))
    if not videos:
        raise InputError(f"{path} holds neither videos nor pictures; give another folder")
    return [VideoInput(str(file), file) for file in videos]


def _refuse_twice(pictures: Iterable[Path]) -> None:
    """Raises an InputError where a picture is there in two formats: each counts as a frame."""
    seen: dict[str, Path] = {}
    for path in pictures:
        other = seen.setdefault(path.stem.lower(), path)
        if other is not path:
            raise InputError(
                f"{path.parent} has {other.name} and {path.name}, two pictures of one name; keep "
                "one of them"
            )


def _natural(path: Path) -> list[Any]:
    """Sorts frame10 behind frame9."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


@contextmanager
def standard_input() -> Iterator[VideoInput]:
    """The video that comes in on the standard input, as a file while it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard-input"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield VideoInput("-", path)


def camera(number: int, seconds: float) -> VideoInput:
    """Films with a camera of this machine.

    Raises:
        InputError: There is no such camera, or it gives no pictures.
    """
    loud = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our line says it all
    try:
        capture = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(loud)
    try:
        if not capture.isOpened():
            raise InputError(f"there is no camera {number} on this machine, or another uses it")
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        frames: list[NDArray[np.uint8]] = []
        while len(frames) < max(round(seconds * rate), 1):
            there, picture = capture.read()
            if not there:
                break
            frames.append(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
    finally:
        capture.release()
    if not frames:
        raise InputError(f"the camera {number} gives no pictures")
    return VideoInput(f"camera {number}", np.stack(frames))
