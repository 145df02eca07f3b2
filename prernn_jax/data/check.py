"""Decodes every video of a folder once and lists what is corrupt, short or empty.

prernn check DIR --out check.json
"""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from prernn_jax.data.face.landmarks import outside
from prernn_jax.data.face.vw300 import (
    LANDMARK_FILES,
    annotations,
    numbering_fault,
    read_annotations,
)
from prernn_jax.data.media.listing import VIDEOS, is_video, numbered_files, visible_below
from prernn_jax.data.media.video import read_frames, require_decoder
from prernn_jax.data.prepared.folder import with_progress, writable
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json


@dataclass(frozen=True)
class Check:
    """Decodes all videos under a folder and reports those that cannot be used.

    For 300VW (a folder annot beside the video) the landmark files are read too.

    Attributes:
        folder: Where to look, in all folders below too.
        out: JSON file to write: every video with its frames, height, width and fault.
        shortest: Videos with fewer frames than this are reported as short.
        workers: Videos at a time; one a core by default.
    """

    folder: tyro.conf.Positional[Path]
    out: Path | None = None
    shortest: int = 16
    workers: int | None = None


def check_video(path: Path, shortest: int) -> dict[str, Any]:
    """Decodes one video; `fault` is None where nothing is wrong with it."""
    count, size, fault = 0, (0, 0), None
    try:
        for frame in read_frames(path):
            count, size = count + 1, frame.shape[:2]
        if count < shortest:
            fault = f"short: {count} frames, fewer than {shortest}"
        elif annotations(path).is_dir():
            fault = _landmark_fault(annotations(path), count, size)
    except InputError as error:
        fault = str(error)
    return {"frames": count, "height": size[0], "width": size[1], "fault": fault}


def _landmark_fault(annot: Path, frames: int, size: tuple[int, ...]) -> str | None:
    shifted = numbering_fault(range(1, frames + 1), list(numbered_files(annot, LANDMARK_FILES)))
    if shifted:
        return shifted
    landmarks, faults = read_annotations(annot)
    hidden = [n for n, points in landmarks.items() if outside(points, size[0], size[1]).any()]
    if hidden:
        faults.append(
            f"{len(hidden)} frames have landmarks outside of the picture or marked as hidden, "
            f"first frame {hidden[0]}"
        )
    beyond = [number for number in landmarks if not 1 <= number <= frames]
    if beyond:
        faults.append(f"{len(beyond)} landmark files have no frame, first {beyond[0]:06d}.pts")
    bare = frames - (len(landmarks) - len(beyond))
    if bare:
        faults.append(f"{bare} of {frames} frames have no landmarks that can be used")
    return "; ".join(faults) or None


def check(config: Check) -> dict[str, dict[str, Any]]:
    """Checks every video under the folder.

    Returns:
        The video's name, relative to the folder -> frames, height, width, fault.

    Raises:
        InputError: There is no such folder, or no video in it.
    """
    if not config.folder.is_dir():
        raise InputError(f"there is no folder {config.folder}")
    videos = [path for path in visible_below(config.folder) if is_video(path)]
    if not videos:
        raise InputError(f"there is no video ({', '.join(VIDEOS)}) under {config.folder}")
    require_decoder()
    with ThreadPoolExecutor(max_workers=config.workers or os.cpu_count() or 1) as pool:
        results = pool.map(lambda path: check_video(path, config.shortest), videos)
        found = list(with_progress(results, len(videos), f"checking {config.folder}"))
    names = [path.relative_to(config.folder).as_posix() for path in videos]
    return dict(zip(names, found, strict=True))


def print_table(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the videos with faults, and how many there are in all."""
    faults = {name: facts for name, facts in found.items() if facts["fault"]}
    if faults:
        wide = max(len(name) for name in faults)
        print(f"{'video':{wide}}  frames       size  fault")
        for name, facts in faults.items():
            size = f"{facts['width']}x{facts['height']}"
            print(f"{name:{wide}}  {facts['frames']:6}  {size:>9}  {facts['fault']}")
    frames = sum(facts["frames"] for facts in found.values())
    print(f"{len(found)} videos, {frames} frames, {len(faults)} with faults")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 if all is well, 1 if videos have faults, 2 on bad input."""
    try:
        config = tyro.cli(Check, args=arguments, prog="prernn check")
        found = check(config)
        if config.out is not None:
            with writable(config.out.parent, config.out.name):
                config.out.parent.mkdir(parents=True, exist_ok=True)
                write_json(config.out, found)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_table(found)
    return 1 if any(facts["fault"] for facts in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
