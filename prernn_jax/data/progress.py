"""Telling the person who waits how far a long piece of work is."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

EVERY = 5.0
"""Seconds from one line to the next."""


def with_progress(results: Iterable[T], total: int, what: str, before: int = 0) -> Iterator[T]:
    """Hand results on, and print how many there are, how fast they come and the time left.

    Args:
      results: as they come.
      total: how many there will be in the end, those of earlier included.
      what: is going on, for the line that is printed.
      before: how many there were already.
    """
    start, shown = time.monotonic(), 0.0
    for number, result in enumerate(results, start=1):
        yield result
        now = time.monotonic()
        if now - shown > EVERY or before + number == total:
            shown, rate = now, number / max(now - start, 1e-9)
            left = (total - before - number) / rate / 60.0
            text = f"{before + number} of {total} videos, {rate:.1f}/s, {left:.0f} min left"
            print(f"{what}: {text}", file=sys.stderr, flush=True)
