"""What a process does beside computing: how it ends, and what memory it keeps."""

import ctypes
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any


def end_with_the_parent(*, interrupted: bool = True) -> None:
    """Ends this process as soon as its parent ends, however that happens.

    It is called at the start of a process made by `multiprocessing`, such as by the initializer of
    a pool.

    Args:
        interrupted: Ctrl-C ends this process too, at once. Otherwise the parent decides: it may
            want to save its state first.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL if interrupted else signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def let_an_interrupt_in() -> None:
    """Raises the KeyboardInterrupt that is on its way, if one is.

    Ctrl-C goes to every process of a terminal: that children have died of it may be known before
    this process has noticed it.
    """
    time.sleep(0.2)


_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Has the C library keep large blocks that are freed instead of giving them back.

    XLA asks for the temporary memory of a step (1.3 GB for a ResNet50 with 8 frames) again each
    time. By default glibc maps such blocks freshly, and the system clears each page again, which
    takes a quarter of VGG16's training step on CPU (docs/performance.md); decoded pictures cost as
    much again. The process keeps its largest size from then on; its peak is the same.

    Returns:
        Whether it could be set: only where the C library is glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    # Threads besides the main one map large blocks of their own, whatever the limits say.
    settings = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))
    return all(mallopt(name, value) == 1 for name, value in settings)


class _Mallinfo2(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    )  # fmt: skip


def free_memory() -> int:
    """Bytes that the C library has kept of what was freed; 0 where it does not tell.

    With `keep_freed_memory` that is all freed memory, else that of small blocks. It takes about a
    tenth of a millisecond.
    """
    mallinfo = _mallinfo2()
    return 0 if mallinfo is None else int(mallinfo().fordblks)


@functools.cache
def _mallinfo2() -> Any:
    if sys.platform != "linux":
        return None
    found = getattr(ctypes.CDLL(None), "mallinfo2", None)  # glibc from 2.33 on
    if found is not None:
        found.restype = _Mallinfo2
    return found
