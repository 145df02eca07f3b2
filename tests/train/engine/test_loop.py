"""The loop: exact resume after a kill, signals, a loss that is not finite, a full disk."""

import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_task import BATCH, make_batch, make_model, start

from prernn_jax.errors import InputError, RunStopped
from train.engine.checkpoint import Checkpoints
from train.engine.devices import make_mesh, parallel_train_step, replicate
from train.engine.log import MetricsLog
from train.engine.loop import Plan, fit

PER_EPOCH = 2


class Batches:
    """A loader of two batches an epoch; `act` may do something before a batch."""

    batches_per_epoch = PER_EPOCH

    def __init__(self, act=lambda number: None, spoil=None):
        self.number, self.act, self.spoil = 0, act, spoil

    def __next__(self):
        self.act(self.number)
        batch = make_batch(self.number)
        if self.number == self.spoil:
            batch["labels"] = np.full_like(batch["labels"], 99)  # no such class: NaN
        self.number += 1
        return batch

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


@pytest.fixture(scope="module")
def training():
    """A compiled step with dropout, and a way to its first state."""
    model = make_model(dropout=0.3)
    _, step, state = start(model)
    mesh = make_mesh(1, BATCH)
    begin = jax.device_get(state)
    return parallel_train_step(step, mesh), lambda: replicate(begin, mesh), mesh


def acting(step, act):
    """The step, before which something happens; a loader is ahead of it."""

    def run(state, batch):
        act(int(state.step))
        return step(state, batch)

    return run


def plan(epochs):
    return Plan("tiny", epochs=epochs, batch_size=BATCH, rate=lambda state, epoch: 0.05)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


@pytest.mark.slow
def test_four_steps_are_two_a_kill_and_two(training, tmp_path):
    step, first, mesh = training
    whole = fit(first(), step, Batches(), mesh, plan(2))

    checkpoints, log = Checkpoints(tmp_path / "c"), MetricsLog(tmp_path)

    def die(number):
        if number == 3:  # within the second epoch, behind a checkpoint and a log
            raise KeyError

    with pytest.raises(KeyError):
        fit(first(), step, Batches(die), mesh, plan(2), log, checkpoints)
    log.close()
    checkpoints.close()

    again = Checkpoints(tmp_path / "c")
    assert again.latest == 2
    state, position = again.restore(first())
    batches = Batches()
    batches.set_state(position)
    log = MetricsLog(tmp_path, int(state.step))
    resumed = fit(state, step, batches, mesh, plan(2), log, again)
    again.close()
    same(whole, resumed)
    assert [line["step"] for line in log.read("train")] == [2, 4]
    log.close()


def test_the_loss_of_an_epoch_counts_the_steps_before_a_resume(training, tmp_path, capsys):
    """An epoch whose steps all have the loss 1 has the loss 1, however it was interrupted."""
    _, first, mesh = training

    def step(state, batch):
        return state._replace(step=state.step + 1), {
            "loss": jnp.ones(()),
            "grad_norm": jnp.ones(()),
        }

    def kill(number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    checkpoints, log = Checkpoints(tmp_path / "c"), MetricsLog(tmp_path)
    with pytest.raises(RunStopped, match="step 3 is saved"):
        fit(first(), acting(step, kill), Batches(), mesh, plan(2), log, checkpoints)
    log.close()
    state, position = checkpoints.restore(first())
    batches = Batches()
    batches.set_state(position)
    log = MetricsLog(tmp_path, int(state.step))
    capsys.readouterr()
    fit(state, step, batches, mesh, plan(2), log, checkpoints)
    log.close()
    checkpoints.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny: 2 epochs of 2 steps"
    assert lines[1].startswith("epoch 2/2  loss 1.0000  0 s left")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(training, tmp_path, number):
    step, first, mesh = training
    whole = fit(first(), step, Batches(), mesh, plan(2))
    checkpoints = Checkpoints(tmp_path)
    before = signal.getsignal(number)

    def kill(done):
        if done == 2:
            os.kill(os.getpid(), number)

    with pytest.raises(RunStopped, match=f"{number.name}: step 3 is saved") as stopped:
        fit(first(), acting(step, kill), Batches(), mesh, plan(2), None, checkpoints)
    assert stopped.value.status == 128 + number
    assert signal.getsignal(number) is before

    state, position = checkpoints.restore(first())
    batches = Batches()
    batches.set_state(position)
    same(whole, fit(state, step, batches, mesh, plan(2), None, checkpoints))
    checkpoints.close()


def test_a_loss_that_is_not_finite_stops_and_the_last_good_checkpoint_stays(training, tmp_path):
    step, first, mesh = training
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(RunStopped, match=r"loss nan .* at step 4.*step 2 is kept") as stopped:
        fit(first(), step, Batches(spoil=3), mesh, plan(3), None, checkpoints)
    assert stopped.value.status == 1
    assert checkpoints.latest == 2
    same(fit(first(), step, Batches(), mesh, plan(1)), checkpoints.restore(first())[0])
    checkpoints.close()


# orbax leaves its event loop behind when a write fails: the collector complains, nobody else.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(training, small_disk):
    step, first, mesh = training
    checkpoints = Checkpoints(small_disk / "c")
    one = fit(first(), step, Batches(), mesh, plan(1), None, checkpoints)

    def fill(number):
        if number == 3:
            with (small_disk / "filler").open("wb") as file:
                file.write(bytes(max(shutil.disk_usage(small_disk).free - 20_000, 0)))

    with pytest.raises(InputError, match=r"could not write.*step 4.*step 2 is intact"):
        fit(first(), acting(step, fill), Batches(), mesh, plan(2), None, checkpoints)
    checkpoints.close()
    (small_disk / "filler").unlink()
    again = Checkpoints(small_disk / "c")
    same(one, again.restore(first())[0])
    again.close()


def test_half_a_line_that_a_kill_left_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = b'{"step": 1, "kind": "train", "loss": 2.0}\n'
    path.write_bytes(whole + b'\xff\x00\n7\n{"step": "x", "kind": 3}\n{"step": 2, "ki')
    log = MetricsLog(tmp_path, 5)
    log.write(6, "train", {"loss": 1.0})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 6]
    log.close()
