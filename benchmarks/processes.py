"""Sides of a benchmark that each have a process of their own, and take turns.

In one process the sides would share a heap and have each other's idle threads spin beside them;
whose blocks and threads are in whose way is then chance.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

Make = Callable[..., Callable[[], float]]


class Timed(NamedTuple):
    """Seconds of each side, one a round, and what each side's last call returned."""

    seconds: dict[str, list[float]]
    last: dict[str, float]


def interleaved_processes(sides: Mapping[str, tuple[Make, tuple[Any, ...]]], rounds: int) -> Timed:
    """Times each side once a round; only one works at a time.

    A turn begins with a call that is not counted, as a step in training follows another: while a
    process waits for its turn, its memory leaves the caches, and some systems take it away.

    Args:
        sides: A function of a module's top level that makes the call to be timed, and its
            arguments; both are sent to the process.
        rounds: How often each is timed.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name, (make, arguments) in sides.items():
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=_work, args=(theirs, make, arguments), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes[name].recv()  # made, before the next one begins
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    last = {}
    for turn in range(1 + rounds):  # the first turn compiles
        for name, pipe in pipes.items():
            pipe.send(True)
            took, last[name] = pipe.recv()
            if turn > 0:
                seconds[name].append(took)
    for pipe in pipes.values():
        pipe.send(False)
    for process in processes:
        process.join()
    return Timed(seconds, last)


def _work(pipe: Connection, make: Make, arguments: tuple[Any, ...]) -> None:
    call = make(*arguments)
    pipe.send(True)
    while pipe.recv():
        call()
        start = time.perf_counter()
        value = call()
        pipe.send((time.perf_counter() - start, value))
