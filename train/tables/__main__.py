"""Repeats the tables of the paper: `prernn tables --table=1`.

Runs a table's structures, cells and seeds, each an ordinary training run with its own folder, and
writes what came of it beside the paper's figures. A finished run is never run again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from prernn_jax.command import parse, run_command
from prernn_jax.errors import RunStopped

from ..engine.log import say
from ..face.config import FacePretraining
from ..run.config import RENAMED
from . import feature_table, split_table
from .feature_settings import TABLE
from .grid import Grid, Structure, grid, only
from .jobs import Config, Done, Job, own_cores, run_all
from .outcome import result_of, validation_of
from .report import judged_anew, write_table
from .settings import RATES, TUNING_SEED, TablesConfig, bases, check, jobs, starts, with_epochs

Rates = Mapping[Structure, float | None]


def tuned_rates(
    config: TablesConfig, places: Grid, shared: Sequence[Config], processes: int
) -> tuple[Rates, dict[str, dict[str, float]]]:
    """The rate of each structure, and the validation losses by which it was chosen."""
    if not config.tuned:
        return dict.fromkeys(places.structures), {}
    tried = {
        (structure, rate): jobs(shared, structure, TUNING_SEED, rate, "tuning")
        for structure in places.structures
        for rate in RATES
    }
    outcomes = do(config, [job for several in tried.values() for job in several], processes)
    losses: dict[Structure, dict[float, float]] = {}
    for (structure, rate), several in tried.items():
        found = validation_of([(job, outcomes[job]) for job in several])
        losses.setdefault(structure, {})[rate] = found
    chosen = {structure: min(found, key=found.__getitem__) for structure, found in losses.items()}
    shown = {s.key: {f"{r:g}": v for r, v in found.items()} for s, found in losses.items()}
    return chosen, shown


def do(config: TablesConfig, todo: Sequence[Job], processes: int) -> Mapping[Job, Done]:
    """Does runs and tells of each."""
    began = time.perf_counter()

    def told(count: int, job: Job, done: Done) -> None:
        if done.summary is None:
            found = f"failed: {done.failure}"
        else:
            name = "loss" if config.faces else "video_top1"
            found = f"{name} {done.summary[name]:.4f}  ({done.summary['seconds']:.0f} s)"
        passed = time.perf_counter() - began
        say(f"[{count}/{len(todo)}, {passed:.0f} s] {job.config.name}: {found}")

    return run_all(todo, processes, told)


def run(config: TablesConfig) -> dict[str, Any]:
    """Runs a table; returns what is in its JSON."""
    check(config)
    # -------------------------------------------------------------------------- what is run
    shared = bases(config)
    embedded = config.data == "embedded"
    processes = config.jobs or (len(own_cores()) if embedded else 1)
    width = FacePretraining().hidden if embedded else 4096
    whole = grid(config.table, width, config.quick, small=embedded)
    places = with_epochs(config, only(whole, config.cells, config.columns))
    started = starts(config, shared)
    seeds = config.training_seeds
    shared = started[seeds[0]]
    say(
        f"table {config.table}: {len(places.structures)} structures, seeds "
        f"{seeds[0]} to {seeds[-1]}, {processes} runs at a time; they are in {shared[0].workdir}"
    )

    # --------------------------------------------------------------------------- learning rates
    chosen, tuning = tuned_rates(config, places, shared, processes)

    # ------------------------------------------------------------------------- the grid itself
    # Seeds outermost: a grid that is broken off has whole tables of fewer seeds.
    planned = {
        (seed, structure): jobs(
            started[seed], structure, seed, chosen[structure], same_data=config.same_data
        )
        for seed in seeds
        for structure in places.structures
    }
    outcomes = do(config, [job for several in planned.values() for job in several], processes)
    runs = {
        structure: {
            seed: [(job, outcomes[job]) for job in planned[seed, structure]] for seed in seeds
        }
        for structure in places.structures
    }

    # ------------------------------------------------------------------------- what it says
    result = result_of(config, places, shared, runs, tuning)
    for path in write_table(config.out, result):
        say(f"written: {path}")
    for claim in result["claims"]:
        say(f"({claim['claim']}) {claim['row']}: {claim['text']}: {claim['verdict']}")
    return result


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    others: dict[str, Callable[..., None]] = {TABLE: feature_table.main}
    for data in split_table.DATA_SETS:
        others[data] = partial(split_table.main, data=data)
    for name, program in others.items():
        if (flag := f"--table={name}") in argv:
            program([argument for argument in argv if argument != flag])
            return
    config = parse(
        TablesConfig,
        argv,
        program="prernn tables",
        description=(
            "Runs a table's structures, cells and seeds and writes what came of it beside the "
            "paper's figures. Each run is an ordinary training run with its own folder; the same "
            "command goes on where it was interrupted."
        ),
        examples=(
            "prernn tables --table=1 --quick",
            "prernn tables --table=1",
            "prernn tables --table=1 --redraw --out=docs/tables",
            "prernn tables --table=features --source=ucf101_fc6.npz",
            "prernn tables --table=ucf101 --source=DIR --weights=resnet50.safetensors",
            "prernn tables --table=1 --data=300vw --source=DIR --weights=vgg16.safetensors",
        ),
        renamed=RENAMED,
    )
    if config.redraw:
        for path in judged_anew(config.out):
            say(f"written: {path}")
        return
    try:
        run(config)
    except KeyboardInterrupt:
        again = "the same command goes on where this one was"
        raise RunStopped(f"what is finished stays; {again}", status=130) from None


if __name__ == "__main__":
    run_command(main)
