"""Leaving a run in order, also when somebody stops it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class RunStopped(Exception):
    """A run ended before its last step, in order; the message is for the person.

    Args:
      message: What happened and how to go on.
      status: Exit status of the program.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Interrupt:
    """Whether Ctrl-C or SIGTERM came."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C is at once


@contextmanager
def watched_signals() -> Iterator[Interrupt]:
    """Within the block, Ctrl-C and SIGTERM are noted and not acted on."""
    interrupt = Interrupt()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt._note) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
