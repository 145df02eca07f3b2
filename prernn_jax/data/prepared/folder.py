"""A folder of prepared files, one for each sample, made by several processes.

A file gets its name when it is complete, so a stopped preparation goes on with the absent ones.
`recipe.json` says how all of them were made; files of two recipes are never mixed.
"""

import contextlib
import errno
import io
import json
import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from filelock import FileLock, Timeout

from prernn_jax.data.media.flow import one_thread
from prernn_jax.data.prepared.lists import Listed
from prernn_jax.data.prepared.progress import with_progress
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json
from prernn_jax.processes import end_with_the_parent, let_an_interrupt_in
from prernn_jax.remote import cache_folder, refresh

RENAMED = {"data_dir": "cache_dir"}
"""Former names of flags of the commands on data, which are accepted for one version."""
RECIPE = "recipe.json"
"""Says how all files of a folder were made."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EIO)


def data_folder(cache_dir: Path | None = None) -> Path:
    """Returns where prepared data are kept.

    That is the given folder, else $PRERNN_DATA_DIR, else ~/.cache/prernn_jax.
    """
    return Path(cache_dir).expanduser() if cache_dir else cache_folder()


def _default_folder() -> Path:
    return Path.home() / ".cache" / "prernn_jax"


def make_data_folder(root: Path) -> None:
    """Makes the folder of prepared data; the default one is for its owner only (mode 0700).

    A folder that the user names may be shared, so its rights are those that the system gives.
    """
    private = root == _default_folder()
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700 if private else 0o777, exist_ok=True)


def prepare_once(
    make: Callable[[], tfds.core.DatasetBuilder], root: Path, what: str
) -> tfds.core.DatasetBuilder:
    """Returns a prepared builder. One of several processes prepares, the others wait for it.

    TFDS writes into a folder of its own and renames it at the end, so an interrupted preparation
    leaves nothing that looks finished. Its remains are removed here, under the lock.

    Args:
        make: Makes the builder; it is called again when the data are there.
        root: The data folder.
        what: What messages call the data.

    Raises:
        InputError: The folder cannot be written.
    """
    with _quiet():
        builder = make()
        final = Path(builder.data_path)
        if not builder.info.splits and refresh(final):
            builder = make()
    if builder.info.splits and (final / "dataset_info.json").is_file():
        return builder
    with writable(root, what):
        make_data_folder(root)
        with locked(root / f".{builder.name}-{final.parent.name}.lock"), _quiet():
            if not (final / "dataset_info.json").is_file():
                for remains in final.parent.glob("incomplete.*"):
                    shutil.rmtree(remains)
                print(f"preparing {what} in {final} (once)", file=sys.stderr, flush=True)
                make().download_and_prepare()
            return make()


@contextlib.contextmanager
def writable(root: Path, what: str) -> Iterator[None]:
    """Turns a refusal of the system to write there into an InputError that names the folder."""
    try:
        yield
    except RuntimeError as error:  # array_record and TFDS raise nothing else
        if "No space left" not in str(error):
            raise
        raise InputError(
            f"{what} cannot be written to {root}: the disk is full; make room and start again "
            "(what is finished stays), or give a folder on another disk"
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"{what} cannot be written to {root}: the disk is full ({error}); make room and "
                "start again (what is finished stays), or give a folder on another disk"
            ) from error
        if error.errno not in _REFUSED:
            raise
        raise InputError(
            f"{what} cannot be written to {root} ({error}); give a folder that you may write, "
            "or set PRERNN_DATA_DIR"
        ) from error


@contextlib.contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Holds a lock file; the system frees it when the process ends.

    Args:
        path: The lock file.
        timeout: Seconds to wait until no other process holds it; below 0: without end.

    Raises:
        InputError: The file system cannot lock files.
        filelock.Timeout: Another process still holds it.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError as error:
        raise InputError(
            f"the file system of {path.parent} cannot lock files; mount it with locks (Lustre: "
            "the option flock), or give --cache_dir on another one"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Tells whether a process holds a lock file."""
    try:
        with locked(path, timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the progress bars, notices and advice of TFDS from the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(level)


Write = Callable[[Listed, Path], None]
"""Makes the prepared file of a sample. It can be sent to another process."""
Way = Callable[[Path, Sequence[Listed], Write, int | None], Iterator[tuple[Listed, str | None]]]
"""Makes several: `prepare_by_processes`, or `prepare_by_beam` of `beam.py`."""


def prepared_path(folder: Path, item: Listed) -> Path:
    """Returns the path of a prepared sample."""
    return folder / f"{item.name}.array_record"


def read_facts(folder: Path) -> dict[str, Any]:
    """Reads how the files of a folder were made.

    Returns:
        The facts; none where `recipe.json` is absent.

    Raises:
        InputError: `recipe.json` is damaged.
    """
    path = folder / RECIPE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged; delete this file and start again: it is written anew"
        ) from error


