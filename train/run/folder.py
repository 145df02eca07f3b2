"""The folder of a run: one run at a time, its configuration, and the way to resume."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json

from ..engine import processes

# What may differ on --resume: places, speed, memory, and settings that older runs lack.
_FREE = (
    "resume", "workdir", "source", "data_dir", "cache_dir", "devices", "workers",
    "checkpoint_every", "validate_every", "application", "verbose", "parallel", "coordinator",
    "num_processes", "process_id", "config", "tags", "remat", "accumulate",
)  # fmt: skip
# What may differ between processes that train together: places and what is this process's own.
_OWN = ("process_id", "workdir", "source", "data_dir", "cache_dir", "workers", "verbose")


def make_folder(path: Path) -> None:
    """Makes a folder and those above it.

    Raises:
        InputError: It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write in {path}: {error.strerror}; choose another --workdir"
        ) from None


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, as on the command line."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differences(path: Path, config: Mapping[str, Any]) -> list[str] | None:
    """How a configuration differs from that of the run in a folder.

    Args:
        path: The run's folder.
        config: JSON values. What may differ on --resume is left out.

    Returns:
        One text for each setting; None if there is no run.

    Raises:
        InputError: The run's configuration cannot be read.
    """
    file = path / "config.json"
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {file} ({error}); give another --name") from None
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no configuration; give another --name")
    old, new = _flat(found), _flat(config)
    return [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if key not in _FREE and old.get(key) != new.get(key)
    ]


def check_alike(config: Mapping[str, Any]) -> None:
    """Raises an InputError where processes that train together were started with other flags.

    Args:
        config: JSON values: what this process was started with.
    """
    flat = _flat(config)
    processes.compare_settings({key: flat[key] for key in flat if key not in _OWN})


class RunFolder:
    """A run's folder, locked as long as this process holds it.

    Where there are several processes, only process 0 looks at it.

    Args:
        path: The folder.
        config: What the run is, as plain JSON values.
        resume: Go on with the run that is there.

    Attributes:
        path: The folder.
        settings: What the run is.

    Raises:
        InputError: Another process has it, it cannot be written, or `resume` and the
            configuration is another one or there is nothing to go on with.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.settings = dict(config)
        self._resume = resume
        self._lock: FileLock | None = None
        if not processes.is_first():
            return
        make_folder(path.parent)
        self._lock = self._take_lock()
        try:
            if resume:
                self._compare()
        except BaseException:
            self.close()
            raise

    def _take_lock(self) -> FileLock:
        # Beside the folder and not in it: the folder may be renamed.
        file = self.path.with_name(f".{self.path.name}.lock")
        # Read first: whoever tries to lock the file empties it.
        holder = file.read_text(encoding="utf-8").strip() if file.exists() else ""
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path} is in use by another run (process {holder or 'unknown'}); "
                "wait for it, or give this one another --name or --workdir"
            ) from None
        file.write_text(str(os.getpid()), encoding="utf-8")
        return lock

    def begin(self) -> None:
        """Makes the folder of a new run and renames an earlier one.

        Called once all that the run needs is there, so that bad input moves nothing.
        """
        if self._resume or not processes.is_first():
            return
        if self.path.exists():
            number = 1
            while (aside := self.path.with_name(f"{self.path.name}.previous-{number}")).exists():
                number += 1
            self.path.rename(aside)
        make_folder(self.path)
        write_json(self.path / "config.json", self.settings)

    def _compare(self) -> None:
        differing = differences(self.path, self.settings)
        if differing is None:
            raise InputError(f"--resume: there is no run in {self.path}; leave --resume out")
        if differing:
            raise InputError(
                f"--resume: the run in {self.path} has another configuration: "
                f"{'; '.join(differing)}; give the same flags, or another --name for a new run"
            )

    def close(self) -> None:
        """Releases the folder, so that another run can use it."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
