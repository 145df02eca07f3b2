"""Prepared clips on disk, one array_record file each: how they are written and read.

In a file stand, in turn, frame i, flow_x i and flow_y i as encoded pictures (frames only where
no flow was wanted), and at the end a JSON record that says how they were made. A file appears
under its name when it is complete.
"""

import contextlib
import errno
import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from array_record.python import array_record_module
from numpy.typing import NDArray

from prernn_jax.data.flow import BOUND, FlowAlgorithm, flow_estimator, quantise
from prernn_jax.data.prepared_files import prepared_path, read_facts, refuse_to_mix
from prernn_jax.data.records import Record, encode_picture
from prernn_jax.data.split_lists import Listed
from prernn_jax.data.video import read_frames
from prernn_jax.errors import InputError

OPENCV: str = cv2.__version__
Flow = FlowAlgorithm | Literal["none"]


@dataclass(frozen=True)
class Recipe:
    """How videos are prepared; part of a folder's name, so that recipes never mix."""

    flow: Flow = "dis"
    short_side: int = 256
    quality: int = 95
    gray: bool = False
    """Keep one channel, as of depth."""

    @property
    def key(self) -> str:
        """A folder name."""
        return f"{self.flow}-{self.short_side}px-q{self.quality}{'-gray' if self.gray else ''}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that must be the same for all clips of a set."""
        facts = asdict(self)
        return facts if self.flow == "none" else {**facts, "bound": BOUND, "opencv": OPENCV}


class _Pictures(Sequence[bytes]):
    """Encoded pictures of one kind, read from the file one by one."""

    def __init__(self, reader: Any, first: int, step: int, count: int) -> None:
        self._reader, self._places = reader, range(first, first + step * count, step)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        return self._reader.read([self._places[int(index)]])[0]


def write_clip(item: Listed, target: Path, recipe: Recipe) -> None:
    """Decode a clip, compute its flow, and write both; nothing is left behind on failure.

    Args:
      item: the video and which of its frames.
      target: the prepared file.
      recipe: flow algorithm, size, quality.

    Raises:
      InputError: the video does not decode, has not all the frames, or has fewer than two while
        flow is wanted.
      OSError: the file cannot be written.
    """
    with record_writer(target) as write:
        count = 0
        for pictures in _encoded(item, recipe):
            for data in pictures:
                write(data)
            count += 1
        if count < 2 and recipe.flow != "none":
            raise InputError(f"the video {item.video} has 1 frame; optical flow needs 2")
        write(json.dumps({"frames": count, **recipe.facts}).encode())


@contextlib.contextmanager
def record_writer(target: Path) -> Iterator[Callable[[bytes], Any]]:
    """Write an array_record file that appears under its name when it is complete.

    Yields:
      A function that appends a record.

    Raises:
      OSError: the file cannot be written, for instance since the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        # No compression: the pictures are JPEG already. Groups of one give access to each.
        writer = array_record_module.ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
        try:
            yield writer.write
        finally:
            try:
                writer.close()  # faults of earlier writes are told here too
            except RuntimeError as error:
                full = "No space left" in str(error)
                raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _encoded(item: Listed, recipe: Recipe) -> Iterator[list[bytes]]:
    """For each frame: the flow that leads to it, if there is one, then the frame itself."""
    encode = functools.partial(encode_picture, quality=recipe.quality)
    before: NDArray[np.uint8] | None = None
    estimate = None
    for frame in read_frames(item.video, recipe.short_side, item.start, item.stop):
        pictures = []
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
        if recipe.flow != "none":
            if before is not None:
                estimate = estimate or flow_estimator(recipe.flow, *gray.shape)
                flow = quantise(estimate(before, gray))  # (H, W, 2)
                pictures = [encode(flow[..., 0]), encode(flow[..., 1])]
            before = gray
        yield [*pictures, encode(gray if recipe.gray else frame)]


class ClipFiles:
    """Prepared clips as a source of records; pictures are read when they are asked for.

    Args:
      folder: where the prepared files lie.
      listed: the clips.
      recipe: how they were to be prepared.
    """

    def __init__(self, folder: Path, listed: Sequence[Listed], recipe: Recipe) -> None:
        self._folder, self._listed = folder, listed
        # Flow of any version of OpenCV can be read, but two are not mixed: the folder has one.
        self._facts = {**read_facts(folder), **asdict(recipe)}

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, index: int) -> Record:
        item = self._listed[index]
        path = prepared_path(self._folder, item)
        reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
        facts = json.loads(reader.read([reader.num_records() - 1])[0])
        frames = int(facts.pop("frames"))
        refuse_to_mix(path, facts, self._facts)
        step, pairs = (1, 0) if facts["flow"] == "none" else (3, frames - 1)
        return {
            "frames": _Pictures(reader, 0, step, frames),
            "flow_x": _Pictures(reader, 1, 3, pairs),
            "flow_y": _Pictures(reader, 2, 3, pairs),
            "label": item.label,
            "spatial_label": item.label,
            "name": item.name,
        }
