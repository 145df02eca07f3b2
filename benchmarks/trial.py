"""A program in a folder of its own: disturbed at a moment, gone on with, compared at its end."""

import contextlib
import json
import random
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults import Program, arguments

PATIENCE = 900.0
"""Seconds after which a program counts as hanging."""
AIMS = ("a moment", "a moment", "a save", "a save", "stage one, ", "preparing ")
"""Where a signal is to meet a program: at any moment, while it saves, after a line of its log."""


class Whole(NamedTuple):
    """An undisturbed run: its results (file: content) and how long it took."""

    results: dict[str, bytes]
    seconds: float


class Trial:
    """A program in a folder of its own, and what has been seen of it."""

    def __init__(self, program: str, place: Path, source: Path, rng: random.Random) -> None:
        self.program, self.place, self.rng = program, place, rng
        self.argv = arguments(program, place, source)
        self.log = place.parent / f"{place.name}.log"
        self.seen: dict[str, Any] = {}
        self.orphans = 0

    @property
    def begun(self) -> bool:
        """Whether there is a run to go on with."""
        return (self.place / "runs/run/config.json").is_file()

    def start(self, *more: str, clock: bool = False) -> Program:
        """Starts the program; a run that was begun goes on."""
        resume = ["--resume"] if self.begun and "--resume" not in more else []
        return Program(self.program, [*self.argv, *resume, *more], self.log, clock)

    def disturb(self, whole: Whole, number: signal.Signals, *more: str) -> Program:
        """Starts the program and sends it a signal at a random moment of a part of it."""
        aim = "a moment" if self.program == "prepare" else self.rng.choice(AIMS)
        before = _size(self.log)
        running = self.start(*more)
        began = time.monotonic()
        if aim == "a save":
            checkpoints = self.place / "runs/run/checkpoints"
            count = _entries(checkpoints) + self.rng.randint(1, 2)
            running.wait_for(lambda: _entries(checkpoints) >= count, PATIENCE)
            time.sleep(self.rng.uniform(0, 0.05))
        elif aim == "a moment":
            running.wait(self.rng.uniform(0, 0.8 * whole.seconds))
        else:
            running.wait_for(lambda: aim in _text(self.log)[before:], PATIENCE)
            running.wait(self.rng.uniform(0, 0.1 * whole.seconds))
        self.note("aims", aim)
        self.note("after_s", round(time.monotonic() - began, 2))
        self.note("during", last_line(self.log))
        ran = running.status is None
        running.send(number)
        self.end(running)
        self.note("met", ran and (number != signal.SIGKILL or running.status == -number))
        return running

    def note(self, name: str, value: Any) -> None:
        """Adds a value to those of that name in the trial's line."""
        self.seen.setdefault(name, []).append(value)

    def end(self, running: Program) -> None:
        """Waits for the end of a program and of all that it has started."""
        if not running.wait(PATIENCE):
            self.seen["hung"] = True
            running.send(signal.SIGKILL)
            running.wait(60)
        self.note("statuses", running.status)
        self.orphans += running.orphans()

    def finish(self, whole: Whole, *more: str) -> dict[str, Any]:
        """Goes on to the end and compares it with that of the undisturbed run."""
        running = self.start(*more)
        self.end(running)
        found = results(self.program, self.place)
        text = _text(self.log)
        ok = running.status == 0 and found == whole.results
        traceback = "Traceback" in text
        return {
            "program": self.program, **self.seen, "equal": found == whole.results,
            "traceback": traceback, "orphans": self.orphans,
            "survived": ok and not traceback and not self.orphans and "hung" not in self.seen,
        }  # fmt: skip


def results(program: str, place: Path) -> dict[str, bytes]:
    """What a program is to leave: the model and its test, or the prepared records."""
    if program == "prepare":
        return {path.name: path.read_bytes() for path in place.rglob("[!.]*.array_record")}
    run = place / "runs/run"
    with contextlib.suppress(OSError, ValueError):
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        for name in ("seconds", "train_seconds", "folder"):
            summary.pop(name)
        model = (run / "model.safetensors").read_bytes()
        return {"model": model, "summary": json.dumps(summary).encode()}
    return {}


def _entries(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _size(log: Path) -> int:
    return len(_text(log))


def last_line(log: Path) -> str:
    lines = _text(log).split("\n")
    return next((line[:70] for line in reversed(lines) if line.strip()), "the start")