def refuse_to_mix(path: Path, facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compares how a file or folder was made with how it should be made.

    Raises:
        InputError: They differ; the message says how.
    """
    differ = [name for name in facts if name in wanted and facts[name] != wanted[name]]
    if differ:
        was = ", ".join(f"{name} {facts[name]}" for name in differ)
        now = ", ".join(f"{name} {wanted[name]}" for name in differ)
        raise InputError(
            f"{path} was prepared with {was}, but {now} is wanted; prepared samples of two kinds "
            "are not mixed: delete it and prepare it again"
        )


def prepare_files(
    folder: Path,
    listed: Sequence[Listed],
    write: Write,
    facts: Mapping[str, Any],
    workers: int | None = None,
    faults: dict[str, str] | None = None,
    by: Way | None = None,
) -> None:
    """Prepares the samples that are not prepared yet, several at a time.

    Args:
        folder: The folder of the prepared files.
        listed: The samples.
        write: Makes one file; it raises an InputError for a sample that has a fault.
        facts: How files are made; the same for all files of a folder.
        workers: Number of processes; by default one for each core.
        faults: Receives the samples that cannot be made (name -> why).
        by: What makes them; by default processes of this machine.

    Raises:
        InputError: A sample cannot be made and `faults` is not given (finished ones stay); the
            files of the folder were made in another way; a process died.
        OSError: A file cannot be written.
    """
    refuse_to_mix(folder, read_facts(folder), facts)
    todo = [item for item in listed if not prepared_path(folder, item).is_file()]
    if not todo:
        return
    if read_facts(folder) != facts:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RECIPE, facts)
    outcomes = (by or prepare_by_processes)(folder, todo, write, workers)
    done = len(listed) - len(todo)
    what = f"preparing {folder.parent.name}"
    for item, fault in with_progress(outcomes, len(listed), what, before=done):
        if fault is not None:
            if faults is None:
                raise InputError(fault)
            faults[item.name] = fault


def prepare_by_processes(
    folder: Path, todo: Sequence[Listed], write: Write, workers: int | None
) -> Iterator[tuple[Listed, str | None]]:
    """Makes prepared files in processes of this machine.

    Yields:
        Each sample as it is done, and what is wrong with it or None.
    """
    processes = min(workers or os.cpu_count() or 1, len(todo))
    if processes == 1:
        for item in todo:
            yield item, attempt(write, item, folder)
        return
    # Forking is unsafe, since JAX has started threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, end_with_the_parent)
    try:
        jobs = {pool.submit(attempt, write, item, folder): item for item in todo}
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


def attempt(write: Write, item: Listed, folder: Path) -> str | None:
    """Makes a prepared file; returns what is wrong with the sample, or None."""
    try:
        with one_thread():
            write(item, prepared_path(folder, item))
    except InputError as error:
        return str(error)
    return None
