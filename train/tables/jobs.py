"""Training runs done side by side, each an ordinary run with its own folder, none done twice."""

import contextlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, NamedTuple

import jax

from prernn_jax.errors import InputError, RunStopped
from prernn_jax.processes import end_with_the_parent, keep_freed_memory, let_an_interrupt_in

from ..applications import application_of
from ..engine.devices import make_mesh
from ..run.application import run
from ..run.config import settings_of
from ..run.folder import differences, make_folder

Config = Any
"""An `ActionConfig` or a `FaceConfig`."""


class Done(NamedTuple):
    """What a job ended with.

    Attributes:
        summary: The run's `summary.json`; None where it failed.
        failure: Why, such as a loss that is not finite.
    """

    summary: dict[str, Any] | None
    failure: str = ""


@dataclass(frozen=True)
class Job:
    """One training run: its folder is `config.workdir / config.name`."""

    config: Config

    @property
    def folder(self) -> Path:
        """The run's folder."""
        assert self.config.name is not None
        return self.config.workdir / self.config.name


def own_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def finished(job: Job) -> dict[str, Any] | None:
    """The summary of a run that is there, complete and of the same configuration."""
    file = job.folder / "summary.json"
    if differences(job.folder, settings_of(job.config)) != [] or not file.is_file():
        return None
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # damaged: the run goes on and writes it again
        return None
    return summary if isinstance(summary, dict) else None


def run_job(job: Job) -> Done:
    """Does a run, or goes on with one that was interrupted; what it prints goes to a file."""
    begun = differences(job.folder, settings_of(job.config)) == []
    config = replace(job.config, resume=begun)
    logs = config.workdir / "logs"
    make_folder(logs)
    file = logs / f"{config.name}.log"
    with file.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        try:
            run(application_of(config), config)
            return Done(finished(job))
        except RunStopped as stopped:
            if stopped.status > 128:  # an interrupt: its checkpoint is written
                log.flush()
                os._exit(stopped.status)
            return Done(None, str(stopped))


def _stage_one(config: Config) -> Path:
    mesh = make_mesh(config.devices, config.batch_size)
    path = application_of(config).open_backbone(config, mesh).path
    assert path is not None
    return path


def stage_one(config: Config) -> Path:
    """Trains the compact CNN from which runs start, unless it is there, and says where it lies."""
    with _pool(1, config.workdir) as pool:
        return pool.submit(_stage_one, config).result()


def run_all(
    jobs: Sequence[Job], processes: int, told: Callable[[int, Job, Done], None]
) -> dict[Job, Done]:
    """Does the runs that are not done yet, several at a time.

    Args:
        jobs: The runs, in the order in which they are begun; a job that is there twice is done
            once.
        processes: How many runs go at a time; each gets an equal share of the cores.
        told: Called after each run with the number of those that are done.

    Raises:
        InputError: A run cannot be done at all, or a process was killed.
        KeyboardInterrupt: By Ctrl-C or SIGTERM; runs that had begun have written a checkpoint.
    """
    outcomes: dict[Job, Done] = {}
    for job in jobs:
        if (summary := finished(job)) is not None:
            outcomes[job] = Done(summary)
    todo = [job for job in dict.fromkeys(jobs) if job not in outcomes]
    for job, done in _done(todo, min(processes, len(todo))):
        outcomes[job] = done
        told(len(outcomes), job, done)
    return outcomes


def _done(todo: Sequence[Job], processes: int) -> Iterator[tuple[Job, Done]]:
    if not todo:
        return
    with _pool(processes, todo[0].config.workdir) as pool:
        futures = {pool.submit(run_job, job): job for job in todo}
        for future in as_completed(futures):
            job = futures[future]
            try:
                done = future.result()
            except InputError as error:
                raise InputError(f"the run {job.folder} failed: {error}") from error
            yield job, done


@contextlib.contextmanager
def _pool(processes: int, workdir: Path) -> Iterator[ProcessPoolExecutor]:
    # Not forked: JAX may have threads by now.
    context = multiprocessing.get_context("spawn")
    cores: Queue[list[int]] = context.Queue()
    mine = own_cores()
    for number in range(processes):
        cores.put(mine[number::processes] or mine)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = ProcessPoolExecutor(processes, context, _start, (cores, workdir / "compiled"))
    try:
        yield pool
    except BrokenProcessPool as error:
        let_an_interrupt_in()
        raise InputError(
            "a process that trains was killed: is there too little memory? Fewer --jobs need "
            "less. What is finished stays, and the same command goes on"
        ) from error
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()  # a run that has begun writes a checkpoint
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        signal.signal(signal.SIGTERM, before)


def _start(cores: "Queue[list[int]]", compiled: Path) -> None:
    """A process of its own: its cores, compiled steps shared on disk, an end with its parent."""
    share = cores.get()
    if hasattr(os, "sched_setaffinity"):  # not on macOS
        os.sched_setaffinity(0, share)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several may share a GPU
    jax.config.update("jax_compilation_cache_dir", str(compiled.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    keep_freed_memory()
    end_with_the_parent()
