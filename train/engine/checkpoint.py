"""Checkpoints of a run: the whole training state and the loader's position, by orbax.

Beside each checkpoint stands a digest of its files. A damaged one is put aside and the one before
it is used: a changed byte in a checkpoint otherwise ends in a traceback of the library, or restores
other values without a word.
"""

import base64
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.remote import publish

from . import processes
from .devices import replicate
from .log import say
from .step import TrainState


class Checkpoints:
    """The checkpoints of a run, written whole or not at all.

    Where there are several processes, process 0 alone reads and writes; the others must make the
    same calls, and get what it got.

    Args:
        folder: Where they lie; made when absent.
        keep: How many of the newest are kept.
        background: Write in a thread, from a copy of the state in the host's memory, while training
            goes on; one at a time, and with the same digest and the same messages. By default on a
            GPU: on a CPU, writer and step would share cores and memory.
    """

    def __init__(self, folder: Path, keep: int = 2, background: bool | None = None) -> None:
        self.folder = folder
        self._background = jax.default_backend() != "cpu" if background is None else background
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._written: Future[None] | None = None
        self._first = processes.is_first()
        if self._first:
            folder.mkdir(parents=True, exist_ok=True)  # orbax makes it for all processes or none
            alone = ocp.options.MultiprocessingOptions(
                active_processes={0} if processes.count() > 1 else None,
                barrier_sync_key_prefix="process0" if processes.count() > 1 else None,
            )
            self._manager = ocp.CheckpointManager(
                folder.absolute(),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=keep,
                    enable_async_checkpointing=False,
                    create=False,
                    multiprocessing_options=alone,
                ),
            )
        self._latest = processes.from_first(lambda: self._manager.latest_step())

    @property
    def latest(self) -> int | None:
        """The step of the newest checkpoint, or None; waits for one that is being written."""
        self.wait()
        return self._found() if self._first else self._latest

    def _found(self) -> int | None:
        step: int | None = self._manager.latest_step()
        return step

    def wait(self) -> None:
        """Waits for the checkpoint that is being written, if there is one.

        Raises:
            InputError: It could not be written.
        """
        written, self._written = self._written, None
        if written is not None:
            written.result()

    def save(self, state: TrainState, loader_state: Any) -> None:
        """Writes a checkpoint of the state's step.

        Args:
            state: Must be finite; the caller has looked.
            loader_state: What the loader's `get_state` gave, bytes or JSON values.

        Raises:
            InputError: It, or the one before that was written in the background, could not be
                written; earlier ones are as they were.
        """
        step = int(state.step)
        if step == self.latest:
            return
        if self._first and self._background:
            # A copy, since the next step takes the state's memory.
            copy = jax.tree.map(np.array, _own(state))
            self._written = self._writer.submit(self._save, step, copy, loader_state)
        elif self._first:
            self._save(step, _own(state), loader_state)
        self._latest = processes.from_first(lambda: step)

    def _save(self, step: int, state: TrainState, loader_state: Any) -> None:
        loader_state = _as_json(loader_state)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state._asdict()),
            loader=ocp.args.JsonSave(loader_state),
        )
        try:
            with _quiet():
                self._manager.save(step, args=items)
        except (OSError, ValueError) as error:  # tensorstore says ValueError when a disk is full
            reason = str(error).strip().splitlines()[0][:200]
            raise InputError(
                f"could not write the checkpoint of step {step} to {self.folder}: {reason}; "
                f"{self._survivor()}"
            ) from error
        try:
            write_text(self._digest_file(step), _digest(self.folder / str(step)))
        except OSError as error:
            raise InputError(
                f"could not write the digest of the checkpoint of step {step} to {self.folder}: "
                f"{error.strerror}; make room and go on with --resume"
            ) from error
        for old in self.folder.glob("*.sha256"):
            if not (self.folder / old.stem).is_dir():
                old.unlink(missing_ok=True)
        try:
            publish(self.folder.parent)
        except InputError as error:
            say(f"the checkpoint of step {step} stays on this machine for now: {error}")

    def _digest_file(self, step: int) -> Path:
        return self.folder / f"{step}.sha256"

    def _survivor(self) -> str:
        self._manager.reload()
        if (step := self._found()) is None:
            return "there is no earlier one"
        return f"that of step {step} is intact: make room and go on with --resume"

    def restore(self, state: TrainState) -> tuple[TrainState, Any]:
        """Reads the newest checkpoint that is not damaged, and puts damaged ones aside.

        Args:
            state: A state of the same structure; its arrays say shapes, types and devices.

        Returns:
            The state and the loader's state as `save` got them.

        Raises:
            InputError: All are damaged, or they do not fit the state.
        """
        if processes.count() == 1:
            return self._newest(state)
        mesh = jax.tree.leaves(state)[0].sharding.mesh
        found, position = _own(state), None
        if self._first:
            found, position = self._newest(found)
        position = processes.from_first(lambda: _as_json(position))
        return replicate(found, mesh), _from_json(position)

    def _newest(self, state: TrainState) -> tuple[TrainState, Any]:
        first: Exception | None = None
        while (step := self.latest) is not None:
            try:
                self._check(step)
                return self._restore(step, state)
            except (InputError, OSError, ValueError, KeyError, TypeError) as error:
                first = first or error
                self._put_aside(step, error)
        raise InputError(
            f"no checkpoint in {self.folder} can be read: {_first_line(first)}; leave --resume out "
            "to start anew (the folder of this run is kept under another name)"
        ) from first

    def _check(self, step: int) -> None:
        file = self._digest_file(step)
        # A run that was killed between the two files, or an older version, has left no digest.
        if file.is_file() and file.read_text(encoding="utf-8") != _digest(self.folder / str(step)):
            raise InputError("its files are not those that were written")

    def _put_aside(self, step: int, error: Exception) -> None:
        aside = self.folder.with_name(f"{self.folder.name}-damaged")
        aside.mkdir(exist_ok=True)
        target = aside / str(step)
        number = 1
        while target.exists():
            number += 1
            target = aside / f"{step}-{number}"
        (self.folder / str(step)).rename(target)
        self._digest_file(step).unlink(missing_ok=True)
        self._manager.reload()
        rest = "there is no earlier one" if self.latest is None else f"step {self.latest} is used"
        say(
            f"the checkpoint of step {step} is damaged ({_first_line(error)}); it is moved to "
            f"{target}; {rest}"
        )

    def _restore(self, step: int, state: TrainState) -> tuple[TrainState, Any]:
        # One of several processes asks for NumPy arrays: it lacks devices that the file names.
        shapes = jax.tree.map(
            lambda x: x if isinstance(x, np.ndarray) else ocp.utils.to_shape_dtype_struct(x),
            state._asdict(),
        )
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes), loader=ocp.args.JsonRestore()
        )
        with _quiet():
            found = self._manager.restore(step, args=items)
        loader_state = _from_json(found.loader)
        # Own buffers: what orbax hands over may alias memory that a donating step would reuse.
        return TrainState(**jax.tree.map(jnp.copy, found.state)), loader_state

    def close(self) -> None:
        """Ends the threads; waits for a checkpoint that is being written."""
        try:
            self.wait()
        except InputError as error:  # another error ends the run
            say(str(error))
        self._writer.shutdown()
        if self._first:
            with _quiet():
                self._manager.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps tracebacks of the library's threads from the screen: the error itself is raised too."""
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    before = logger.disabled
    logger.disabled = True
    sys.unraisablehook = partial(_told_unless_late, hook)
    try:
        yield
        sys.unraisablehook = hook  # after an error threads may still be at work: it stays
    finally:
        logger.disabled = before


def _told_unless_late(
    tell: "Callable[[sys.UnraisableHookArgs], object]", found: "sys.UnraisableHookArgs"
) -> None:
    """Passes on what a thread could not raise, unless it only came after the error of others."""
    late = isinstance(found.exc_value, RuntimeError) and "loop is closed" in str(found.exc_value)
    if not late:
        tell(found)


def _own(state: TrainState) -> TrainState:
    """Arrays that orbax takes from one of several processes."""
    if processes.count() == 1:
        return state
    own: TrainState = jax.device_get(processes.local(state))
    return own


def _as_json(loader_state: Any) -> Any:
    if isinstance(loader_state, bytes):
        return {"base64": base64.b64encode(loader_state).decode()}
    return loader_state


def _from_json(loader_state: Any) -> Any:
    return (
        base64.b64decode(loader_state["base64"])
        if set(loader_state) == {"base64"}
        else loader_state
    )


def _digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all files of a folder."""
    whole = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as content:
            inner = hashlib.file_digest(content, "sha256").hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()} {inner}\n".encode())
    return whole.hexdigest()


def _first_line(error: Exception | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
