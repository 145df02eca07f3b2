"""A training whose disk is full: one line, status 2, no traceback."""

import resource

import pytest
from short_run import in_folder

from prernn_jax.command import run_command
from train.face.__main__ import main

pytestmark = pytest.mark.slow

SIZES = {"train": 16, "validation": 6, "test": 10, "static_train": 64, "static_validation": 16}
SIZES |= {"size": 24, "frames": 7}
SHORT = [f"--embedded.{name}={size}" for name, size in SIZES.items()]
SHORT += ["--pretraining.epochs=1", "--pretraining.batch_size=16", "--size=24", "--steps=4"]
SHORT += ["--epochs=1", "--batch_size=8", "--cell=vrnn", "--layers", "fc6"]


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """The flags of a run whose data and stage one are there already."""
    folder = tmp_path_factory.mktemp("full")
    found = in_folder(SHORT, folder)
    main([*found, "--name=first"])
    return found


@pytest.mark.parametrize("largest", [1_000, 100_000])  # bytes: no configuration; no checkpoint
def test_a_full_disk_ends_in_one_line(flags, largest, capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capfd.readouterr()
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        with pytest.raises(SystemExit) as left:
            run_command(main, [*flags, f"--name=small-{largest}"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capfd.readouterr().err
    assert left.value.code == 2
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
    assert error.startswith("error: ")
