"""Disturbs the programs at random moments and looks whether they come to the same end.

    python -m benchmarks.reliability --kinds kill term --trials 10 --out reliability.jsonl

Every trial is a JSON line: what was done to which program and when, whether it then came to the
end of an undisturbed run to the last bit, whether a traceback was printed, and how many processes
were left. A trial is survived if the end is the same, without a traceback and without orphans.
Full and read-only disks are mounted and need the rights for it. docs/reliability.md has figures.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults import PROGRAMS, Program, arguments, prepare_server, small_videos

PATIENCE = 900.0
"""Seconds after which a program counts as hanging."""


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
        """Starts the program and sends it a signal at a random moment, or within a save."""
        running = self.start(*more)
        began = time.monotonic()
        checkpoints = self.place / "runs/run/checkpoints"
        if self.program != "prepare" and self.rng.random() < 0.4:
            count = self.rng.randint(1, 3)
            running.wait_for(lambda: _entries(checkpoints) >= count, PATIENCE)
            time.sleep(self.rng.uniform(0, 0.05))
            self.seen["aim"] = "a save"
        else:
            running.wait(self.rng.uniform(0, 1.1 * whole.seconds))
            self.seen["aim"] = "a moment"
        self.seen.setdefault("after_s", []).append(round(time.monotonic() - began, 2))
        self.seen.setdefault("during", []).append(_last_line(self.log))
        self.seen.setdefault("ended_before", []).append(running.status is not None)
        running.send(number)
        self.end(running)
        return running

    def end(self, running: Program) -> None:
        """Waits for the end of a program and of all that it has started."""
        if not running.wait(PATIENCE):
            self.seen["hung"] = True
            running.send(signal.SIGKILL)
            running.wait(60)
        self.seen.setdefault("statuses", []).append(running.status)
        self.orphans += running.orphans()

    def finish(self, whole: Whole, *more: str) -> dict[str, Any]:
        """Goes on to the end and compares it with that of the undisturbed run."""
        running = self.start(*more)
        self.end(running)
        found = results(self.program, self.place)
        text = self.log.read_text(encoding="utf-8", errors="replace")
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


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line[:70] for line in reversed(lines) if line.strip()), "the start")


def kill(trial: Trial, whole: Whole) -> dict[str, Any]:
    """SIGKILL, and in three of ten trials a second one while the run goes on."""
    trial.disturb(whole, signal.SIGKILL)
    if trial.rng.random() < 0.3:
        trial.disturb(whole, signal.SIGKILL)
    return trial.finish(whole)


def term(trial: Trial, whole: Whole) -> dict[str, Any]:
    """SIGTERM, as a cluster sends it."""
    trial.disturb(whole, signal.SIGTERM)
    return trial.finish(whole)


def interrupt(trial: Trial, whole: Whole) -> dict[str, Any]:
    """Ctrl-C of a program with two worker processes."""
    more = () if trial.program == "prepare" else ("--workers=2",)
    trial.disturb(whole, signal.SIGINT, *more)
    return trial.finish(whole)


def kill_with_workers(trial: Trial, whole: Whole) -> dict[str, Any]:
    """SIGKILL of a program with two worker processes, which must end with it."""
    more = () if trial.program == "prepare" else ("--workers=2",)
    trial.disturb(whole, signal.SIGKILL, *more)
    return trial.finish(whole)


def worker(trial: Trial, whole: Whole) -> dict[str, Any]:
    """SIGKILL of one of the worker processes."""
    more = () if trial.program == "prepare" else ("--workers=2",)
    running = trial.start(*more)
    running.wait_for(lambda: len(running.descendants()) > 2, PATIENCE)
    running.wait(trial.rng.uniform(0, 2))
    others = [pid for pid in running.descendants() if pid != running.pid]
    trial.seen["workers"] = len(others)
    if others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(trial.rng.choice(others), signal.SIGKILL)
    trial.end(running)
    trial.seen["said"] = _last_line(trial.log)
    return trial.finish(whole)


def clock(trial: Trial, whole: Whole) -> dict[str, Any]:
    """The time jumps by years at every look, and the files' times are changed before going on."""
    running = trial.start(clock=True)
    running.wait(trial.rng.uniform(0, whole.seconds))
    running.send(signal.SIGKILL)
    trial.end(running)
    for path in sorted(trial.place.rglob("*")):
        moved = time.time() + trial.rng.uniform(-1, 1) * 10 * 365 * 86_400
        os.utime(path, (moved, moved))
    trial.end(trial.start(clock=True))
    return trial.finish(whole)


