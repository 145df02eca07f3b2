"""Sides of a benchmark that each have a process of their own, and take turns.

In one process the sides would share a heap and have each other's idle threads spin beside them;
whose blocks and threads are in whose way is then chance.
"""

import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks.timing import one_core

Make = Callable[..., Callable[[], float]]


class Timed(NamedTuple):
    """What was measured of each side.

    Attributes:
        seconds: How long its calls took, one number a round.
        first: Seconds of its first call, with whatever is compiled there.
        peak: Largest size of its process in bytes, compiling included.
        last: What its last call returned.
    """

    seconds: dict[str, list[float]]
    first: dict[str, float]
    peak: dict[str, int]
    last: dict[str, float]


def interleaved_processes(
    sides: Mapping[str, tuple[Make, tuple[Any, ...]]], rounds: int, single: bool = False
) -> Timed:
    """Times each side once a round; only one works at a time.

    A turn begins with a call that is not counted, as a step in training follows another: while a
    process waits for its turn, its memory leaves the caches, and some systems take it away.

    Args:
        sides: A function of a module's top level that makes the call to be timed, and its
            arguments; both are sent to the process.
        rounds: How often each is timed.
        single: One core for each process, and the processor's time instead of the clock's.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name, (make, arguments) in sides.items():
        pipes[name], theirs = context.Pipe()
        processes.append(
            context.Process(target=_work, args=(theirs, make, arguments, single), daemon=True)
        )
        processes[-1].start()
        theirs.close()
        pipes[name].recv()  # made, before the next one begins
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    first, peak, last = {}, {}, {}
    for turn in range(1 + rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            took, peak[name], last[name] = pipe.recv()
            if turn == 0:  # it compiles
                first[name] = took
            else:
                seconds[name].append(took)
    for pipe in pipes.values():
        pipe.send(False)
    for process in processes:
        process.join()
    return Timed(seconds, first, peak, last)


def _work(pipe: Connection, make: Make, arguments: tuple[Any, ...], single: bool) -> None:
    clock = one_core() if single else time.perf_counter
    call = make(*arguments)
    pipe.send(True)
    first = True
    while pipe.recv():
        if not first:
            call()
        first = False
        start = clock()
        value = call()
        took = clock() - start
        pipe.send((took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, value))
