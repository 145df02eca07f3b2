"""Prepares official videos for training and reports what is missing.

prernn prepare ucf101 --source DIR
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import tyro

from prernn_jax.command import parse, run_command
from prernn_jax.data.action import hmdb51, ucf101
from prernn_jax.data.face import vw300
from prernn_jax.data.face.files import FaceRecipe, frame_report
from prernn_jax.data.gesture import nvgesture
from prernn_jax.data.gesture.datasets import SHORT_SIDE, Modality, gesture_recipe
from prernn_jax.data.prepared.beam import Runner, prepare_by_beam
from prernn_jax.data.prepared.clip_files import Flow, Recipe
from prernn_jax.data.prepared.folder import RENAMED, Way
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.prepared.report import make_report, print_lines, print_report
from prernn_jax.data.prepared.shards import Shard, merge_shards, prepare_shard, read_shard
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json
from prernn_jax.remote import publish

DESCRIPTION = (
    "Decodes the videos of a data set once, computes their flow, and reports what is missing. "
    "Started again, it goes on with the videos that are not prepared yet."
)


@dataclass(frozen=True)
class Preparation:
    """The flags of `prernn prepare`.

    Attributes:
        dataset: The data set.
        source: Folder with its official files, unpacked as they were downloaded.
        cache_dir: Folder for prepared data; $PRERNN_DATA_DIR or ~/.cache/prernn_jax by default.
        split: Official split of UCF101 or HMDB51. The videos of all splits are the same.
        modality: Sensor of NVGesture. color and its flow are prepared together.
        lists: NVGesture: a list to train on and one to test on, in place of the official ones.
        flow: Algorithm of the optical flow, or none. 300VW and depth have no flow.
        short_side: Shorter side of the prepared pictures in pixels; by default 256, for NVGesture
            128. 300VW is cut to the faces instead.
        workers: Number of processes; by default one for each core.
        limit: Prepare only the first videos of each list, to try it out.
        allow_missing: Use the data set without the videos that are missing or do not decode.
        all_names: Print every class and every video that has a fault.
        shard: i/N with i from 0 to N - 1: prepare one of N parts of the videos. All parts may run
            at the same time on machines with one file system, such as a SLURM array.
        merge: N: after all N shards, check that all are there, and report.
        runner: Prepare by a pipeline of Apache Beam: in processes of this machine (direct), or on a
            cluster whose workers see --source and --cache_dir.
        beam_options: Further options of Beam, in one text: "--flink_master=HOST:PORT".
    """

    dataset: tyro.conf.Positional[Literal["ucf101", "hmdb51", "300vw", "nvgesture"]]
    source: Path
    cache_dir: Path | None = None
    split: Literal[1, 2, 3] = 1
    modality: Modality = "color"
    lists: tuple[str, str] | None = None
    flow: Flow = "dis"
    short_side: int | None = None
    workers: int | None = None
    limit: int | None = None
    allow_missing: bool = False
    all_names: bool = False
    shard: str | None = None
    merge: int | None = None
    runner: Runner | None = None
    beam_options: str = ""


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
        return ListedFiles(config.dataset, faces, config.cache_dir, FaceRecipe(), config.limit)
    recipe = Recipe(config.flow, config.short_side or 256)
    if config.dataset == "nvgesture":
        sensor: nvgesture.Sensor = "depth" if config.modality == "depth" else "color"
        listing = nvgesture.read_listing(config.source, sensor, config.lists)
        recipe = gesture_recipe(config.modality, config.flow, config.short_side or SHORT_SIDE)
    else:
        actions = {"ucf101": ucf101, "hmdb51": hmdb51}[config.dataset]
        listing = actions.read_listing(config.source, config.split)
    return ListedFiles(config.dataset, listing, config.cache_dir, recipe, config.limit)


def prepare(config: Preparation) -> bool:
    """Prepares a data set, prints the report and writes it as `report.json`.

    Returns:
        Whether all videos are prepared, or the others may be left out.

    Raises:
        InputError: Folders or lists are missing or faulty, or nothing can be written.
    """
    for name in ("workers", "limit", "merge"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    if config.shard is not None and config.merge is not None:
        raise InputError("--shard prepares a part, --merge comes after all parts: give one of them")
    if config.runner is not None and (config.shard is not None or config.merge is not None):
        raise InputError("--runner shares the videos out itself: leave --shard and --merge out")
    if config.beam_options and config.runner is None:
        raise InputError("--beam_options belongs to --runner")
    clips = open_clips(config)
    if config.shard is not None:
        return _prepare_part(clips, config, read_shard(config.shard))
    faults: dict[str, str] = {}
    if config.merge is None:
        clips.prepare(config.workers, faults, _way(config))
    else:
        faults = merge_shards(clips, config.merge)
    notes: dict[str, str] = {}
    if config.dataset == "300vw":
        every = [item for items in clips.usable().values() for item in items]
        frames, notes = frame_report(clips.folder, every)
        known = clips.left_out()
        faults |= {name: why for name, why in frames.items() if name not in known}
    found = {**make_report(clips, faults), "notes": notes}
    with clips.lock():  # another process that begins sweeps away what seems half-written
        if faults and config.allow_missing:
            clips.leave_out(faults)
        clips.folder.mkdir(parents=True, exist_ok=True)
        write_json(clips.folder / "report.json", found)
    publish(clips.folder)
    classes = f", {len(clips.listing.classes)} classes" if clips.listing.classes else ""
    print(f"{config.dataset}{classes}: {clips.folder}")
    print_report(found, config.all_names)
    print(f"  report: {clips.folder / 'report.json'}")
    return not faults or config.allow_missing


def _way(config: Preparation) -> Way | None:
    if config.runner is None:
        return None
    return partial(prepare_by_beam, runner=config.runner, options=config.beam_options)


def _prepare_part(clips: ListedFiles, config: Preparation, shard: Shard) -> bool:
    faults = prepare_shard(clips, shard, config.workers)
    publish(clips.folder)
    print(f"{config.dataset}, shard {shard.number}/{shard.total}: {clips.folder}")
    print_lines([f"{name}: {why}" for name, why in faults.items()], config.all_names)
    print(f"  after all shards: prernn prepare with --merge {shard.total}")
    return not faults or config.allow_missing


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns 0, or 1 if videos are missing."""
    config = parse(
        Preparation,
        argv,
        program="prernn prepare",
        description=DESCRIPTION,
        examples=(
            "prernn prepare ucf101 --source=DIR",
            "prernn prepare nvgesture --source=DIR --modality=depth",
        ),
        renamed=RENAMED,
    )
    return 0 if prepare(config) else 1


if __name__ == "__main__":
    run_command(main)
