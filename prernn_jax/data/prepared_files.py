"""A folder of prepared files, one a sample: made by several processes, resumable, never mixed.

A file appears under its name when it is complete, so a stopped preparation goes on with those
that are not there. `recipe.json` says how all of them were made.
"""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from prernn_jax.child_process import end_with_the_parent, let_an_interrupt_in
from prernn_jax.data.flow import one_thread
from prernn_jax.data.progress import with_progress
from prernn_jax.data.split_lists import Listed
from prernn_jax.errors import InputError

Write = Callable[[Listed, Path], None]
"""Makes the prepared file of a sample; can be sent to another process."""


def prepared_path(folder: Path, item: Listed) -> Path:
    """Return where a prepared sample lies."""
    return folder / f"{item.name}.array_record"


def read_facts(folder: Path) -> dict[str, Any]:
    """Return how the files of a folder were made; nothing if there is none yet."""
    path = folder / "recipe.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def refuse_to_mix(path: Path, facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare how a file or folder was made with what is wanted.

    Raises:
      InputError: they differ; the message says in what.
    """
    differ = [name for name in facts if name in wanted and facts[name] != wanted[name]]
    if differ:
        was = ", ".join(f"{name} {facts[name]}" for name in differ)
        now = ", ".join(f"{name} {wanted[name]}" for name in differ)
        raise InputError(
            f"{path} was prepared with {was}, but {now} is wanted; prepared samples of two kinds "
            "are not mixed: delete it and prepare it again"
        )


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, first under a temporary name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)


def prepare_files(
    folder: Path,
    listed: Sequence[Listed],
    write: Write,
    facts: Mapping[str, Any],
    workers: int | None = None,
    faults: dict[str, str] | None = None,
) -> None:
    """Prepare the samples that are not prepared yet, several at a time.

    Args:
      folder: where the prepared files go.
      listed: samples.
      write: makes one file; an InputError of it is a fault of that sample.
      facts: how files are made; the same for all files of a folder.
      workers: processes; by default one a core.
      faults: where given, samples that cannot be made are noted here (name: why).

    Raises:
      InputError: without `faults`: a sample cannot be made (those that are finished stay); the
        folder's files were made in another way; a process died.
      OSError: a file cannot be written.
    """
    refuse_to_mix(folder, read_facts(folder), facts)
    todo = [item for item in listed if not prepared_path(folder, item).is_file()]
    if not todo:
        return
    write_json(folder / "recipe.json", facts)
    outcomes = _outcomes(folder, todo, write, workers)
    done = len(listed) - len(todo)
    for item, fault in with_progress(outcomes, len(listed), f"preparing {folder}", done):
        if fault is not None:
            if faults is None:
                raise InputError(fault)
            faults[item.name] = fault


def _outcomes(
    folder: Path, todo: Sequence[Listed], write: Write, workers: int | None
) -> Iterator[tuple[Listed, str | None]]:
    processes = min(workers or os.cpu_count() or 1, len(todo))
    if processes == 1:
        for item in todo:
            yield item, _attempt(write, item, folder)
        return
    # Not forked: JAX has threads by now.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, end_with_the_parent)
    try:
        jobs = {pool.submit(_attempt, write, item, folder): item for item in todo}
        for job in as_completed(jobs):
            yield jobs.pop(job), job.result()
    except BrokenProcessPool as error:
        let_an_interrupt_in()
        raise InputError(
            "a process that prepares videos was killed: is there too little memory (fewer "
            "--workers need less), or does a video crash the decoder? What is finished stays"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _attempt(write: Write, item: Listed, folder: Path) -> str | None:
    try:
        with one_thread():
            write(item, prepared_path(folder, item))
    except InputError as error:
        return str(error)
    return None
