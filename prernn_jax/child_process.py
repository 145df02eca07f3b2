"""Processes that work beside the one that started them."""

import multiprocessing
import os
import signal
import threading
import time


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


def let_an_interrupt_in() -> None:
    """Raises the KeyboardInterrupt that is on its way, if one is.

    Ctrl-C goes to every process of a terminal: that children have died of it may be known before
    this process has noticed it.
    """
    time.sleep(0.2)
