"""Preparation by the direct runner of Apache Beam: the same files, also after a kill."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import status_of
from test_prepared_files import make_ucf101

from prernn_jax.data.prepare import main

ROOT = Path(__file__).resolve().parents[3]
DIRECT = ["--runner=direct", "--workers=2"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Seven videos, one of which is damaged."""
    folder = make_ucf101(tmp_path_factory.mktemp("beam") / "ucf101", 6)
    (folder / "UCF-101" / "Noise" / "v_Noise_g01_c03.avi").write_bytes(b"RIFF nothing")
    return folder


def flags(source, cache, *more):
    return ["ucf101", f"--source={source}", f"--cache_dir={cache}", *more]


def records(cache):
    return {path.name: path.read_bytes() for path in Path(cache).rglob("*.array_record")}


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """What processes of one machine make."""
    cache = tmp_path_factory.mktemp("whole")
    assert status_of(main, flags(source, cache, "--workers=1")) == 1
    return records(cache)


@pytest.mark.nightly
def test_the_direct_runner_makes_the_same_files(source, whole, tmp_path, capsys):
    pytest.importorskip("apache_beam")
    assert status_of(main, flags(source, tmp_path, *DIRECT)) == 1
    assert records(tmp_path) == whole
    assert len(whole) == 6
    assert "Noise/v_Noise_g01_c03: cannot be decoded" in capsys.readouterr().out
    assert status_of(main, flags(source, tmp_path, *DIRECT, "--allow_missing")) == 0


@pytest.mark.nightly
def test_a_killed_pipeline_goes_on_and_leaves_no_process(source, whole, tmp_path):
    pytest.importorskip("apache_beam")
    command = [sys.executable, "-m", "prernn_jax.data.prepare", *flags(source, tmp_path, *DIRECT)]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=log)
        limit = time.monotonic() + 240
        while not records(tmp_path):
            assert running.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        running.kill()
        running.wait()
    assert running.returncode == -signal.SIGKILL
    limit = time.monotonic() + 60
    while alive := _session(running.pid):
        assert time.monotonic() < limit, alive
        time.sleep(0.2)
    assert 0 < len(records(tmp_path)) < len(whole)
    assert status_of(main, flags(source, tmp_path, *DIRECT)) == 1
    assert records(tmp_path) == whole


def _session(leader):
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--runner=direct", "--shard=0/2"], "--runner shares the videos out itself"),
        (["--beam_options=--x"], "--beam_options belongs to --runner"),
    ],
)
def test_flags_that_do_not_go_together(tmp_path, capsys, more, message):
    assert status_of(main, flags(tmp_path, tmp_path, *more)) == 2
    assert message in capsys.readouterr().err


def test_without_beam_it_is_one_line(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert status_of(main, flags(source, tmp_path, "--runner=direct")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --runner needs Apache Beam: pip install 'prernn-jax[beam]'")
    assert error.count("\n") == 1
