"""Progress is a bar in a terminal and lines elsewhere, on stderr alone."""

import os
import pty
import re
import subprocess
import sys

import pytest

from prernn_jax.data.prepared import progress
from prernn_jax.data.prepared.progress import with_progress

CODE = """
from prernn_jax.data.prepared.progress import with_progress
print(sum(with_progress(range(40), 50, "preparing small", before=10)))
"""


def test_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    shown = with_progress(iter("abc"), 5, "preparing small", before=2, unit="clips")
    assert list(shown) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.partition(" clips")[0] for line in lines] == [
        "preparing small: 3 of 5",
        "preparing small: 4 of 5",
        "preparing small: 5 of 5",
    ]


def test_the_last_line_always_comes(capsys):
    assert len(list(with_progress(range(1000), 1000, "drawing train"))) == 1000
    assert len(lines := capsys.readouterr().err.splitlines()) <= 3
    assert lines[-1].startswith("drawing train: 1000 of 1000 videos")


def test_a_fault_in_the_middle_is_passed_on():
    def failing():
        yield 1
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        list(with_progress(failing(), 2, "preparing small"))


def test_a_bar_in_a_terminal():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True,
    )  # fmt: skip
    os.close(theirs)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(ours, 100_000).decode())
    os.close(ours)
    assert process.stdout.decode() == f"{sum(range(40))}\n"
    assert "preparing small" in shown
    assert "50/50 videos" in shown
    assert "━" in shown
    assert max(len(line) for line in shown.split("\r")) < 80
