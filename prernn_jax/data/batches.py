"""Batches of samples by grain: the same for the same seed, and exactly resumable."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

from prernn_jax.data.records import RandomAccessSource, Record
from prernn_jax.errors import InputError, RunStopped
from prernn_jax.processes import end_with_the_parent, keep_freed_memory

Batch = dict[str, Any]  # the arrays of one sample, or (B, ...) of a batch


class _TrainSample(grain.transforms.RandomMap):
    """Draws a sample from a record with a generator that depends on seed and position alone."""

    def __init__(self, draw: Callable[[Record, np.random.Generator], Batch]) -> None:
        self.draw = draw

    def random_map(self, element: Record, rng: np.random.Generator) -> Batch:
        return self.draw(element, rng)


class TrainLoader:
    """Endless batches; see `train_batches`.

    Attributes:
        batches_per_epoch: Number of batches in which every record is seen at most once.
    """

    def __init__(
        self, batches: grain.MapDataset, batches_per_epoch: int, workers: int, mark: dict[str, int]
    ) -> None:
        self._batches = batches
        self.batches_per_epoch = batches_per_epoch
        self._workers = workers
        self._mark = mark
        self._next = 0
        self._running: list[Any] = []  # the iterator, while there is one
        # Threads and workers must end before the interpreter is taken apart.
        weakref.finalize(self, _stop, self._running)

    def close(self) -> None:
        """Stops threads and workers; the next batch starts them again."""
        _stop(self._running)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if not self._running:
            rest = self._batches[self._next :] if self._next else self._batches
            self._running.append(_start(rest, self._workers))
        batch = _next(self._running[0], self._workers)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """Returns the position as numbers that JSON can hold."""
        return {"next_batch": self._next, **self._mark}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to a position; the next batches are those that follow it.

        Raises:
            InputError: The state is of another seed, batch size or data set.
        """
        differ = [k for k in self._mark if state.get(k) != self._mark[k]]
        if differ:
            was = ", ".join(f"{k} {state.get(k)} (now {self._mark[k]})" for k in differ)
            raise InputError(f"this loader position belongs to other data: {was}")
        self.close()
        self._next = int(state["next_batch"])


def _start(batches: grain.MapDataset, workers: int) -> Any:
    """An iterator over the batches, which threads or so many processes read ahead."""
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    read = batches.to_iter_dataset(options)
    if workers:
        if not flags.FLAGS.is_parsed():  # grain's worker processes read absl's flags
            flags.FLAGS.mark_as_parsed()
        processes = grain.MultiprocessingOptions(workers, 2)
        read = read.mp_prefetch(processes, worker_init_fn=_start_worker)
    return iter(read)


def _next(running: Any, workers: int) -> Batch:
    try:
        batch: Batch = next(running)
    except (InputError, RunStopped, StopIteration):
        raise
    except Exception as error:
        if not workers:
            raise
        raise _worker_fault(error) from error
    if workers:  # what comes from a worker lies in shared memory; free that at once
        batch = {name: np.array(values) for name, values in batch.items()}
    return batch


def _start_worker(number: int, count: int) -> None:
    # Ctrl-C goes to all processes of a terminal; a run saves a checkpoint and then ends them.
    end_with_the_parent(interrupted=False)
    # Without this every picture costs as much in page faults as in decoding.
    keep_freed_memory()


def _worker_fault(error: Exception) -> RunStopped:
    """What a person is told when a worker process is gone or its code has failed."""
    if "terminated unexpectedly" in str(error):  # what grain says
        return RunStopped(
            "a process that reads the data was killed. Is there too little memory? Fewer --workers "
            "need less. --resume goes on from the last checkpoint",
            status=1,
        )
    what = (str(error).splitlines() or [""])[0][:200]
    return RunStopped(
        f"a process that reads the data failed ({type(error).__name__}: {what}); --workers=0 shows "
        "where. --resume goes on from the last checkpoint",
        status=1,
    )


