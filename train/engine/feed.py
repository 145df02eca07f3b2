"""Batches on their way to the devices: read and moved by a thread, two in flight."""

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from jax.sharding import Mesh

from .devices import split
from .step import Batch

IN_FLIGHT = 2  # batches that are read and moved while a step runs


class Loader(Protocol):
    """What gives batches, one after the other."""

    def __next__(self) -> Batch:
        """The next batch, arrays (B, ...)."""
        ...


class Moved(NamedTuple):
    """A batch that has arrived.

    Attributes:
        host: As the loader gave it.
        devices: The same, a share on each device.
        position: The loader's position behind it.
    """

    host: Batch
    devices: Batch
    position: Any


class Feed:
    """Takes batches from a loader in a thread of its own and puts them on the devices.

    The thread is all that touches the loader until the feed is closed. What goes wrong in it is
    raised where the next batch is asked for. A block of `with` closes it.

    Args:
        batches: The loader.
        mesh: The devices.
        count: So many batches and no more; None: until the loader ends.
        position: The loader's position behind the last batch that it gave.
    """

    def __init__(
        self,
        batches: Loader,
        mesh: Mesh,
        count: int | None = None,
        position: Callable[[], Any] = lambda: None,
    ) -> None:
        self._batches, self._mesh, self._count = batches, mesh, count
        self._get_position = position
        self._arrived: queue.SimpleQueue[Moved | BaseException] = queue.SimpleQueue()
        self._room = threading.Semaphore(IN_FLIGHT)
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while self._count is None or self._count > 0:
                self._room.acquire()
                if self._closed:
                    return
                host = next(self._batches)
                devices = split(host, self._mesh)
                self._arrived.put(Moved(host, devices, self._get_position()))
                self._count = None if self._count is None else self._count - 1
            raise StopIteration
        except BaseException as error:  # raised again by `__next__`
            self._arrived.put(error)

    def __iter__(self) -> Iterator[Moved]:
        return self

    def __next__(self) -> Moved:
        found = self._arrived.get()
        if isinstance(found, BaseException):
            self._arrived.put(found)  # for whoever asks again
            raise found
        self._room.release()
        return found

    def close(self) -> None:
        """Ends the thread behind the batch that it reads; what has arrived is dropped."""
        self._closed = True
        self._room.release()
        self._thread.join()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
