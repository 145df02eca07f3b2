"""Prepared videos on disk: one array_record file each, so that a stopped preparation goes on.

In a file stand, in turn, frame i, flow_x i and flow_y i as encoded pictures (frames only where
no flow was wanted), and at the end a JSON record that says how they were made. A file appears
under its name when it is complete.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from array_record.python import array_record_module
from numpy.typing import NDArray

from prernn_jax.data.flow import BOUND, FlowAlgorithm, flow_estimator, one_thread, quantise
from prernn_jax.data.records import Record, encode_picture
from prernn_jax.data.split_lists import Listed
from prernn_jax.data.video import read_frames
from prernn_jax.errors import InputError

Flow = FlowAlgorithm | Literal["none"]


@dataclass(frozen=True)
class Recipe:
    """How videos are prepared; part of a folder's name, so that recipes never mix."""

    flow: Flow = "dis"
    short_side: int = 256
    quality: int = 95

    @property
    def key(self) -> str:
        """A folder name."""
        return f"{self.flow}-{self.short_side}px-q{self.quality}"


class _Pictures(Sequence[bytes]):
    """Encoded pictures of one kind, read from the file one by one."""

    def __init__(self, reader: Any, first: int, step: int, count: int) -> None:
        self._reader, self._places = reader, range(first, first + step * count, step)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        return self._reader.read([self._places[int(index)]])[0]


def write_clip(video: Path, target: Path, recipe: Recipe) -> None:
    """Decode a video, compute its flow, and write both; nothing is left behind on failure.

    Args:
      video: the source.
      target: the prepared file.
      recipe: flow algorithm, size, quality.

    Raises:
      InputError: the video does not decode, or has fewer than two frames while flow is wanted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        # No compression: the pictures are JPEG already. Groups of one give access to each.
        writer = array_record_module.ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
        try:
            count = 0
            for pictures in _encoded(video, recipe):
                for data in pictures:
                    writer.write(data)
                count += 1
            if count < 2 and recipe.flow != "none":
                raise InputError(f"the video {video} has 1 frame; optical flow needs 2")
            facts = {"frames": count, "bound": BOUND, "opencv": cv2.__version__, **asdict(recipe)}
            writer.write(json.dumps(facts).encode())
        finally:
            writer.close()
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _encoded(video: Path, recipe: Recipe) -> Iterator[list[bytes]]:
    """For each frame: the flow that leads to it, if there is one, then the frame itself."""
    encode = functools.partial(encode_picture, quality=recipe.quality)
    before: NDArray[np.uint8] | None = None
    estimate = None
    for frame in read_frames(video, recipe.short_side):
        pictures = []
        if recipe.flow != "none":
            gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
            if before is not None:
                estimate = estimate or flow_estimator(recipe.flow, *gray.shape)
                flow = quantise(estimate(before, gray))  # (H, W, 2)
                pictures = [encode(flow[..., 0]), encode(flow[..., 1])]
            before = gray
        yield [*pictures, encode(frame)]


class ClipFiles:
    """Prepared videos as a source of records; pictures are read when they are asked for."""

    def __init__(self, folder: Path, listed: Sequence[Listed], recipe: Recipe) -> None:
        self._folder, self._listed, self._recipe = folder, listed, recipe

    def __len__(self) -> int:
        return len(self._listed)

    def __getitem__(self, index: int) -> Record:
        item = self._listed[index]
        path = clip_path(self._folder, item)
        reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
        facts = json.loads(reader.read([reader.num_records() - 1])[0])
        if facts["flow"] != self._recipe.flow:
            raise InputError(
                f"{path} was prepared with flow {facts['flow']}, but {self._recipe.flow} is "
                "wanted; delete it and prepare it again"
            )
        frames = int(facts["frames"])
        step, pairs = (1, 0) if facts["flow"] == "none" else (3, frames - 1)
        return {
            "frames": _Pictures(reader, 0, step, frames),
            "flow_x": _Pictures(reader, 1, 3, pairs),
            "flow_y": _Pictures(reader, 2, 3, pairs),
            "label": item.label,
            "spatial_label": item.label,
            "name": item.name,
        }


def clip_path(folder: Path, item: Listed) -> Path:
    """Return where a prepared video lies."""
    return folder / f"{item.name}.array_record"


@one_thread()
def prepare_clips(
    folder: Path,
    listed: Sequence[Listed],
    recipe: Recipe,
    workers: int | None = None,
    faults: dict[str, str] | None = None,
) -> None:
    """Prepare the videos that are not prepared yet, several at a time.

    Args:
      folder: where the prepared files go.
      listed: videos.
      recipe: how.
      workers: threads (decoding and flow run outside Python's lock); by default one a core.
      faults: where given, videos that cannot be read are noted here (name: why).

    Raises:
      InputError: without `faults`: a video cannot be read. Those that are finished stay.
    """
    todo = [item for item in listed if not clip_path(folder, item).is_file()]
    if not todo:
        return
    done, start, shown = len(listed) - len(todo), time.monotonic(), 0.0
    pool = ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1)
    try:
        jobs = {
            pool.submit(write_clip, item.video, clip_path(folder, item), recipe): item
            for item in todo
        }
        for number, job in enumerate(as_completed(jobs), start=1):
            try:
                job.result()
            except InputError as error:
                if faults is None:
                    raise
                faults[jobs[job].name] = str(error)
            now = time.monotonic()
            if now - shown > 5.0 or number == len(todo):
                shown, rate = now, number / (now - start)
                left = (len(todo) - number) / rate / 60.0
                text = f"{done + number} of {len(listed)} videos, {rate:.1f}/s, {left:.0f} min left"
                print(f"preparing {folder}: {text}", file=sys.stderr, flush=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
