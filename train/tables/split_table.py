"""Three official splits: `prernn tables --table=ucf101 --source=DIR --weights=FILE`.

The field compares networks by the mean accuracy over the three splits of UCF101 or HMDB51. For each
network, split and stream this trains and tests one ordinary run, averages the scores of the streams
and writes `splits-ucf101.json` and `.md`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prernn_jax.command import parse
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json, write_text
from prernn_jax.inference import Precision

from ..action.config import action_preset
from ..engine.log import say
from ..fuse import fused_top1
from ..run.config import RENAMED
from ..run.folder import make_folder
from .cell_text import markdown_table
from .jobs import Done, Job, run_all
from .settings import STREAM_WEIGHTS
from .statistics import mean_sd

DATA_SETS = ("ucf101", "hmdb51")
STREAMS = ("spatial", "temporal")
SPLITS = (1, 2, 3)
FUSED = "both"
Model = Literal["pre", "pre_sih", "traditional", "feedforward"]


@dataclass(frozen=True)
class SplitTable:
    """The mean over three official splits.

    Attributes:
        source: Folder with the official files.
        weights: The pre-trained ResNet50 of both streams.
        models: Networks, see `prernn train action --help`.
        cell: The cell of the recurrent ones.
        flow: Algorithm of the optical flow.
        crops: Of a test video: the middle square, or ten (four corners, centre, all mirrored).
        steps: Time steps T; 16 when not given.
        crop: Side of the network's input; 224 when not given.
        epochs: Passes over the training set, in place of the preset's.
        batch_size: Sequences a step, in place of the preset's.
        devices: Over how many devices a batch is split.
        workers: Processes that read and augment for each run; the preset's when not given.
        precision: Precision of activations and products.
        seed: Of new weights and the order of samples.
        cache_dir: Where prepared data are kept; ~/.cache/prernn_jax when not given.
        workdir: Where the runs are kept.
        out: Where the two files are written.
    """

    source: Path
    weights: Path
    models: tuple[Model, ...] = ("pre", "traditional", "feedforward")
    cell: Literal["vrnn", "lstm", "gru"] = "gru"
    flow: Literal["dis", "tvl1"] = "tvl1"
    crops: Literal[1, 10] = 1
    steps: int | None = None
    crop: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    devices: int = 1
    workers: int | None = None
    precision: Precision = "float32"
    seed: int = 0
    cache_dir: Path | None = None
    workdir: Path = Path("runs/splits")
    out: Path = Path("tables")


Planned = Mapping[tuple[str, int, str], Job]
"""Model, split and stream -> the run."""


def plan(config: SplitTable, data: str) -> Planned:
    """The runs of the table of a data set."""
    names = ("steps", "crop", "epochs", "batch_size", "workers")
    given = {n: getattr(config, n) for n in names if getattr(config, n) is not None}
    same = (
        "source",
        "weights",
        "cell",
        "flow",
        "crops",
        "devices",
        "precision",
        "seed",
        "cache_dir",
    )
    given |= {name: getattr(config, name) for name in same}
    planned: dict[tuple[str, int, str], Job] = {}
    for model in config.models:
        for split in SPLITS:
            for stream in STREAMS:
                base = action_preset({"data": data, "stream": stream})
                changes = {**given, "data": data, "model": model, "split": split}
                name = f"{model}-{config.cell}-split{split}-{stream}-crops{config.crops}"
                planned[model, split, stream] = Job(
                    replace(
                        base,
                        **changes,
                        film=0,
                        workdir=config.workdir / data,
                        name=f"{name}-seed{config.seed}",
                    )
                )
    return planned


def accuracies(planned: Planned, outcomes: Mapping[Job, Done]) -> dict[str, dict[str, list[float]]]:
    """Model -> stream, and `both` -> video top-1 of each split.

    Raises:
        InputError: A run has failed.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for model, split, stream in planned:
        job = planned[model, split, stream]
        summary = outcomes[job].summary
        if summary is None:
            raise InputError(f"the run {job.folder} failed: {outcomes[job].failure}")
        of_model = found.setdefault(model, {})
        of_model.setdefault(stream, []).append(float(summary["video_top1"]))
        if stream == STREAMS[-1]:
            both = [planned[model, split, name].folder for name in STREAMS]
            of_model.setdefault(FUSED, []).append(fused_top1(both, STREAM_WEIGHTS))
    return found


def page(data: str, found: Mapping[str, Mapping[str, Sequence[float]]], command: str) -> str:
    """The outcome as Markdown."""
    lines = [["network", "stream", *(f"split {split}" for split in SPLITS), "mean"]]
    for model, streams in found.items():
        for stream, values in streams.items():
            mean, sd = mean_sd(values)
            assert mean is not None
            assert sd is not None
            shown = [f"{100 * value:.1f}" for value in values]
            lines.append([model, stream, *shown, f"**{100 * mean:.1f}** ± {100 * sd:.1f}"])
    weights = " to ".join(f"{weight:g}" for weight in STREAM_WEIGHTS)
    return (
        f"# {data}, three splits\n\nVideo top-1 in percent, and the mean and standard deviation "
        "over the three splits, which share videos. "
        f"`{FUSED}` is the mean of the class scores of both streams, weighted {weights}.\n\n"
        f"{markdown_table(lines)}\n\n```\n{command}\n```\n"
    )


def run(config: SplitTable, data: str) -> dict[str, Any]:
    """Runs the table; returns what is in its JSON."""
    if not config.models:
        raise InputError("--models: give one network or more")
    began = time.perf_counter()
    planned = plan(config, data)

    def told(count: int, job: Job, done: Done) -> None:
        top1 = "failed" if done.summary is None else f"{100 * done.summary['video_top1']:.1f}%"
        say(f"[{count}/{len(planned)}] {job.config.name}: {top1}")

    found = accuracies(planned, run_all(list(planned.values()), 1, told))
    defaults = SplitTable(Path(), Path())
    shown = ("models", "cell", "flow", "crops", "steps", "crop", "epochs", "batch_size", "seed")
    flags = [
        f"--{name} {' '.join(value) if isinstance(value, tuple) else value}"
        for name in shown
        if (value := getattr(config, name)) != getattr(defaults, name)
    ]
    command = " ".join([f"prernn tables --table={data} --source=DIR --weights=FILE", *flags])
    result = {
        "data": data,
        "video_top1": found,
        "stream_weights": list(STREAM_WEIGHTS),
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.perf_counter() - began, 1),
    }
    make_folder(config.out)
    write_json(config.out / f"splits-{data}.json", result)
    write_text(config.out / f"splits-{data}.md", page(data, found, command))
    say(f"written: {config.out / f'splits-{data}.json'} and .md")
    return result


def main(argv: Sequence[str], data: str) -> None:
    """Runs the command line for one of DATA_SETS."""
    config = parse(
        SplitTable,
        argv,
        program=f"prernn tables --table={data}",
        description=(
            "Trains and tests networks on the three official splits, both streams, and writes the "
            "mean accuracy. Each run is an ordinary training run; the same command goes on where "
            "it was interrupted."
        ),
        examples=(
            f"prernn tables --table={data} --source=DIR --weights=resnet50.safetensors --crops=10",
        ),
        renamed=RENAMED,
    )
    run(config, data)
