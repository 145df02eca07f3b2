"""The training loop and the evaluation over a data set."""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from prernn_jax.errors import RunStopped

from .checkpoint import Checkpoints
from .devices import split
from .log import Bar, Clock, MetricsLog, say
from .step import TrainState


class Interrupt:
    """Remembers that Ctrl-C or SIGTERM came."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C is at once


@contextmanager
def watched_signals() -> Iterator[Interrupt]:
    """Within the block, Ctrl-C and SIGTERM are remembered and do not end the program."""
    interrupt = Interrupt()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt._note) for number in numbers}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


Predictions = dict[str, NDArray[Any]]


class Batches(Protocol):
    """An endless loader whose position can be kept and set."""

    @property
    def batches_per_epoch(self) -> int:
        """Steps of one pass over the training set."""
        ...

    def __next__(self) -> Mapping[str, Any]:
        """The next batch, arrays (B, ...)."""
        ...

    def get_state(self) -> Any:
        """The position behind the last batch, as bytes or JSON values."""
        ...


@dataclass(frozen=True)
class Plan:
    """What the loop goes through.

    Attributes:
        name: What this stage is called on the screen.
        epochs: Passes over the training set.
        batch_size: Sequences a step.
        rate: State and epochs done -> learning rate, to report it.
        checkpoint_every: Epochs from one checkpoint to the next.
        validate: State -> metrics of the validation set; None where there is none.
        validate_every: Epochs from one of its calls to the next; 0 for never.
        ended: State -> whether to stop before the last epoch; asked after each.
    """

    name: str
    epochs: int
    batch_size: int
    rate: Callable[[TrainState, float], Any]
    checkpoint_every: int = 1
    validate: Callable[[TrainState], Mapping[str, float]] | None = None
    validate_every: int = 1
    ended: Callable[[TrainState], bool] = lambda _: False


def evaluate(
    eval_step: Callable[..., Any],
    state: TrainState,
    batches: Iterable[Mapping[str, NDArray[Any]]],
    mesh: Mesh,
) -> Predictions:
    """Predictions for a whole set, and what its batches say beside the clips.

    Returns:
        Arrays (N, ...) in the set's order, without the rows that fill up the last batch.
    """
    kept: dict[str, list[NDArray[Any]]] = {}
    for batch in batches:
        found = jax.device_get(eval_step(state, split(batch, mesh)))
        found |= {name: batch[name] for name in batch.keys() - {"clips", "features", "mask"}}
        for name, value in found.items():
            kept.setdefault(name, []).append(np.asarray(value)[batch["mask"]])
    return {name: np.concatenate(values) for name, values in kept.items()}


def fit(
    state: TrainState,
    train_step: Callable[..., Any],
    loader: Batches,
    mesh: Mesh,
    plan: Plan,
    log: MetricsLog | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainState:
    """Trains from the state's step to the end of the plan.

    Raises:
        RunStopped: A signal came (status 130 or 143), or the loss is not finite (status 1).
        InputError: A checkpoint could not be written.
    """
    per_epoch = loader.batches_per_epoch
    total = plan.epochs * per_epoch
    done = int(state.step)
    clock, whole = Clock(), Clock()
    begin, epoch_loss = done, _loss_before(log, done, done - done % per_epoch)
    say(f"{plan.name}: {plan.epochs} epochs of {per_epoch} steps")
    pending: list[Any] = []
    waited = 0.0
    with watched_signals() as interrupt, Bar(plan.name, total, done).shown() as bar:
        while done < total and not (done % per_epoch == 0 and plan.ended(state)):
            asked = time.perf_counter()
            batch = next(loader)
            waited += time.perf_counter() - asked
            state, metrics = train_step(state, split(batch, mesh))
            pending.append(metrics)
            done += 1
            end_of_epoch = done % per_epoch == 0
            # Reading a metric waits for the device: once every few steps is enough.
            if not (end_of_epoch or interrupt.signal or len(pending) == 10):
                continue
            values = _read(pending, done, plan, checkpoints)
            epoch = done / per_epoch
            values |= {
                "epoch": epoch,
                "rate": float(plan.rate(state, epoch)),
                "sequences_per_s": clock.rate(len(pending) * plan.batch_size),
                "data_wait_s": waited / len(pending),
            }
            epoch_loss += values["loss"] * len(pending)
            pending, waited = [], 0.0
            if log is not None:
                log.write(done, "train", values)
            bar.update(done, f"loss {values['loss']:.4f}  {values['sequences_per_s']:.1f} seq/s")
            if end_of_epoch:
                left = (total - done) / whole.rate(done - begin, keep=True)
                last = done == total or plan.ended(state)
                loss = epoch_loss / per_epoch
                _end_epoch(state, loader, plan, loss, left, log, checkpoints, last)
                clock, epoch_loss = Clock(), 0.0
            if interrupt.signal:
                _leave(interrupt, state, loader, checkpoints, done)
    return state


def _loss_before(log: MetricsLog | None, done: int, start: int) -> float:
    """The sum of the losses of the steps from `start` to `done`, which an earlier process took."""
    if log is None or done == start:
        return 0.0
    total, before = 0.0, start
    for line in log.read("train"):
        if start < line["step"] <= done:
            total += line["loss"] * (line["step"] - before)
            before = line["step"]
    return total


def _read(
    pending: list[Any], done: int, plan: Plan, checkpoints: Checkpoints | None
) -> dict[str, float]:
    rows = jax.device_get(pending)
    for row, step in zip(rows, range(done - len(rows) + 1, done + 1), strict=True):
        if not math.isfinite(row["loss"]) or not math.isfinite(row["grad_norm"]):
            good = None if checkpoints is None else checkpoints.latest
            kept = "no checkpoint was written" if good is None else f"step {good} is kept"
            raise RunStopped(
                f"{plan.name}: loss {row['loss']} with gradient norm {row['grad_norm']} at step "
                f"{step}; the last good checkpoint: {kept}. Try a lower "
                "learning rate (--schedule.base; stage one: --pretraining.learning_rate)",
                status=1,
            )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _leave(
    interrupt: Interrupt,
    state: TrainState,
    loader: Batches,
    checkpoints: Checkpoints | None,
    done: int,
) -> None:
    assert interrupt.signal is not None
    status = 128 + interrupt.signal.value
    if checkpoints is None:
        raise RunStopped(f"{interrupt.signal.name}: this stage starts anew next time", status)
    checkpoints.save(state, loader.get_state())
    raise RunStopped(f"{interrupt.signal.name}: step {done} is saved; go on with --resume", status)


def _end_epoch(
    state: TrainState,
    loader: Batches,
    plan: Plan,
    loss: float,
    left: float,
    log: MetricsLog | None,
    checkpoints: Checkpoints | None,
    last: bool,
) -> None:
    done = int(state.step)
    epoch = done // loader.batches_per_epoch
    line = f"epoch {epoch}/{plan.epochs}  loss {loss:.4f}"
    every = plan.validate_every
    if plan.validate is not None and every and epoch % every == 0:
        found = dict(plan.validate(state))
        two = list(found.items())[:2]  # the log has them all
        line += "  validation" + "".join(f" {name} {value:.4f}" for name, value in two)
        if log is not None:
            log.write(done, "validation", {"epoch": float(epoch), **found})
    say(f"{line}  {left:.0f} s left")
    if checkpoints is not None and (epoch % plan.checkpoint_every == 0 or last):
        checkpoints.save(state, loader.get_state())
