"""A program that several processes run: the batches of a frozen trunk, written to a file each.

Usage: features_program.py FOLDER COORDINATOR PROCESSES NUMBER
"""

import sys
from pathlib import Path

import numpy as np

from prernn_jax.command import run_command
from prernn_jax.data.batches import eval_batches
from train.engine import processes
from train.engine.together import together
from train.run.feature_batches import Cache, FixedSet, computed_once, computed_with_each_batch


def sample(row):
    return {"clips": np.full((3, 2), row, np.float32), "labels": np.int32(row % 5),
            "lengths": np.int32(3), "video": np.int64(row + 2**40)}  # fmt: skip


def features(batch):
    """In place of a trunk: two arrays a step."""
    return batch["clips"] * 2, batch["clips"].sum(-1)


def batches_of(kind, folder):
    """The first batches of training and the whole of a held-out set, as process 0 would see all."""
    fixed = FixedSet(11, sample)
    held_out = {"test": eval_batches(7, sample, batch_size=4, shard=processes.shard())}
    given, more = (fixed, held_out, features), {"batch_size": 4, "seed": 3}
    if kind == "cached":
        train, kept = computed_once(*given, Cache(folder / "features", {"data": "drawn"}), **more)
    else:
        train, kept = computed_with_each_batch(*given, **more)
    found = [*(next(train) for _ in range(5)), *kept["test"]]
    train.close()
    for number, batch in enumerate(found):
        for place, values in enumerate(batch.pop("features")):
            batch[f"features.{place}"] = values
        for name, values in batch.items():
            yield f"{number} {name}", processes.rows_of_all(np.asarray(values))


def main(argv):
    folder = Path(argv[0])
    place = processes.Place(argv[1], int(argv[2]), int(argv[3])) if argv[1] else None
    with together(place):
        for kind in ("frozen", "cached", "cached"):  # the second time they are read
            found = dict(batches_of(kind, folder / f"of-{processes.number()}"))
            np.savez(folder / f"{kind}-{processes.number()}.npz", **found)


if __name__ == "__main__":
    run_command(main, sys.argv[1:])
