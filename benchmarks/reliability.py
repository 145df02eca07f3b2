"""Disturbs the programs at random moments and looks whether they come to the same end.

    python -m benchmarks.reliability --kinds kill --met 100 --out reliability.jsonl

Every trial is a JSON line: what was done to which program and when, whether it then came to the
end of an undisturbed run to the last bit, whether a traceback was printed, and how many processes
were left. A trial is survived if the end is the same, without a traceback and without orphans. A
signal counts as met only if the program ran when it came: a killed one must have died of it.
Full and read-only disks are mounted and need the rights for it. docs/reliability.md has figures.
"""

import argparse
import contextlib
import itertools
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
from typing import Any

from benchmarks.faults import PROGRAMS, prepare_server, small_videos
from benchmarks.trial import PATIENCE, Trial, Whole, last_line, results


def kill(trial: Trial, whole: Whole) -> dict[str, Any]:
    """SIGKILL; in two of three trials a second one while the run goes on, and perhaps a third."""
    for _ in range(trial.rng.randint(1, 3)):
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
    trial.seen["said"] = last_line(trial.log)
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
        trial.seen["said"] = last_line(trial.log)
        _mount("remount,size=200m", disk)
        return trial.finish(whole)


def read_only_disk(trial: Trial, whole: Whole) -> dict[str, Any]:
    """A program killed, gone on with on a disk that can only be read, then on one to write.

    A disk cannot be made read-only while a file on it is open to be written, as a run's lock is.
    """
    with _disk(trial.place, 200_000) as disk:
        trial.disturb(whole, signal.SIGKILL)
        trial.note("read_only", _mount("remount,ro", disk))
        trial.end(trial.start())
        trial.seen["said"] = last_line(trial.log)
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
    kinds: Sequence[str], programs: Sequence[str], count: int, met: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The results of `count` trials of each kind, or as many as `met` signals need.

    The programs come in turn.
    """
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
            hits = 0
            for number in itertools.count():
                if hits >= met and number >= count:
                    break
                program = programs[number % len(programs)]
                rng = random.Random(f"{seed} {kind} {number}")
                place = folder / f"{kind}-{number}"
                began = time.monotonic()
                found = KINDS[kind](Trial(program, place, source, rng), whole[program])
                seconds = round(time.monotonic() - began, 1)
                hits += sum(found.get("met", [])) if met else 0
                yield {"kind": kind, "trial": number, **found, "seconds": seconds}
                if found["survived"]:
                    subprocess.run(["rm", "-rf", str(place)], check=True)


def main() -> None:
    """Runs the trials, prints one line each and the counts at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--trials", type=int, default=4, help="of each kind, programs in turn")
    parser.add_argument("--met", type=int, default=0, help="go on until so many signals have met")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file to which the JSON lines are added")
    options = parser.parse_args()
    tried, survived, met = Counter[str](), Counter[str](), Counter[str]()
    given = options.kinds, options.programs, options.trials, options.met, options.seed
    for found in trials(*given):
        line = json.dumps(found)
        print(line, flush=True)
        if options.out is not None:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        tried[found["kind"]] += 1
        survived[found["kind"]] += found["survived"]
        met[found["kind"]] += sum(found.get("met", []))
    for kind in tried:
        print(f"{kind}: {tried[kind]} tried, {survived[kind]} survived; {met[kind]} signals met")


if __name__ == "__main__":
    main()
