"""Prepares official videos for training and reports what is missing.

prernn prepare ucf101 --source DIR
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from prernn_jax.data.action import hmdb51, ucf101
from prernn_jax.data.face import vw300
from prernn_jax.data.face.files import FaceRecipe, frame_report
from prernn_jax.data.gesture import nvgesture
from prernn_jax.data.gesture.datasets import SHORT_SIDE, Modality, gesture_recipe
from prernn_jax.data.prepared.clip_files import Flow, Recipe
from prernn_jax.data.prepared.folder import writable
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json

SHOWN = 20
"""Faulty videos that are printed; the report's file has all of them."""


@dataclass(frozen=True)
class Preparation:
    """Decodes the videos of a data set once, computes flow, and reports what is missing.

    Started again, it goes on with the videos that are not prepared yet.

    Attributes:
        dataset: Which one.
        source: Its folder, unpacked as downloaded.
        data_dir: Where prepared data are kept; $PRERNN_DATA_DIR or ~/.cache/prernn_jax by default.
        split: UCF101, HMDB51: official split; the videos of all splits are the same.
        modality: NVGesture: color and its flow are prepared together.
        lists: NVGesture: a list to train and one to test on, in place of the official ones.
        flow: Algorithm of the optical flow, or none; there is none for 300VW and for depth.
        short_side: Height or width, whichever is shorter, of the prepared pictures; by default 256,
            for NVGesture 128; 300VW is cut to the faces.
        workers: Processes; one a core by default.
        limit: Only the first so many videos of each list, to try it out.
        allow_missing: Use the data set without the videos that are absent or do not decode.
    """

    dataset: tyro.conf.Positional[Literal["ucf101", "hmdb51", "300vw", "nvgesture"]]
    source: Path
    data_dir: Path | None = None
    split: Literal[1, 2, 3] = 1
    modality: Modality = "color"
    lists: tuple[str, str] | None = None
    flow: Flow = "dis"
    short_side: int | None = None
    workers: int | None = None
    limit: int | None = None
    allow_missing: bool = False


def open_clips(config: Preparation) -> ListedFiles:
    """Reads the lists of a data set.

    Raises:
        InputError: Folders or lists are missing or faulty, or an option is another data set's.
    """
    gestures_only = config.lists is not None or config.modality != "color"
    if gestures_only and config.dataset != "nvgesture":
        raise InputError(f"--modality and --lists belong to nvgesture, not to {config.dataset}")
    if config.split != 1 and config.dataset not in ("ucf101", "hmdb51"):
        raise InputError(f"{config.dataset} has one official split, got --split {config.split}")
    if config.dataset == "300vw":
        faces = vw300.read_listing(config.source)
        return ListedFiles(config.dataset, faces, config.data_dir, FaceRecipe(), config.limit)
    recipe = Recipe(config.flow, config.short_side or 256)
    if config.dataset == "nvgesture":
        sensor: nvgesture.Sensor = "depth" if config.modality == "depth" else "color"
        listing = nvgesture.read_listing(config.source, sensor, config.lists)
        recipe = gesture_recipe(config.modality, config.flow, config.short_side or SHORT_SIDE)
    elif config.dataset == "ucf101":
        listing = ucf101.read_listing(config.source, config.split)
    else:
        listing = hmdb51.read_listing(config.source, config.split)
    return ListedFiles(config.dataset, listing, config.data_dir, recipe, config.limit)


def report(clips: ListedFiles, faults: Mapping[str, str]) -> dict[str, Any]:
    """Counts what is prepared beside what the lists name.

    Returns:
        For each part `prepared`, `listed` and `official` (None for lists of the user's) numbers of
        videos and the first two of each class; `faults` (name: why) of now, `left_out` of earlier
        preparations, and `notes`.
    """
    usable = {
        part: [item for item in items if item.name not in faults]
        for part, items in clips.usable().items()
    }
    parts = {}
    for part, listed in clips.listing.parts.items():
        prepared = Counter(item.label for item in usable[part])
        named = Counter(item.label for item in listed)
        classes = {
            name: {"prepared": prepared[label], "listed": named[label]}
            for label, name in enumerate(clips.listing.classes)
        }
        parts[part] = {
            "prepared": len(usable[part]),
            "listed": len(listed),
            "official": clips.listing.official.get(part),
            "classes": classes,
        }
    left_out = {name: why for name, why in clips.left_out().items() if name not in faults}
    return {"parts": parts, "faults": dict(faults), "left_out": left_out, "notes": {}}


def print_report(found: Mapping[str, Any]) -> None:
    """Prints totals, the classes that are not complete, and what is wrong with which video."""
    for part, counts in found["parts"].items():
        official = "" if counts["official"] is None else f", official {counts['official']}"
        print(f"  {part}: {counts['prepared']} videos of {counts['listed']} listed{official}")
        short = {n: c for n, c in counts["classes"].items() if c["prepared"] < c["listed"]}
        if counts["classes"]:
            print(f"    {len(counts['classes']) - len(short)} classes are complete")
        for name, numbers in short.items():
            print(f"    {name}: {numbers['prepared']} of {numbers['listed']}")
    for kind in ("faults", "notes"):
        for name, why in list(found[kind].items())[:SHOWN]:
            print(f"  {name}: {why}")
        if len(found[kind]) > SHOWN:
            print(f"  and {len(found[kind]) - SHOWN} more {kind}")
    if found["left_out"]:
        print(f"  left out by an earlier preparation: {len(found['left_out'])}")


def prepare(config: Preparation) -> bool:
    """Prepares a data set, print the report and write it as `report.json`.

    Returns:
        Whether nothing is missing, or what is missing may be.

    Raises:
        InputError: Folders or lists are missing or faulty, or nothing can be written.
    """
    for name, value in (("workers", config.workers), ("limit", config.limit)):
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    clips = open_clips(config)
    faults: dict[str, str] = {}
    clips.prepare(config.workers, faults)
    found = report(clips, faults)
    if config.dataset == "300vw":
        every = [item for items in clips.usable().values() for item in items]
        frames, found["notes"] = frame_report(clips.folder, every)
        known = clips.left_out()
        faults |= {name: why for name, why in frames.items() if name not in known}
        found["faults"] = faults
    if faults and config.allow_missing:
        clips.leave_out(faults)
    with writable(clips.root, clips.name):
        clips.folder.mkdir(parents=True, exist_ok=True)
        write_json(clips.folder / "report.json", found)
    classes = f", {len(clips.listing.classes)} classes" if clips.listing.classes else ""
    print(f"{config.dataset}{classes}: {clips.folder}")
    print_report(found)
    print(f"  report: {clips.folder / 'report.json'}")
    return not faults or config.allow_missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        The exit status: 1 if videos are missing, 2 on bad input, 130 when interrupted.
    """
    try:
        config = tyro.cli(Preparation, args=arguments, prog="prernn prepare")
        return 0 if prepare(config) else 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is finished stays; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
