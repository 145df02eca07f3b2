"""The face program in two processes leaves, bit for bit, what it leaves in one."""

import json
from functools import partial

import pytest
import two_processes
from short_run import in_folder
from two_processes import lines_of

pytestmark = pytest.mark.slow

in_one, in_two = (partial(run, "face") for run in (two_processes.in_one, two_processes.in_two))
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
