"""The programs in tiny form, as processes that can be disturbed.

The processes are forked from one that has imported everything, so that each starts at once. They
are whole processes: a signal ends one as it ends a program that was started from a shell.
"""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

PROGRAMS = ("action", "face", "gesture", "prepare")

_ACTION = {"train": 32, "validation": 10, "test": 20, "static_train": 64, "static_validation": 16}
_FACE = {"train": 16, "validation": 6, "test": 10, "static_train": 64, "static_validation": 16}
_GESTURE = {"train": 24, "validation": 6, "test": 12, "pose_train": 28, "pose_validation": 14}
_MORE = {
    "action": "--pretraining.rgb_epochs=1 --pretraining.flow_epochs=1 --crop=32 --steps=3 "
    "--batch_size=16",
    "face": "--embedded.size=24 --embedded.frames=7 --pretraining.epochs=1 --size=24 --steps=4 "
    "--pretraining.batch_size=16 --batch_size=8 --cell=vrnn",
    "gesture": "--pretraining.epochs=1 --pretraining.batch_size=14 --batch_size=12",
}


def arguments(program: str, place: Path, source: Path) -> list[str]:
    """The command line of a program in tiny form.

    Args:
        program: One of `PROGRAMS`.
        place: The folder for what it writes.
        source: The folder of small videos, for `prepare`.
    """
    if program == "prepare":
        return ["ucf101", f"--source={source}", f"--cache_dir={place}", "--workers=2"]
    sizes = {"action": _ACTION, "face": _FACE, "gesture": _GESTURE}[program]
    return [
        *(f"--embedded.{name}={size}" for name, size in sizes.items()),
        *_MORE[program].split(),
        *("--epochs=4", "--film=0", "--name=run"),
        f"--workdir={place / 'runs'}",
        f"--cache_dir={place / 'data'}",
    ]


def small_videos(folder: Path, count: int = 12) -> Path:
    """A data set in UCF101's layout: videos of noise, 24 frames each."""
    rng = np.random.default_rng(0)
    lists, names = folder / "ucfTrainTestlist", [f"Noise/v_{k}.avi" for k in range(count)]
    lists.mkdir(parents=True)
    (folder / "UCF-101" / "Noise").mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 Noise\n", encoding="utf-8")
    (lists / "trainlist01.txt").write_text("\n".join(names[1:]), encoding="utf-8")
    (lists / "testlist01.txt").write_text(names[0], encoding="utf-8")
    for name in names:
        code = cv2.VideoWriter.fourcc(*"MJPG")
        writer = cv2.VideoWriter(str(folder / "UCF-101" / name), code, 25, (96, 64))
        for picture in rng.integers(0, 256, (24, 64, 96, 3), np.uint8):
            writer.write(picture)
        writer.release()
    return folder


def prepare_server(cache: Path) -> None:
    """Says what the process imports from which the others are forked; call it first.

    Args:
        cache: Folder for compiled programs, which all of them share.
    """
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    names = [f"train.{name}.__main__" for name in PROGRAMS[:3]]
    names += ["prernn_jax.data.prepare", "benchmarks.faults"]
    multiprocessing.set_forkserver_preload(names)


class Program:
    """A program that runs.

    Args:
        program: One of `PROGRAMS`.
        argv: Its arguments.
        log: File for what it prints; opened to append.
        clock: Let the clock of the process jump back and forth.
    """

    def __init__(self, program: str, argv: Sequence[str], log: Path, clock: bool = False) -> None:
        context = multiprocessing.get_context("forkserver")
        self.log = log
        self._process = context.Process(target=_run, args=(program, list(argv), str(log), clock))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, below 0 for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> bool:
        """Waits for its end, at most `seconds`, and says whether it has ended."""
        self._process.join(max(0.0, seconds))
        return self.status is not None

    def wait_for(self, event: Callable[[], bool], seconds: float) -> None:
        """Waits until something has happened, the program has ended, or the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.status is None and not event():
            time.sleep(0.002)

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, if it still runs; its children get none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def descendants(self) -> list[int]:
        """Processes of its session, which it leads: itself and those that it has started."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def orphans(self, seconds: float = 30.0) -> int:
        """Counts the processes that it left, after waiting for them for at most `seconds`."""
        end = time.monotonic() + seconds
        while (left := self.descendants()) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)


def _run(program: str, argv: list[str], log: str, clock: bool) -> None:
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    if clock:
        _disturb_the_clock()
    from prernn_jax.command import run_command
    from prernn_jax.data.prepare import main as prepare
    from train.applications import APPLICATIONS
    from train.run.application import main

    if program == "prepare":
        run_command(prepare, argv)
    run_command(lambda given: main(APPLICATIONS[program], given), argv)


def _disturb_the_clock() -> None:
    """What Python tells as the time jumps by up to ten years at every call."""
    real, rng = time.time, random.Random(0)
    time.time = lambda: real() + rng.uniform(-1, 1) * 10 * 365 * 86_400
    time.time_ns = lambda: int(time.time() * 1e9)
