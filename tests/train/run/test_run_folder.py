"""The run folder: lock, resume, earlier runs kept."""

import json
import os
import subprocess
import sys

import pytest

from prernn_jax.errors import InputError
from train.run.folder import RunFolder

CONFIG = {"schedule": {"base": 0.1}, "seed": 0, "cell": "gru", "resume": False, "workdir": "a"}


def make(folder):
    with RunFolder(folder / "run", CONFIG, resume=False) as run:
        run.begin()


def test_a_new_run_keeps_the_earlier_one(tmp_path):
    for number in range(3):
        with RunFolder(tmp_path / "run", {**CONFIG, "seed": number}, resume=False) as folder:
            folder.begin()
            (folder.path / "metrics.jsonl").write_text(f"{number}")
    kept = {path.name: (path / "metrics.jsonl").read_text() for path in tmp_path.glob("run*")}
    assert kept == {"run": "2", "run.previous-1": "0", "run.previous-2": "1"}


def test_resume_with_the_same_configuration(tmp_path):
    make(tmp_path)
    (tmp_path / "run" / "kept").touch()
    with RunFolder(tmp_path / "run", {**CONFIG, "resume": True, "workdir": "b"}, resume=True):
        assert (tmp_path / "run" / "kept").exists()


def test_resume_names_the_fields_that_differ(tmp_path):
    make(tmp_path)
    other = {**CONFIG, "cell": "lstm", "schedule": {"base": 0.2}}
    message = r"cell was 'gru' and is 'lstm'; schedule\.base was 0\.1 and is 0\.2"
    with pytest.raises(InputError, match=message):
        RunFolder(tmp_path / "run", other, resume=True)
    with RunFolder(tmp_path / "run", CONFIG, resume=True):  # the failed try left no lock
        pass


def test_resume_without_a_run(tmp_path):
    with pytest.raises(InputError, match="no run in"):
        RunFolder(tmp_path / "run", CONFIG, resume=True)


def test_a_folder_in_use_by_another_process(tmp_path):
    code = (
        "import sys, pathlib; from train.run.folder import RunFolder;"
        f"run = RunFolder(pathlib.Path({str(tmp_path / 'run')!r}), {CONFIG!r}, resume=False);"
        "print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "open\n"
    with pytest.raises(InputError, match=rf"in use by another run \(process {other.pid}\)"):
        RunFolder(tmp_path / "run", CONFIG, resume=False)
    other.communicate("")
    with RunFolder(tmp_path / "run", CONFIG, resume=False) as run:
        run.begin()
        assert json.loads((tmp_path / "run" / "config.json").read_text()) == CONFIG


def test_no_permission(tmp_path):
    if os.geteuid() == 0:  # root may write anywhere, but not below a file
        (tmp_path / "file").touch()
        folder = tmp_path / "file" / "run"
    else:
        folder = tmp_path / "closed" / "run"
        folder.parent.mkdir(mode=0o500)
    with pytest.raises(InputError, match="choose another --workdir"):
        RunFolder(folder, CONFIG, resume=False)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[1]", b"[" * 100_000])
def test_a_damaged_configuration_is_named(tmp_path, content):
    make(tmp_path)
    (tmp_path / "run" / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json"):
        RunFolder(tmp_path / "run", {**CONFIG, "resume": True}, resume=True)
