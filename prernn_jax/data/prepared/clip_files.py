"""Prepared clips on disk: how they are written and read.

A file holds frame i, flow_x i and flow_y i in turn as encoded pictures, or frames only where no
flow was wanted. At its end a JSON record says how they were made.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.media.flow import BOUND, FlowAlgorithm, flow_estimator, quantise, require_flow
from prernn_jax.data.media.video import read_frames, require_decoder
from prernn_jax.data.prepared.folder import prepared_path, read_facts, refuse_to_mix
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.prepared.lists import Listed, Listing
from prernn_jax.data.prepared.record_file import RecordFile, closing_record, record_writer
from prernn_jax.data.prepared.sources import fingerprint, read_index, stated
from prernn_jax.data.records import Record, encode_picture
from prernn_jax.errors import InputError

Flow = FlowAlgorithm | Literal["none"]
OPENCV: str = cv2.__version__


@dataclass(frozen=True)
class Recipe:
    """How videos are prepared; part of a folder's name, so that recipes never mix."""

    flow: Flow = "dis"
    short_side: int = 256
    quality: int = 95
    gray: bool = False
    """Keep one channel, for depth."""

    @property
    def key(self) -> str:
        """The name of the folder."""
        return f"{self.flow}-{self.short_side}px-q{self.quality}{'-gray' if self.gray else ''}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that must be the same for all clips of a folder."""
        facts = asdict(self)
        return facts if self.flow == "none" else {**facts, "bound": BOUND, "opencv": OPENCV}

    def sources(self, item: Listed) -> list[Path]:
        """Returns the files that a prepared clip is made from."""
        return [item.video]

    def require(self, items: Sequence[Listed]) -> None:
        """Checks that the packages are there; see `ListedFiles.prepare`."""
        require_decoder()
        require_flow(self.flow)

    def write(self, item: Listed, target: Path) -> None:
        """Decodes a clip, computes its flow, and writes both. A failure leaves nothing behind.

        Raises:
            InputError: The video does not decode, has not all the frames, or has fewer than two
                while flow is wanted.
            OSError: The file cannot be written.
        """
        require_decoder()
        source = fingerprint(self.sources(item)) if item.video.is_file() else None
        with record_writer(target) as write:
            count = 0
            frames = read_frames(item.video, self.short_side, item.start, item.stop)
            for pictures in encoded(frames, self):
                for data in pictures:
                    write(data)
                count += 1
            if count < 2 and self.flow != "none":
                raise InputError(f"the video {item.video} has 1 frame; optical flow needs 2")
            part = {"start": item.start, "stop": item.stop}
            write(closing_record({"frames": count, "source": source, **part, **self.facts}))


def encoded(frames: Iterable[NDArray[np.uint8]], recipe: Recipe) -> Iterator[list[bytes]]:
    """Encodes a clip and its flow as it is kept.

    Args:
        frames: Pictures (H, W, 3), RGB, of the recipe's size.
        recipe: How they are kept.

    Yields:
        For each frame the flow that leads to it (x and y), if there is one, and the frame itself.
    """
    encode = functools.partial(encode_picture, quality=recipe.quality)
    before: NDArray[np.uint8] | None = None
    estimate = None
    for frame in frames:
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
    """Prepared clips as a source of records. Pictures are read when they are needed.

    Args:
        folder: The folder of the prepared files.
        listed: The clips.
        recipe: How they must have been prepared.
    """

    def __init__(self, folder: Path, listed: Sequence[Listed], recipe: Recipe) -> None:
        self._folder, self._listed = folder, listed
        # Flow of any version of OpenCV can be read, but all files of a folder must have the same.
        self._facts = {**read_facts(folder), **asdict(recipe)}

    def __len__(self) -> int:
        return len(self._listed)

    def digest(self) -> str:
        """Tells these clips from others: their names, classes and frames, and their sources."""
        known = read_index(self._folder)
        clips = []
        for item in self._listed:
            made_from = known.get(item.name) or stated(prepared_path(self._folder, item)) or {}
            clips.append((item.name, item.label, item.start, item.stop, made_from.get("content")))
        return hashlib.sha256(json.dumps(clips).encode()).hexdigest()[:16]

    def __getitem__(self, index: int) -> Record:
        item = self._listed[index]
        path = prepared_path(self._folder, item)
        file = RecordFile(path)
        part = {"start": item.start, "stop": item.stop}  # another list may name other frames
        refuse_to_mix(path, file.facts, {**self._facts, **part})
        frames = int(file.facts["frames"])
        step, pairs = (1, 0) if file.facts["flow"] == "none" else (3, frames - 1)
        return {
            "frames": file.pictures(0, step, frames),
            "flow_x": file.pictures(1, 3, pairs),
            "flow_y": file.pictures(2, 3, pairs),
            "label": item.label,
            "spatial_label": item.label,
            "name": item.name,
        }


def digests_of(splits: Mapping[str, Any]) -> dict[str, str]:
    """Returns name of a split -> the digest of its clips, for prepared clips only.

    What is computed from the clips and kept, such as features, must say it.
    """
    return {name: clips.digest() for name, clips in splits.items() if isinstance(clips, ClipFiles)}


def prepared_clips(
    name: str, listing: Listing, cache_dir: Path | None, recipe: Recipe, workers: int | None
) -> dict[str, ClipFiles]:
    """Prepares what is not prepared yet, and opens the data set.

    Args:
        name: Name of the data set.
        listing: What its lists say.
        cache_dir: Folder for prepared data; see `data_folder` for the default.
        recipe: How clips are prepared.
        workers: Number of processes; None for one on each core.

    Returns:
        Part -> its clips, without those that were left out.

    Raises:
        InputError: A video is missing or cannot be read, or nothing can be written.
    """
    files = ListedFiles(name, listing, cache_dir, recipe)
    files.prepare(workers)
    return {part: ClipFiles(files.folder, items, recipe) for part, items in files.usable().items()}
