"""A long step on a CPU waits for the memory of the one before; a short one does not."""

import subprocess
import sys

import pytest

from train.engine.turns import in_turns

PEAK = """
import resource
import jax, jax.numpy as jnp
from prernn_jax.processes import keep_freed_memory
from train.engine.turns import in_turns

def loss(w, x):
    for _ in range(16):  # whose 16 results of 38 MB the backward pass needs
        x = jnp.tanh(x @ w)
    return x.mean()

def step(w, x):
    return w - 0.1 * jax.grad(loss)(w, x), loss(w, x)

keep_freed_memory()
w, x = jnp.eye(64) / 2, jnp.ones((150_000, 64))
take = in_turns(jax.jit(step))
for number in range(20):
    w, _ = jax.block_until_ready(take(w, x))
    if number == 0:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.skipif(sys.platform != "linux", reason="freed memory is kept on Linux only")
def test_the_process_does_not_grow_by_a_second_temporary_memory():
    found = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True
    ).stdout.split()
    first, last = map(int, found)  # KiB
    assert first > 600_000
    assert last - first < 150_000


class Value:
    """A result that counts how often it is waited for."""

    waited = 0

    def block_until_ready(self):
        self.waited += 1
        return self


def test_a_short_step_is_not_waited_for():
    result = Value()
    taken = in_turns(lambda state, batch: (state + batch, result))
    assert [taken(number, 1)[0] for number in range(5)] == [1, 2, 3, 4, 5]
    assert result.waited == 2  # by the step that compiles, and by the one that is timed
