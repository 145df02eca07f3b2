"""Interleaved timing, and the JSON line that each case prints.

All sides of a case take turns in one process, round after round, so that whatever else the machine
does falls on all of them alike; medians and ratios are reported, never a single run.

On a machine that others use, threads that wait for one another (OpenMP in PyTorch) lose much more
than a pool that hands out work (XLA), and two-thread ratios flatter us. There a single core and the
processor's time instead of the clock's are the fair measure: `one_core()`.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

Sides = Mapping[str, Callable[[], Any]]


def one_core() -> Callable[[], float]:
    """Keeps this process on one core and returns the clock of its processor time.

    To be called before any library has made its threads.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return time.process_time


def interleaved(
    sides: Sides, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Times each side once a round, after one call that is not counted.

    Args:
        sides: Calls that return when their work is done.
        rounds: How often each is timed.
        clock: Gives seconds; processor time on one core, wall-clock time otherwise.

    Returns:
        Seconds of each side, one a round.
    """
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = clock()
            side()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], theirs: str, ours: str) -> float:
    """Median over the rounds of their time divided by ours in the same round."""
    pairs = zip(seconds[theirs], seconds[ours], strict=True)
    return statistics.median(their / our for their, our in pairs)


def report(case: str, seconds: Mapping[str, list[float]], **facts: Any) -> None:
    """Prints one JSON line: the median seconds of each side and the given fields."""
    medians = {name: round(statistics.median(times), 4) for name, times in seconds.items()}
    facts = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in facts.items()
    }
    rounds = len(next(iter(seconds.values())))
    print(json.dumps({"case": case, "seconds": medians, **facts, "rounds": rounds}), flush=True)


def report_machine() -> None:
    """Prints one JSON line about the machine, the versions and what else runs on it."""
    import jax
    import torch

    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            models = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = models[0] if models else model
    facts = {
        "date": date.today().isoformat(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "jax": jax.__version__,
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
    }
    print(json.dumps({"machine": facts}), flush=True)