def _stop(running: list[Any]) -> None:
    while running:
        running.pop().close()


def train_batches(
    source: RandomAccessSource,
    draw: Callable[[Record, np.random.Generator], Batch],
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainLoader:
    """Shuffles, samples and batches records without end.

    A batch depends on the seed and its number alone, and not on the workers. Each shard has a run
    of its rows, so the batches of all shards one after the other are the batch of one process.

    Args:
        source: The records.
        draw: Makes a sample from a record and a generator: arrays by name, of the same shapes for
            every record. With workers it must be picklable (no lambda).
        batch_size: B. The last, incomplete batch of an epoch is left out.
        seed: Seed of order and augmentation, 0 to 2**32 - 1.
        workers: Number of processes that decode; 0 means threads of this process.
        shard: Where several processes train together: the number of this one, from 0, and their
            number (`jax.process_index()`, `jax.process_count()`).

    Returns:
        An iterator of dicts of arrays (B, ...), with shards (B / shards, ...).

    Raises:
        InputError: There are fewer records than a batch needs, or the shards cannot share a batch.
    """
    number, shards = _checked(shard, batch_size)
    if not 1 <= batch_size <= len(source):
        raise InputError(
            f"a batch of {batch_size} cannot be filled: there are {len(source)} clips to train "
            f"on; give a batch size of 1 to {len(source)}"
        )
    records = grain.MapDataset.source(source).seed(seed).shuffle()
    whole = len(source) // batch_size * batch_size
    rows = records.random_map(_TrainSample(draw))[:whole]
    batches = rows.batch(batch_size // shards, drop_remainder=True)[number::shards]
    mark = {"seed": seed, "batch_size": batch_size, "records": len(source)}
    return TrainLoader(batches.repeat(), len(batches), workers, mark)


def _checked(shard: tuple[int, int], batch_size: int) -> tuple[int, int]:
    number, shards = shard
    if not 0 <= number < shards or batch_size % shards:
        raise InputError(
            f"shard {number} of {shards} of a batch of {batch_size}: expected a number below "
            f"{shards} and a batch size that {shards} divides"
        )
    return shard


class EvalLoader:
    """One pass over all samples in their order; every `iter` starts a new one."""

    def __init__(self, batches: grain.MapDataset, workers: int = 0) -> None:
        self._batches = batches
        self._workers = min(workers, len(batches))  # each reads whole batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        running = [_start(self._batches, self._workers)]
        try:
            while True:
                try:
                    yield _next(running[0], self._workers)
                except StopIteration:
                    return
        finally:
            _stop(running)


def eval_batches(
    rows: int,
    read: Callable[[int], Batch],
    *,
    batch_size: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> EvalLoader:
    """Batches samples for testing, in their order.

    Args:
        rows: Number of samples, at least 1.
        read: Makes the sample of a row: arrays by name, of the same shapes for every row.
        batch_size: B. The last batch is filled up with zeros; `lengths` and `video`, if the samples
            have them, are 1 and -1 there.
        workers: Number of processes that read, which every pass starts anew; 0 means threads of
            this process. The batches are the same.
        shard: See `train_batches`.

    Returns:
        A loader of dicts of arrays (B, ...), with shards (B / shards, ...), that can be iterated
        again. `mask` is False for the filling.
    """
    number, shards = _checked(shard, batch_size)

    def sample(row: int) -> Batch:
        if row < rows:
            return {**read(row), "mask": np.bool_(True)}
        filling = {name: np.zeros_like(value) for name, value in read(0).items()}
        for name, mark in (("lengths", 1), ("video", -1)):
            if name in filling:  # in the samples' type: a shard may hold nothing but filling
                filling[name] = np.full_like(filling[name], mark)
        return {**filling, "mask": np.bool_(False)}

    filled = -(-rows // batch_size) * batch_size
    batches = grain.MapDataset.range(filled).map(sample).batch(batch_size // shards)
    return EvalLoader(batches[number::shards], workers)
