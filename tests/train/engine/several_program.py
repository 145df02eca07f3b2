"""A tiny program that several processes run: it trains, saves, evaluates, and writes what it found.

Usage: several_program.py FOLDER DEVICES EPOCHS PAUSE COORDINATOR PROCESSES NUMBER
"""

import time
from pathlib import Path

import jax
import numpy as np
from tiny_task import BATCH, TASK, make_batch, make_model

from prernn_jax.command import run_command
from train.engine import processes
from train.engine.checkpoint import Checkpoints
from train.engine.devices import make_mesh, set_up
from train.engine.evaluate import evaluate
from train.engine.log import MetricsLog, say
from train.engine.loop import Plan, fit
from train.engine.optim import Schedule, sgd
from train.engine.together import together


def own_rows(batch):
    """This process's rows of a batch."""
    number, shards = processes.shard()
    size = BATCH // shards
    return {name: values[number * size : (number + 1) * size] for name, values in batch.items()}


class Batches:
    """Two batches an epoch, with a pause before each."""

    batches_per_epoch = 2

    def __init__(self, pause):
        self.number, self.pause = 0, pause

    def __next__(self):
        time.sleep(self.pause)
        self.number += 1
        return own_rows(make_batch(self.number))

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


def held_out():
    """Two batches, of which the last two rows are filling."""
    for number in range(2):
        batch = make_batch(100 + number)
        batch["video"] = np.arange(BATCH, dtype=np.int64) + BATCH * number + 2**40
        batch["mask"] = np.arange(BATCH) + BATCH * number < 2 * BATCH - 2
        yield own_rows(batch)


def main(argv):
    folder, devices, epochs, pause = Path(argv[0]), int(argv[1]), int(argv[2]), float(argv[3])
    alone = argv[5] == "1"
    place = None if alone else processes.Place(argv[4], int(argv[5]), int(argv[6]))
    with together(place):
        mesh = make_mesh(devices, BATCH)
        optimizer = sgd(
            Schedule(0.05),
            epochs=epochs,
            steps_per_epoch=2,
            momentum=0.9,
            weight_decay=5e-4,
            clip_norm=None,
        )
        training = set_up(make_model(dropout=0.3), TASK, optimizer, mesh, seed=processes.number())
        checkpoints, batches = Checkpoints(folder / "checkpoints"), Batches(pause)
        state = training.state
        if checkpoints.latest is not None:
            state, position = checkpoints.restore(state)
            batches.set_state(position)
            say(f"resumed at step {int(state.step)}")
        log = MetricsLog(folder, int(state.step)) if processes.is_first() else None
        plan = Plan("tiny", epochs=epochs, batch_size=BATCH, rate=lambda state, epoch: 0.05)
        state = fit(state, training.train_step, batches, mesh, plan, log, checkpoints)
        found = evaluate(training.eval_step, state, held_out(), mesh)
        checkpoints.close()
        if log is not None:
            log.close()
        arrays = jax.tree.leaves(jax.device_get(processes.local(state)))
        arrays = {f"array{number}": array for number, array in enumerate(arrays)}
        np.savez(folder / f"result-{processes.number()}.npz", **arrays, **found)


if __name__ == "__main__":
    run_command(main)
