"""The face program in two processes leaves, bit for bit, what it leaves in one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from short_run import in_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"train": 16, "validation": 4, "test": 6, "static_train": 64, "static_validation": 16}
SHORT = [f"--embedded.{name}={size}" for name, size in (SIZES | {"size": 24, "frames": 7}).items()]
SHORT += ["--pretraining.epochs=1", "--pretraining.batch_size=16", "--size=24", "--steps=4"]
SHORT += ["--epochs=2", "--batch_size=8", "--cell=vrnn", "--layers", "fc6", "--devices=2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which one process with two devices has made a run under the name `one`."""
    folder = tmp_path_factory.mktemp("hosts")
    in_one(*in_folder(SHORT, folder, "--name=one"))
    return folder


def in_one(*flags):
    """Runs the program in one process with two devices."""
    subprocess.run(
        [sys.executable, "-m", "train.face", *flags],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        check=True,
        timeout=600,
    )


def in_two(*flags, second=()):
    """Runs the program in two processes; `second` are further flags of the second.

    Returns:
        Their exit statuses, and what each has said on stdout and on stderr.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = [
        subprocess.Popen(
            [
                sys.executable, "-m", "train.face", *flags, f"--coordinator=127.0.0.1:{port}",
                "--num_processes=2", f"--process_id={number}", *more,
            ],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, more in enumerate([(), second])
    ]  # fmt: skip
    try:
        texts = [process.communicate(timeout=500) for process in running]
    finally:
        for process in running:
            process.kill()
    return [process.returncode for process in running], texts


def lines_of(run):
    """The lines of the log without what depends on the clock."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [
        {k: v for k, v in x.items() if k not in ("sequences_per_s", "data_wait_s")} for x in lines
    ]


def test_both_stages_the_test_and_the_figures(place):
    other = place / "other"
    flags = in_folder(SHORT, other, "--name=one", f"--cache_dir={place / 'data'}")
    statuses, texts = in_two(*flags, second=["--workers=1"])
    assert statuses == [0, 0], texts
    one, two = place / "runs" / "one", other / "runs" / "one"
    [stage_one] = (place / "runs" / "pretrained").iterdir()
    assert (other / "runs" / "pretrained" / stage_one.name).read_bytes() == stage_one.read_bytes()
    for name in ("model.safetensors", "errors.png"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert lines_of(one) == lines_of(two)
    first, second = (json.loads((run / "summary.json").read_text()) for run in (one, two))
    clock = ("train_seconds", "seconds", "folder")
    assert {k: v for k, v in first.items() if k not in clock} == {
        k: v for k, v in second.items() if k not in clock
    }
    assert "test: loss" in texts[0][0]
    assert "loss" not in texts[1][0]


def test_pmap_gives_the_same_run(place):
    in_one(*in_folder(SHORT, place, "--name=pmap", "--parallel=pmap"))
    one, two = place / "runs" / "one", place / "runs" / "pmap"
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert lines_of(one) == lines_of(two)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--devices=3"], "--devices=3: expected the number of devices of all 2 processes"),
        (["--devices=4"], "--devices=4: process 0 has 1 CPU device(s)"),
        (["--parallel=pmap"], "--parallel=pmap is for the devices of one process"),
    ],
)
def test_bad_flags_are_one_line_and_leave_nothing(tmp_path, flags, message):
    statuses, texts = in_two(*in_folder(SHORT, tmp_path, *flags))
    assert statuses == [2, 2]
    for _, errors in texts:
        assert errors.strip().splitlines()[-1].startswith(f"error: {message}")
        assert "Traceback" not in errors
    assert not (tmp_path / "runs").exists()


def test_processes_with_other_flags_end_together(tmp_path):
    statuses, texts = in_two(*in_folder(SHORT, tmp_path), second=["--seed=5"])
    assert statuses == [2, 2], texts
    message = "process 1 was started with other flags than process 0: --seed=5 (process 0: 0)"
    first, second = (errors.strip().splitlines()[-1] for _, errors in texts)
    assert second.startswith(f"error: {message}")
    assert first.startswith(f"stopped: process 1 has ended (error: {message}")
    assert not (tmp_path / "runs").exists()
