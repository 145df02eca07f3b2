"""What is freed is kept, and counted."""

import subprocess
import sys

import pytest

FREED = """
import numpy as np
from prernn_jax.processes import free_memory, keep_freed_memory

assert keep_freed_memory()
block = np.ones(1 << 25, np.float32)  # 128 MiB
before = free_memory()
del block
print(free_memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's memory only")
def test_what_is_freed_is_kept_and_counted():
    found = subprocess.run(
        [sys.executable, "-c", FREED], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) >= 1 << 27
