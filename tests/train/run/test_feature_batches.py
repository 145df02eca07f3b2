"""The batches of a frozen trunk: those of two processes together are those of one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import features_program
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def read(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_two_processes_have_the_rows_of_one(tmp_path):
    """Each has a disk of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    program = [sys.executable, features_program.__file__, str(tmp_path), address, "2"]
    paths = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    running = [
        subprocess.Popen([*program, str(n)], cwd=ROOT, env=paths, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    texts = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], texts
    alone = tmp_path / "alone"
    alone.mkdir()
    features_program.main([str(alone), "", "1", "0"])
    for kind in ("frozen", "cached"):
        expected = read(alone / f"{kind}-0.npz")
        assert len(expected) == 5 * 5 + 2 * 6  # batches of training and of the held-out set
        for number in range(2):
            found = read(tmp_path / f"{kind}-{number}.npz")
            assert found.keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, err_msg=name)
                assert found[name].dtype == values.dtype
    for number in range(2):
        assert (tmp_path / f"of-{number}" / "features" / "train.npz").is_file()
