"""What a run tells: metrics as JSON lines and TensorBoard events, progress on the screen."""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text

from .events import Events

# Where there is no terminal nobody has asked for 80 columns.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 130)


def say(line: str) -> None:
    """Prints a line for the person who waits."""
    console.print(line, markup=False)


class MetricsLog:
    """`metrics.jsonl` and TensorBoard events of a run.

    Args:
        folder: The run's folder.
        step: The step from which the run goes on. Lines of later steps, which a killed run may have
            written after its last checkpoint, are dropped, because those steps are taken again. The
            line of the test is dropped too.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        old = self.path.read_bytes() if self.path.exists() else b""
        lines = old.decode(errors="replace").splitlines()  # a damaged line is dropped, no more
        kept = [line for line in lines if _step_of(line) <= step and '"kind": "test"' not in line]
        with _named(folder):
            write_text(self.path, "".join(line + "\n" for line in kept))
            self._file = self.path.open("a", encoding="utf-8")
            self._events = Events(folder / "tensorboard", step)

    def write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """Writes one line of numbers, and the scalars among them as `kind/name`.

        Raises:
            InputError: It cannot be written.
        """
        with _named(self.path.parent):
            self._file.write(json.dumps({"step": step, "kind": kind, **values}) + "\n")
            self._file.flush()
            numbers = {f"{kind}/{k}": v for k, v in values.items() if isinstance(v, int | float)}
            self._events.scalars(step, numbers)

    def tag(self, words: Sequence[str]) -> None:
        """Writes the words by which the run is to be found again, before its first step.

        Raises:
            InputError: They cannot be written.
        """
        self.write(0, "run", {"tags": list(words)})
        with _named(self.path.parent):
            self._events.text("run/tags", ", ".join(words))

    def read(self, kind: str) -> list[dict[str, Any]]:
        """All lines of a kind, oldest first."""
        lines = (json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line["kind"] == kind]

    def close(self) -> None:
        """Closes the files, in which all lines are already."""
        for file in (self._file, self._events):
            with suppress(OSError):  # of a line that `write` could not write
                file.close()


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the metrics cannot be written to {folder}: {error.strerror or error}; make room or "
            "give access, and go on with --resume"
        ) from None


def _step_of(line: str) -> float:
    """The step of a line; infinity for one that is not ours, such as half a line after a kill."""
    try:
        found = json.loads(line)
        if found["kind"] == "train":
            float(found["loss"])
        return float(found["step"]) if isinstance(found["kind"], str) else math.inf
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf


class Bar:
    """Progress of a training: loss, sequences a second, time left."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(name, total=steps, completed=done, note="")

    def update(self, done: int, note: str) -> None:
        """Shows how many steps are done."""
        self._progress.update(self._task, completed=done, note=note)

    @contextmanager
    def shown(self) -> Iterator["Bar"]:
        """Shows the bar during the block; shows nothing where there is no terminal."""
        with self._progress:
            yield self


class Clock:
    """Steps a second since it was last read."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def rate(self, count: int, *, keep: bool = False) -> float:
        """`count` a second, of the time since the last call, which `keep` leaves as it was."""
        now = time.perf_counter()
        rate = count / max(now - self._since, 1e-9)
        self._since = self._since if keep else now
        return rate
