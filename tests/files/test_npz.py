"""Files of named arrays: whole, or an error that the callers know."""

import numpy as np
import pytest

from prernn_jax.files.npz import NPZ_FAULTS, fault_of, read_npz


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "x.npz", numbers=np.arange(100), name=np.array("n"))
    return tmp_path / "x.npz"


def test_it_reads_all_arrays(path):
    found = read_npz(path, largest=10_000)
    assert found.keys() == {"numbers", "name"}
    np.testing.assert_array_equal(found["numbers"], np.arange(100))


def test_a_shape_that_leaves_rows_unread_is_noticed(path):
    """numpy reads as many rows as the header says, and stops before the checksum."""
    content = path.read_bytes()
    assert content.count(b"(100,)") == 1
    path.write_bytes(content.replace(b"(100,)", b"(99,) "))
    with pytest.raises(NPZ_FAULTS, match="checksum"):
        read_npz(path)


def test_too_many_bytes_and_pickles_are_refused(path, tmp_path):
    with pytest.raises(ValueError, match="unpacked it has"):
        read_npz(path, largest=100)
    np.savez(tmp_path / "p.npz", objects=np.array([{}], object))
    with pytest.raises(NPZ_FAULTS, match="allow_pickle"):
        read_npz(tmp_path / "p.npz")


def test_a_fault_is_one_short_line_whatever_the_file_holds():
    found = fault_of(ValueError("a\nb\x1b" + "9" * 5000))
    assert found == "ValueError: a b?" + "9" * 196
