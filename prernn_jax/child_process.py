"""Processes that work beside the one that started them."""

import multiprocessing
import os
import signal
import threading


def end_with_the_parent() -> None:
    """Lets an interrupt end this process at once, and so the end of its parent.

    For the start of a process made by `multiprocessing`, such as the initializer of a pool.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
