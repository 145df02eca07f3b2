"""Landmark files: real ones, odd ones, and what is wrong with others."""

from pathlib import Path

import numpy as np
import pytest
from moved_face import write_pts

from prernn_jax.data.face.vw300 import read_pts
from prernn_jax.errors import InputError


def test_a_real_file_counts_from_one_and_we_from_zero(shared_data):
    landmarks = read_pts(shared_data / "300vw/001/annot/000006.pts")
    assert landmarks.shape == (68, 2)
    assert landmarks.dtype == np.float32
    np.testing.assert_allclose(landmarks[0], [742.224, 196.764], atol=1e-3)
    assert read_pts(shared_data / "300vw/401/annot/000731.pts").shape == (68, 2)
    assert read_pts(shared_data / "faces/breakingbad.pts").shape == (68, 2)


def test_what_is_written_is_read_again(tmp_path):
    landmarks = np.random.default_rng(0).normal(100, 50, (68, 2)).astype(np.float32)
    write_pts(tmp_path / "a" / "1.pts", landmarks)
    np.testing.assert_allclose(read_pts(tmp_path / "a" / "1.pts"), landmarks, atol=6e-4)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["1.pts"]


def test_blanks_and_line_ends_do_not_matter(tmp_path):
    path = tmp_path / "odd.pts"
    path.write_bytes(b"version:  1.0\r\n n_points: 2 \r\n\r\n{ 1  2\r\n\r\n  3.5\t4 \r\n} \r\n")
    np.testing.assert_array_equal(read_pts(path, points=2), [[0, 1], [2.5, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\n{\n1 2\n3 4\n5 6\n}\n", r"bad\.pts line 2: 6 numbers .* expected 4"),
        ("version: 1\n{\n1 2\n}\n", r"line 2: 2 numbers"),
        ("version: 1\n{\n1 2\n3 nan\n}\n", r"bad\.pts line 4: 'nan' is not a finite number"),
        ("version: 1\n{\n1 2\n3 inf\n}\n", r"line 4: 'inf' is not"),
        ("version: 1\n{\n1 2\n3,4\n}\n", r"line 4: '3,4' is not"),
        ("version: 1\n{\n1 2\n3 4\n", "no landmark file: expected points between"),
        ("", "no landmark file"),
    ],
)
def test_faulty_files_are_named_with_their_line(tmp_path: Path, text, message):
    path = tmp_path / "bad.pts"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pts(path, points=2)
    with pytest.raises(InputError, match="no landmark file"):
        read_pts(tmp_path / "absent.pts")
