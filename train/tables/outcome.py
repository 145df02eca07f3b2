"""From finished runs to a table's cells."""

import math
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..fuse import fused_top1
from .claims import judge
from .grid import CELLS, Grid, Structure
from .jobs import Config, Done, Job, own_cores
from .paper import paper_value
from .settings import RATES, STREAM_WEIGHTS, TUNING_SEED, TablesConfig
from .statistics import mean_sd

Runs = Mapping[int, Sequence[tuple[Job, Done]]]
"""Training seed -> the runs with it: one, or one a stream."""

TITLES = {
    1: "Table 1: hidden size of the traditional network, and PreRNN",
    2: "Table 2: which layers become recurrent",
    3: "Table 3: structure and initialisation",
}
LOSS: dict[str, Any] = {
    "name": "loss",
    "label": (
        "test loss (Euclidean distance of a frame's 68 landmarks, as one vector, in box sides)"
    ),
    "better": "lower",
    "scale": 1,
    "digits": 4,
    "unit": "",
}
TOP1: dict[str, Any] = {
    "name": "video_top1",
    "label": "top-1 accuracy of test videos",
    "better": "higher",
    "scale": 100,
    "digits": 1,
    "unit": "%",
}


def value_of(done: Sequence[tuple[Job, Done]]) -> float | None:
    """The table's figure from the run, or from those of both streams; None where one failed."""
    summaries = [outcome.summary for _, outcome in done]
    if any(summary is None for summary in summaries):
        return None
    if len(done) == 1:
        assert summaries[0] is not None
        metric = LOSS if done[0][0].config.application == "face" else TOP1
        return float(summaries[0][metric["name"]])
    return fused_top1([job.folder for job, _ in done], STREAM_WEIGHTS)


def validation_of(done: Sequence[tuple[Job, Done]]) -> float:
    """What rates are chosen by, lower is better: the validation loss; infinite where one failed."""
    losses = [
        math.inf if outcome.summary is None else outcome.summary["validation"]["loss"]
        for _, outcome in done
    ]
    total = float(sum(losses))
    return math.inf if math.isnan(total) else total  # a NaN is not lower than anything


def cell_of(table: int | str, structure: Structure, found: Runs) -> dict[str, Any]:
    """A place of the table.

    Args:
        table: Its number or name.
        structure: Where.
        found: Its runs.
    """
    values = {str(seed): value_of(done) for seed, done in found.items()}
    known = {seed: value for seed, value in values.items() if value is not None}
    (job, outcome), *others = next(iter(found.values()))
    summary = outcome.summary or {}
    mean, sd = mean_sd(list(known.values()))
    cell = {
        "row": structure.row,
        "column": structure.column,
        "structure": dict(structure.changes),
        "paper": paper_value(table, structure.row, structure.column),
        "values": known,
        "failed": sorted(values.keys() - known.keys()),
        "mean": mean,
        "sd": sd,
        "parameters": summary.get("parameters"),
        "hidden": summary.get("surgery", {}).get("hidden"),
        "rate": job.config.schedule.base,
    }
    if others:
        cell["streams"] = streams_of(found)
    return cell


def streams_of(found: Runs) -> dict[str, dict[str, float]]:
    """Stream -> training seed -> its own top-1."""
    streams: dict[str, dict[str, float]] = {}
    for seed, done in found.items():
        for job, outcome in done:
            if job.config.application == "action" and outcome.summary is not None:
                top1 = float(outcome.summary["video_top1"])
                streams.setdefault(job.config.stream, {})[str(seed)] = top1
    return streams


