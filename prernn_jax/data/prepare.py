"""Command line: official videos to prepared data, with a report of what is there.

python -m prernn_jax.data.prepare ucf101 --source DIR
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from prernn_jax.data import hmdb51, nvgesture, ucf101
from prernn_jax.data.clip_files import Flow, Recipe
from prernn_jax.data.gesture import SHORT_SIDE, Modality, gesture_recipe
from prernn_jax.data.listed_clips import ListedClips
from prernn_jax.data.prepared import writable
from prernn_jax.data.prepared_files import write_json
from prernn_jax.errors import InputError

SHOWN = 20
"""Faulty videos that are printed; the report's file has all of them."""


@dataclass(frozen=True)
class Preparation:
    """Decodes the videos of a data set once, computes their flow, and reports what is missing.

    Started again, it goes on with the videos that are not prepared yet.

    Attributes:
      dataset: Which one.
      source: Its folder, unpacked as downloaded.
      data_dir: Where prepared data are kept; $PRERNN_DATA_DIR or ~/.cache/prernn_jax by default.
      split: UCF101, HMDB51: official split; the videos of all splits are the same.
      modality: NVGesture: color and its flow are prepared together.
      lists: NVGesture: a list to train and one to test on, in place of the official ones.
      flow: Algorithm of the optical flow, or none.
      short_side: Height or width, whichever is shorter, of the prepared pictures; by default 256,
        for NVGesture 128.
      workers: Processes; one a core by default.
      limit: Only the first so many videos of each list, to try it out.
      allow_missing: Use the data set without the videos that are absent or do not decode.
    """

    dataset: tyro.conf.Positional[Literal["ucf101", "hmdb51", "nvgesture"]]
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


def open_clips(config: Preparation) -> ListedClips:
    """Read the lists of a data set.

    Raises:
      InputError: folders or lists are missing or faulty.
    """
    recipe = Recipe(config.flow, config.short_side or 256)
    if config.dataset == "nvgesture":
        sensor: nvgesture.Sensor = "depth" if config.modality == "depth" else "color"
        listing = nvgesture.read_listing(config.source, sensor, config.lists)
        recipe = gesture_recipe(config.modality, config.flow, config.short_side or SHORT_SIDE)
    elif config.dataset == "ucf101":
        listing = ucf101.read_listing(config.source, config.split)
    else:
        listing = hmdb51.read_listing(config.source, config.split)
    return ListedClips(config.dataset, listing, config.data_dir, recipe, config.limit)


def report(clips: ListedClips, faults: Mapping[str, str]) -> dict[str, Any]:
    """Count what is prepared beside what the lists name.

    Returns:
      For each part `prepared`, `listed` and `official` (None for lists of the user's) numbers of
      videos and the first two of each class; `faults` (name: why) of now and `left_out` of
      earlier preparations.
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
    return {"parts": parts, "faults": dict(faults), "left_out": left_out}


def print_report(found: Mapping[str, Any]) -> None:
    """Print totals, the classes that are not complete, and what is wrong with which video."""
    for part, counts in found["parts"].items():
        official = "" if counts["official"] is None else f", official {counts['official']}"
        print(f"  {part}: {counts['prepared']} videos of {counts['listed']} listed{official}")
        short = {n: c for n, c in counts["classes"].items() if c["prepared"] < c["listed"]}
        print(f"    {len(counts['classes']) - len(short)} classes are complete")
        for name, numbers in short.items():
            print(f"    {name}: {numbers['prepared']} of {numbers['listed']}")
    for name, why in list(found["faults"].items())[:SHOWN]:
        print(f"  {name}: {why}")
    if len(found["faults"]) > SHOWN:
        print(f"  and {len(found['faults']) - SHOWN} more")
    if found["left_out"]:
        print(f"  left out by an earlier preparation: {len(found['left_out'])}")


def prepare(config: Preparation) -> bool:
    """Prepare a data set, print the report and write it as `report.json`.

    Returns:
      Whether nothing is missing, or what is missing may be.

    Raises:
      InputError: folders or lists are missing or faulty, or nothing can be written.
    """
    clips = open_clips(config)
    faults: dict[str, str] = {}
    clips.prepare(config.workers, faults)
    found = report(clips, faults)
    if faults and config.allow_missing:
        clips.leave_out(faults)
    with writable(clips.root, clips.name):
        write_json(clips.folder / "report.json", found)
    print(f"{config.dataset}, {len(clips.listing.classes)} classes: {clips.folder}")
    print_report(found)
    print(f"  report: {clips.folder / 'report.json'}")
    return not faults or config.allow_missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 if videos are missing, 2 on bad input."""
    try:
        config = tyro.cli(Preparation, args=arguments, prog="python -m prernn_jax.data.prepare")
        return 0 if prepare(config) else 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
