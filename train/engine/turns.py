"""On a CPU, a long step begins when the one before it has given its memory back."""

import time
from collections.abc import Callable
from typing import Any

import jax

from prernn_jax.processes import free_memory

_LONG = 0.3  # seconds of a step, from which on waiting for its end costs nothing worth naming
_PATIENCE = 0.1  # seconds
_NOTICEABLE = 128 << 20  # bytes


def in_turns(step: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Keeps the temporary memory of two steps from lying side by side.

    XLA frees a step's temporary memory up to 15 ms after its results are there, when the thread
    that does it has to wait for a core. A step that begins before needs the memory a second time,
    and where freed memory is kept (`prernn_jax.processes`), the process stays that large. So a step
    that takes long is waited for, and its memory too. On a GPU the step is given back as it is.

    Args:
        step: Compiled `(state, batch) -> (state, metrics)`.

    Returns:
        The same step.
    """
    if jax.default_backend() != "cpu":
        return step
    long, begun = True, False

    def taken(state: Any, batch: Any) -> tuple[Any, Any]:
        nonlocal long, begun
        if not long:
            return step(state, batch)
        before, start = free_memory(), time.perf_counter()
        result = step(state, batch)
        jax.block_until_ready(result)
        done = time.perf_counter()
        if not begun:  # it compiled: neither its time nor the memory before it says anything
            begun = True
            time.sleep(_PATIENCE)
            return result
        long = done - start > _LONG
        # The loader takes memory meanwhile, so the wait must end without it, and cost little.
        end = done + min(_PATIENCE, (done - start) / 20)
        while before - free_memory() > _NOTICEABLE and time.perf_counter() < end:
            time.sleep(5e-4)
        return result

    return taken
