"""Runs side by side: none done twice, a failed one told, an interrupted one gone on with."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prernn_jax.errors import InputError
from train.engine.optim import Schedule
from train.face.config import FaceConfig
from train.tables.jobs import Job, finished, run_all, stage_one

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def tiny(folder):
    """A short training of faces, and its stage one."""
    preset = FaceConfig()
    return replace(
        preset,
        workdir=folder / "runs",
        cache_dir=folder / "data",
        embedded=replace(
            preset.embedded, size=24, frames=5, train=16, validation=6, test=8, static_train=64,
            static_validation=16,
        ),
        pretraining=replace(preset.pretraining, epochs=1, batch_size=16),
        size=24, steps=4, epochs=2, batch_size=8, cell="vrnn", validate_every=0, film=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    config = tiny(tmp_path_factory.mktemp("jobs"))
    return replace(config, weights=stage_one(config))


def test_runs_side_by_side_are_done_once(base):
    jobs = [Job(replace(base, seed=seed, name=f"seed{seed}")) for seed in (1, 2)]
    diverging = Job(replace(base, schedule=Schedule(1e30), clip_norm=None, name="diverging"))
    told = []
    outcomes = run_all([*jobs, diverging], 2, lambda count, job, _: told.append((count, job)))
    assert [count for count, _ in told] == [1, 2, 3]
    assert {job for _, job in told} == {*jobs, diverging}
    assert outcomes[diverging].summary is None
    assert "gradient norm" in outcomes[diverging].failure
    for job in jobs:
        assert outcomes[job].summary == json.loads((job.folder / "summary.json").read_text())
        assert (job.folder / "model.safetensors").is_file()
        assert "test: loss" in (base.workdir / "logs" / f"{job.config.name}.log").read_text()
    assert outcomes[jobs[0]].summary["loss"] != outcomes[jobs[1]].summary["loss"]

    written = (jobs[0].folder / "summary.json").stat().st_mtime_ns
    told.clear()
    again = run_all(jobs, 2, lambda *found: told.append(found))
    assert not told
    assert again[jobs[0]].summary == outcomes[jobs[0]].summary
    assert (jobs[0].folder / "summary.json").stat().st_mtime_ns == written
    other = Job(replace(jobs[0].config, momentum=0.5))
    assert finished(other) is None  # another configuration under the same name is another run


def test_what_no_run_can_have_ends_the_grid(base):
    job = Job(replace(base, layers=("fc9",), name="faulty"))
    with pytest.raises(InputError, match="fc9"):
        run_all([job], 1, lambda *_: None)


@contextlib.contextmanager
def running(program, jobs):
    """A grid in a process of its own, ended by SIGTERM behind the block."""
    command = [sys.executable, str(program), str(jobs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()


def wait_for(condition, process):
    until = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.2)


def test_an_interrupted_grid_goes_on(base, tmp_path):
    job = Job(replace(base, epochs=20000, checkpoint_every=20000, name="long"))
    program, jobs = tmp_path / "grid.py", tmp_path / "jobs.pickle"
    program.write_text(
        "import pickle, sys\n"
        "from train.tables.jobs import run_all\n"
        "if __name__ == '__main__':\n"
        "    run_all(pickle.load(open(sys.argv[1], 'rb')), 1, lambda *_: None)\n"
    )
    jobs.write_bytes(pickle.dumps([job]))
    log = job.folder / "metrics.jsonl"
    with running(program, jobs) as process:
        wait_for(lambda: log.is_file() and len(log.read_text().splitlines()) > 3, process)
    assert process.returncode != 0
    kept = (path for path in (job.folder / "checkpoints").iterdir() if path.is_dir())
    (stopped,) = (int(path.name) for path in kept)
    assert 0 < stopped < 40000
    assert json.loads(log.read_text().splitlines()[-1])["step"] == stopped
    # The same command goes on from there.
    output = base.workdir / "logs" / "long.log"
    with running(program, jobs) as process:
        wait_for(lambda: f"resumed at step {stopped}" in output.read_text(), process)
