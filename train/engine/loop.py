"""The training loop."""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from prernn_jax.errors import RunStopped

from . import processes
from .checkpoint import Checkpoints
from .feed import Feed, Loader
from .log import Bar, Clock, MetricsLog, say
from .step import TrainState
from .turns import in_turns


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


class Batches(Loader, Protocol):
    """An endless loader whose position can be kept and set."""

    @property
    def batches_per_epoch(self) -> int:
        """Steps of one pass over the training set."""
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
    position = loader.get_state()
    with (
        watched_signals() as interrupt,
        Feed(loader, mesh, total - done, loader.get_state) as feed,
        Bar(plan.name, total, done).shown() as bar,
    ):
        agreed, take = _Agreed(interrupt), in_turns(train_step)
        while done < total and not (done % per_epoch == 0 and plan.ended(state)):
            asked = time.perf_counter()
            batch = next(feed)
            waited += time.perf_counter() - asked
            state, metrics = take(state, batch.devices)
            position = batch.position  # the feed is ahead of the steps
            pending.append(metrics)
            done += 1
            end_of_epoch = done % per_epoch == 0
            # Reading a metric waits for the device: once every few steps is enough.
            due = end_of_epoch or len(pending) == 10
            stop = agreed.stop(due)
            if not (due or stop):
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
                _end_epoch(state, position, epoch, plan, loss, left, log, checkpoints, last)
                clock, epoch_loss = Clock(), 0.0
            if stop:
                _leave(stop, state, position, checkpoints, done)
    if checkpoints is not None:
        checkpoints.wait()
    return state


class _Agreed:
    """The signal of any process, which all of them learn behind the same step."""

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt
        self._slow = True
        self._steps, self._since = 0, time.perf_counter()

    def stop(self, due: bool) -> signal.Signals | None:
        """Asks behind a step; where there are several processes, all must ask.

        Args:
            due: Whether all processes wait for the device here anyway.
        """
        if processes.count() == 1:
            return self._interrupt.signal
        self._steps += 1
        # A scheduler gives a process half a minute: where steps are long, ask behind each.
        if not (due or self._slow):
            return None
        slow = time.perf_counter() - self._since > 0.5 * self._steps
        found = processes.gather(np.array([self._interrupt.signal or 0, slow], np.int32))  # (P, 2)
        self._slow = bool(found[0, 1])
        self._steps, self._since = 0, time.perf_counter()
        number = int(found[:, 0].max())
        return signal.Signals(number) if number else None


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
    stop: signal.Signals,
    state: TrainState,
    position: Any,
    checkpoints: Checkpoints | None,
    done: int,
) -> None:
    status = 128 + stop.value
    if checkpoints is None:
        raise RunStopped(f"{stop.name}: this stage starts anew next time", status)
    checkpoints.save(state, position)
    checkpoints.wait()
    raise RunStopped(f"{stop.name}: step {done} is saved; go on with --resume", status)


def _end_epoch(
    state: TrainState,
    position: Any,
    epochs: float,
    plan: Plan,
    loss: float,
    left: float,
    log: MetricsLog | None,
    checkpoints: Checkpoints | None,
    last: bool,
) -> None:
    done, epoch = int(state.step), round(epochs)
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
        checkpoints.save(state, position)