def result_of(
    config: TablesConfig,
    grid: Grid,
    bases: Sequence[Config],
    runs: Mapping[Structure, Runs],
    tuning: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """The whole outcome as JSON values.

    Args:
        config: The configuration of the table.
        grid: The grid of the table.
        bases: What its runs share.
        runs: The runs of each structure.
        tuning: Structure's key -> rate -> validation loss, where rates were chosen.
    """
    metric, first = (LOSS if config.faces else TOP1), bases[0]
    title = TITLES[config.table]
    if config.joint:
        title += ", joint training"
    if not config.faces:
        streams = " and ".join(base.stream for base in bases)
        title += f", {streams} stream{'s' * (len(bases) > 1)}"
    cells = [cell_of(config.key, structure, found) for structure, found in runs.items()]
    summaries = [
        outcome.summary
        for found in runs.values()
        for done in found.values()
        for _, outcome in done
        if outcome.summary is not None
    ]
    seeds = {"training": config.training_seeds}
    if first.data == "embedded":
        seeds |= {
            "data": [first.embedded.seed] if config.same_data else config.training_seeds,
            "pretraining": (
                [first.pretraining.seed] if config.one_start else config.training_seeds
            ),
            "pretraining data": [first.embedded.seed],
        }
    if tuning:
        seeds["tuning"] = [TUNING_SEED]
    how = (
        "of each structure the rate with the lowest validation loss, on data of their own"
        if tuning
        else "the same for all"
    )
    return {
        "table": config.key,
        "title": title,
        "data": config.data,
        "quick": config.quick,
        "metric": metric,
        "command": command_of(config),
        "date": time.strftime("%Y-%m-%d"),
        "device": device_of(summaries),
        "seconds": round(sum(summary["seconds"] for summary in summaries), 1),
        "seeds": seeds,
        "settings": settings_of_all(bases) | own_epochs(grid),
        "rates": {
            "tried": list(RATES) if tuning else [],
            "how": how,
            "validation": {key: dict(losses) for key, losses in tuning.items()},
        },
        "columns": [{"key": key, "label": label} for key, label in grid.columns.items()],
        "rows": [{"key": key, "label": label} for key, label in grid.rows.items()],
        "cells": cells,
        **judge(config.key, metric, cells),
    }


def settings_of_all(bases: Sequence[Config]) -> dict[str, Any]:
    """The settings that all runs share, by name."""
    names = ["epochs", "batch_size", "momentum", "weight_decay", "clip_norm", "steps", "precision"]
    first = bases[0]
    shared = {name: getattr(first, name) for name in names}
    shared["schedule"] = first.schedule.shape
    if first.application == "action":
        shared |= {"optimizer": first.optimizer, "trunk": first.trunk}
        if first.trunk_rate != 1:
            shared["rate of the trunk"] = f"{first.trunk_rate} of the others'"
    if len(bases) > 1:
        shared["stream_weights"] = list(STREAM_WEIGHTS)
    if first.data == "embedded":
        shared["training sequences"] = first.embedded.train
        shared["test sequences"] = first.embedded.test
    return shared


def own_epochs(grid: Grid) -> dict[str, int]:
    """The epochs of the rows that have other ones than the rest."""
    found = [s for s in grid.structures if "epochs" in s.changes]
    return {f"epochs of {grid.rows[s.row]}": s.changes["epochs"] for s in found}


def command_of(config: TablesConfig) -> str:
    """The command that gives the table."""
    flags = [f"--table={config.table}"]
    if config.data != "embedded":
        flags += [f"--data={config.data}", "--source=DIR", "--weights=FILE"]
    if config.seeds != TablesConfig(1).seeds:
        flags.append(f"--seeds={config.seeds}")
    if config.tune is not None:
        flags.append("--tune" if config.tune else "--no-tune")
    if config.cells != CELLS:
        flags.append(" ".join(["--cells", *config.cells]))
    if config.columns:
        flags.append(" ".join(["--columns", *config.columns]))
    if config.same_data:
        flags.append("--same_data")
    if config.joint:
        flags.append("--joint")
    if config.quick:
        flags.append("--quick")
    return " ".join(["prernn tables", *flags])


def device_of(summaries: Sequence[Mapping[str, Any]]) -> str:
    """On what the runs with these summaries ran."""
    kinds = sorted({summary["device"] for summary in summaries})
    return f"{', '.join(kinds)}; {len(own_cores())} cores ({platform.machine()})"
