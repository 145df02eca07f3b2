"""Processes that train together also end together, with one line each and no traceback."""

import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Any

import jax

from prernn_jax.errors import InputError, RunStopped

from . import processes

_POLL_SECONDS = 0.5
_BEAT_SECONDS = 5.0
_LOST_SECONDS = 60.0  # without a beat: less than JAX's own limit, which ends in a trace of C++
_GRACE_SECONDS = 2.0  # for a process that may be about to say the same itself
_FAREWELL_SECONDS = 5.0  # for which process 0 keeps the store for the others
_RESUME = "what is saved stays; start all processes again with --resume"
_FIRST_IS_GONE = f"process 0 has ended without a word; {_RESUME}"


@contextmanager
def together(place: processes.Place | None) -> Iterator[None]:
    """Joins the other processes for the time of the block; does nothing without a place.

    In the block process 0 alone prints. An error, a signal or the loss of a process ends all of
    them: each says why on one line and leaves with a status that is not 0, without waiting for the
    others at exit.

    Args:
        place: Where this process stands, or None for a process on its own.
    """
    if place is None:
        yield
        return
    _speak_at_an_abort(f"error: {processes.not_found(place)}", 2)
    processes.connect(place)
    if processes.count() == 1:
        yield
        return
    _speak_at_an_abort(f"stopped: {_FIRST_IS_GONE}", 1)
    watch = _Watch()
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            redirect_stdout(sys.stdout if processes.is_first() else nowhere),
        ):
            yield
    except BaseException as error:
        watch.end(*_described(error, watch))
    watch.close()
    signal.signal(signal.SIGTERM, before)
    jax.distributed.shutdown()


def _terminated(number: int, _: FrameType | None) -> None:
    # Outside of a training loop: the loop notes signals itself.
    raise RunStopped(
        "SIGTERM: nothing is left half-written; the same command goes on", 128 + number
    )


def _described(error: BaseException, watch: "_Watch") -> tuple[str, int]:
    """The line for the person and the exit status, as `prernn_jax.command` has them."""
    if isinstance(error, InputError):
        return f"error: {error}", 2
    if isinstance(error, RunStopped):
        return f"stopped: {error}", error.status
    if isinstance(error, KeyboardInterrupt):
        return "stopped: nothing is left half-written; the same command goes on", 130
    if isinstance(error, SystemExit):
        return f"stopped: {error}", error.code if isinstance(error.code, int) else 1
    # jaxlib gives some failures of Gloo as a ValueError.
    failed = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)
    if failed and watch.another_is_gone(str(error)):
        time.sleep(_GRACE_SECONDS)  # the watching thread speaks, if it was told why
        reason = str(error).strip().splitlines()[0][:150]
        return f"stopped: another process has ended without a word ({reason}); {_RESUME}", 1
    traceback.print_exception(error)
    return f"stopped: {type(error).__name__}: {str(error).strip()[:200]}", 1


_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
_handlers: list[Any] = []


def _speak_at_an_abort(line: str, status: int) -> None:
    """Says a line and leaves when JAX's client aborts, which Python's own handlers do not see.

    It aborts from C++, with a trace that comes before the line: when it cannot reach process 0.
    """

    @_Handler
    def aborted(_: int) -> None:
        os.write(2, f"{line}\n".encode())
        os._exit(status)

    _handlers.append(aborted)  # the C library keeps no reference
    if os.name == "posix":
        library = ctypes.CDLL(None)
        library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        library.signal.restype = ctypes.c_void_p
        library.signal(signal.SIGABRT, ctypes.cast(aborted, ctypes.c_void_p))


class _Watch:
    """A thread that learns how the other processes fare.

    Every process writes a beat into the store that process 0 keeps. Process 0 looks for beats that
    stopped; the others notice the end of process 0 by the store itself.
    """

    def __init__(self) -> None:
        self._spoken = threading.Lock()  # taken once and for all by whoever speaks
        self._over = threading.Event()
        self._beats: dict[int, tuple[str, float]] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops looking: all goes to its end."""
        self._over.set()
        self._thread.join()

    def another_is_gone(self, message: str) -> bool:
        """Whether a failed computation speaks of a connection and not of the computation."""
        words = ("gloo", "connection", "socket", "nccl", "coordination", "unavailable", "peer")
        return any(word in message.lower() for word in words)

    def end(self, line: str, status: int) -> None:
        """Says a line, tells the other processes, and leaves."""
        self._spoken.acquire()  # never given back; the thread that speaks first also leaves
        print(line, file=sys.stderr, flush=True)
        sys.stdout.flush()
        mine, first = processes.number(), processes.is_first()
        try:
            told = json.dumps({"line": line, "status": status})
            processes.store().key_value_set(f"prernn/ended/{mine}", told, allow_overwrite=True)
            limit = time.monotonic() + _FAREWELL_SECONDS
            # The store ends with process 0: the others must have read it.
            while first and time.monotonic() < limit and len(_ended()) < processes.count():
                time.sleep(_POLL_SECONDS)
        except jax.errors.JaxRuntimeError:
            pass  # process 0 is gone
        # Not sys.exit: JAX would wait at exit for processes that never come.
        os._exit(status)

    def _run(self) -> None:
        beat, last = 0, 0.0
        while not self._over.wait(_POLL_SECONDS):
            try:
                if time.monotonic() - last > _BEAT_SECONDS:
                    beat, last = beat + 1, time.monotonic()
                    key = f"prernn/beat/{processes.number()}"
                    processes.store().key_value_set(key, str(beat), allow_overwrite=True)
                    if processes.is_first():
                        self._look_for_the_lost()
                ended = _ended()
            except jax.errors.JaxRuntimeError:
                if not self._over.is_set():
                    self._say_later(_FIRST_IS_GONE, 1)
                return
            ended.pop(processes.number(), None)
            if ended:
                number, (line, status) = min(ended.items())
                self._say_later(f"process {number} has ended ({line})", status)
                return

    def _look_for_the_lost(self) -> None:
        now = time.monotonic()
        for key, beat in processes.store().key_value_dir_get("prernn/beat/"):
            number = int(key.rpartition("/")[2])
            if self._beats.get(number, ("", 0.0))[0] != beat:
                self._beats[number] = beat, now
        for number, (_, seen) in self._beats.items():
            if now - seen > _LOST_SECONDS:
                self._say_later(
                    f"process {number} has not been heard of for {_LOST_SECONDS:.0f} s; {_RESUME}",
                    1,
                )

    def _say_later(self, what: str, status: int) -> None:
        if not self._over.wait(_GRACE_SECONDS / 2):
            self.end(f"stopped: {what}", status)


def _ended() -> dict[int, tuple[str, int]]:
    """How each process that is over has ended: its line and status, by its number."""
    found = {}
    for key, value in processes.store().key_value_dir_get("prernn/ended/"):
        told = json.loads(value)
        found[int(key.rpartition("/")[2])] = told["line"], told["status"]
    return found
