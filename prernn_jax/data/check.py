"""Decodes the videos and frames of a folder once and lists those with a fault.

prernn check --source DIR --out check.json
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prernn_jax.command import parse, run_command
from prernn_jax.data.face.landmarks import outside
from prernn_jax.data.face.vw300 import (
    LANDMARK_FILES,
    annotations,
    numbering_fault,
    read_annotations,
)
from prernn_jax.data.media.frames import FrameFolder, frame_folders, read_frame_folder
from prernn_jax.data.media.listing import (
    PICTURES,
    VIDEOS,
    is_video,
    numbered_files,
    visible_below,
)
from prernn_jax.data.media.video import read_frames, require_decoder
from prernn_jax.data.prepared.folder import writable
from prernn_jax.data.prepared.progress import with_progress
from prernn_jax.data.prepared.report import print_lines, without_path
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json


@dataclass(frozen=True)
class Check:
    """The flags of `prernn check`.

    Attributes:
        source: Folder to look in, and in all folders below it.
        out: JSON file to write: the frames, height, width and fault of everything that was read.
        shortest: Videos with fewer frames than this are reported as short.
        workers: Number of videos that are decoded at the same time; by default one for each core.
        all_names: Print every folder and every video that has a fault.
    """

    source: Path
    out: Path | None = None
    shortest: int = 16
    workers: int | None = None
    all_names: bool = False


def check_clip(clip: Path | FrameFolder, shortest: int) -> dict[str, Any]:
    """Decodes one video, or the frames that were extracted from one.

    Returns:
        `frames`, `height`, `width`, and `fault`, which is None where nothing is wrong.
    """
    size: tuple[int, ...] = (0, 0)
    numbers: list[int] = []
    place = clip.folder if isinstance(clip, FrameFolder) else clip
    try:
        if isinstance(clip, FrameFolder):
            size, fault = read_frame_folder(clip)
            numbers = list(clip.files)
        else:
            fault = None
            for number, frame in enumerate(read_frames(clip), start=1):
                numbers.append(number)
                size = frame.shape[:2]
        annot = annotations(place)
        if fault is None and len(numbers) < shortest:
            fault = f"is short: {len(numbers)} frames, fewer than {shortest}"
        elif fault is None and annot.is_dir() and annot != place:
            fault = _landmark_fault(annot, numbers, size)
    except InputError as error:
        fault = without_path(str(error), place)
    return {"frames": len(numbers), "height": size[0], "width": size[1], "fault": fault}


def _landmark_fault(annot: Path, numbers: Sequence[int], size: tuple[int, ...]) -> str | None:
    shifted = numbering_fault(numbers, list(numbered_files(annot, LANDMARK_FILES)))
    if shifted:
        return shifted
    landmarks, faults = read_annotations(annot)
    hidden = [n for n, points in landmarks.items() if outside(points, size[0], size[1]).any()]
    if hidden:
        faults.append(
            f"{len(hidden)} frames have landmarks outside of the picture or marked as hidden, "
            f"first frame {hidden[0]}"
        )
    beyond = [number for number in landmarks if number not in set(numbers)]
    if beyond:
        faults.append(f"{len(beyond)} landmark files have no frame, first {beyond[0]:06d}.pts")
    bare = len(numbers) - (len(landmarks) - len(beyond))
    if bare:
        faults.append(f"{bare} of {len(numbers)} frames have no landmarks that can be used")
    return "; ".join(faults) or None


def check(config: Check) -> dict[str, dict[str, Any]]:
    """Checks every video and every folder of extracted frames under the source.

    Returns:
        Name relative to the source -> frames, height, width, fault; see `check_clip`.

    Raises:
        InputError: There is no such folder, or neither a video nor a numbered picture in it.
    """
    if config.workers is not None and config.workers < 1:
        raise InputError(f"--workers {config.workers}: expected 1 or more")
    if not config.source.is_dir():
        raise InputError(f"there is no folder {config.source}")
    clips = dict(_clips(config.source))
    if not clips:
        raise InputError(
            f"there is no video ({', '.join(VIDEOS)}) and no numbered picture "
            f"({', '.join(PICTURES)}) under {config.source}"
        )
    if any(isinstance(clip, Path) for clip in clips.values()):
        require_decoder()
    with ThreadPoolExecutor(max_workers=config.workers or os.cpu_count() or 1) as pool:
        results = pool.map(lambda clip: check_clip(clip, config.shortest), clips.values())
        found = list(with_progress(results, len(clips), f"checking {config.source.name}"))
    return dict(zip(clips, found, strict=True))


def _clips(source: Path) -> Iterator[tuple[str, Path | FrameFolder]]:
    """Yields the name and the place of everything that is to be checked."""
    files = list(visible_below(source))
    for path in files:
        if is_video(path):
            yield path.relative_to(source).as_posix(), path
    for frames in frame_folders(files):
        name = frames.folder.relative_to(source).as_posix()
        yield f"{name}/{frames.prefix}*", frames


def print_table(found: Mapping[str, Mapping[str, Any]], all_names: bool = False) -> None:
    """Prints counts for each folder, then the videos that have a fault."""
    folders: dict[str, list[Mapping[str, Any]]] = {}
    for name, facts in found.items():
        folders.setdefault(name.rpartition("/")[0] or ".", []).append(facts)
    faults = {name: facts for name, facts in found.items() if facts["fault"]}
    frames = sum(facts["frames"] for facts in found.values())
    print(f"{len(found)} videos, {frames} frames, {len(faults)} with faults")
    rows = []
    for folder, inside in folders.items():
        bad = sum(1 for facts in inside if facts["fault"])
        if bad or all_names:
            total = sum(facts["frames"] for facts in inside)
            rows.append(f"{folder}: {len(inside)} videos, {total} frames, {bad} with faults")
    print_lines(rows, all_names)
    if faults:
        print("faults:")
        print_lines([f"{name} {facts['fault']}" for name, facts in faults.items()], all_names)


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns 0, or 1 if anything has a fault."""
    if argv and not argv[0].startswith("-"):  # the folder stood here in version 0.1
        argv = ["--source", *argv]
    config = parse(
        Check,
        argv,
        program="prernn check",
        description=(
            "Decodes all videos and extracted frames under a folder and reports those that cannot "
            "be used. A folder annot beside a video or a folder of frames (300VW) is read too."
        ),
        examples=("prernn check --source=DIR --out=check.json",),
    )
    found = check(config)
    if config.out is not None:
        with writable(config.out.parent, config.out.name):
            config.out.parent.mkdir(parents=True, exist_ok=True)
            write_json(config.out, found)
    print_table(found, config.all_names)
    return 1 if any(facts["fault"] for facts in found.values()) else 0


if __name__ == "__main__":
    run_command(main)
