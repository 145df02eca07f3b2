"""Progress of a long preparation: a bar in a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

EVERY = 5.0
"""Seconds between two lines."""


def with_progress(
    results: Iterable[T], total: int, what: str, *, before: int = 0, unit: str = "videos"
) -> Iterator[T]:
    """Hands results on and shows on stderr how many there are.

    Args:
        results: The results, as they come.
        total: Their number in the end, including the earlier ones.
        what: The name of the work.
        before: The number of results of an earlier call.
        unit: What is counted.
    """
    console = Console(stderr=True, highlight=False)
    shown = _with_bar if console.is_terminal else _with_lines
    yield from shown(results, total, what, before, unit, console)


def _with_bar(
    results: Iterable[T], total: int, what: str, before: int, unit: str, console: Console
) -> Iterator[T]:
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=console,
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task(what, total=total, completed=before)
        for result in results:
            yield result
            bar.advance(task)


def _with_lines(
    results: Iterable[T], total: int, what: str, before: int, unit: str, _: Console
) -> Iterator[T]:
    start, shown = time.monotonic(), 0.0
    for number, result in enumerate(results, start=before + 1):
        yield result
        now = time.monotonic()
        if now - shown > EVERY or number == total:
            shown, rate = now, (number - before) / max(now - start, 1e-9)
            left = (total - number) / rate / 60.0
            line = f"{what}: {number} of {total} {unit}, {rate:.1f}/s, {left:.0f} min left"
            print(line, file=sys.stderr, flush=True)