def twice(trial: Trial, whole: Whole) -> dict[str, Any]:
    """Two of the same program in one folder at the same time: one of them must refuse."""
    both = [trial.start(), trial.start()]
    for running in both:
        trial.end(running)
    refused = sorted(running.status or 0 for running in both) == [0, 2]
    trial.seen["one_refused"] = refused
    found = trial.finish(whole)
    if trial.program != "prepare":
        found["survived"] = found["survived"] and refused
    return found


def full_disk(trial: Trial, whole: Whole) -> dict[str, Any]:
    """A disk of a random size, too small for most of what is written; later it has room."""
    with _disk(trial.place, trial.rng.randint(20, 2500)) as disk:
        trial.end(trial.start())
        trial.seen["said"] = _last_line(trial.log)
        _mount("remount,size=200m", disk)
        return trial.finish(whole)


def read_only_disk(trial: Trial, whole: Whole) -> dict[str, Any]:
    """A disk that can only be read from some moment on; later it can be written again."""
    with _disk(trial.place, 200_000) as disk:
        running = trial.start()
        running.wait(trial.rng.uniform(0, whole.seconds))
        for _ in range(1000):  # not while a file is open to write
            if _mount("remount,ro", disk):
                trial.seen["read_only"] = True
                break
            time.sleep(0.01)
        trial.end(running)
        trial.seen["said"] = _last_line(trial.log)
        _mount("remount,rw", disk)
        return trial.finish(whole)


def _mount(options: str, disk: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "reliability", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def _disk(disk: Path, kilobytes: int) -> Iterator[Path]:
    disk.mkdir()
    if not _mount(f"size={kilobytes}k", disk):
        raise SystemExit("full_disk and read_only_disk mount a small disk: run them as root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


KINDS: dict[str, Callable[[Trial, Whole], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        kill, term, interrupt, kill_with_workers, worker, clock, twice, full_disk, read_only_disk,
    )
}  # fmt: skip


def trials(
    kinds: Sequence[str], programs: Sequence[str], count: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The results of `count` trials of each kind, the programs in turn."""
    with tempfile.TemporaryDirectory(prefix="prernn-reliability-") as name:
        folder = Path(name)
        prepare_server(folder / "compiled")
        source = small_videos(folder / "ucf101")
        whole: dict[str, Whole] = {}
        for program in dict.fromkeys(programs):
            for place in (folder / f"{program}-first", folder / f"{program}-whole"):
                began = time.monotonic()  # the second finds compiled programs, as all others do
                first = Trial(program, place, source, random.Random(0))
                first.end(first.start())
                whole[program] = Whole(results(program, place), time.monotonic() - began)
            assert whole[program].results, first.log.read_text()
        for kind in kinds:
            for number in range(count):
                program = programs[number % len(programs)]
                rng = random.Random(f"{seed} {kind} {number}")
                place = folder / f"{kind}-{number}"
                began = time.monotonic()
                found = KINDS[kind](Trial(program, place, source, rng), whole[program])
                seconds = round(time.monotonic() - began, 1)
                yield {"kind": kind, "trial": number, **found, "seconds": seconds}
                if found["survived"]:
                    subprocess.run(["rm", "-rf", str(place)], check=True)


def main() -> None:
    """Runs the trials, prints one line each and the counts at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--trials", type=int, default=4, help="of each kind, programs in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file to which the JSON lines are added")
    options = parser.parse_args()
    tried, survived = Counter[str](), Counter[str]()
    for found in trials(options.kinds, options.programs, options.trials, options.seed):
        line = json.dumps(found)
        print(line, flush=True)
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        tried[found["kind"]] += 1
        survived[found["kind"]] += found["survived"]
    for kind in tried:
        print(f"{kind}: {tried[kind]} tried, {survived[kind]} survived")


if __name__ == "__main__":
    main()
