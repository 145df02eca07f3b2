"""Learning-rate schedules and the optimiser (docs/paper.md, "Training")."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax import Array

from prernn_jax.errors import InputError

Shape = Literal["constant", "halving", "cosine", "plateau"]
Optimizer = Literal["sgd", "adam"]

_SLACK = 1e-5  # of an interval: a quotient of floats may fall just short of a whole number


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the epochs.

    Attributes:
        base: First learning rate.
        shape: `constant`; `halving`: times 0.5 after each `every` epochs once `hold` epochs are
            over; `cosine`: half a cosine down to zero at the last epoch; `plateau`: times `factor`
            whenever the mean training loss of an epoch has not improved for `patience` epochs.
        hold: Epochs at the base rate before the halving counts.
        every: Epochs from one halving to the next.
        warmup: Epochs over which the rate first rises from zero in a line.
        factor: The factor of one reduction on a plateau.
        patience: Epochs in a row without improvement before a reduction.
        stop: On a plateau: training ends once the rate has fallen to this.
    """

    base: float
    shape: Shape = "halving"
    hold: float = 0.0
    every: float = 10.0
    warmup: float = 0.0
    factor: float = 0.1
    patience: int = 40
    stop: float = 0.0

    def check(self) -> None:
        """Raises an InputError for values that give no learning rate."""
        for name in ("base", "every", "factor", "patience"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InputError(f"--schedule.{name}={value}: expected more than 0")
        for name in ("hold", "warmup", "stop"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"--schedule.{name}={value}: expected 0 or more")
        if self.factor >= 1:
            raise InputError(f"--schedule.factor={self.factor}: expected less than 1")

    def rate(self, epoch: Array | float, epochs: float) -> Array:
        """The rate when `epoch` epochs, possibly not a whole number, are done of `epochs`.

        On a plateau it is further multiplied by what `reduction` finds in the optimiser's state.
        """
        epoch = jnp.asarray(epoch, jnp.float32)
        rate = jnp.asarray(self.base, jnp.float32)
        if self.shape == "halving":
            halvings = jnp.floor((epoch - self.hold) / self.every + _SLACK)
            rate = rate * 0.5 ** jnp.maximum(halvings, 0)
        elif self.shape == "cosine":
            rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(epoch / epochs, 1)))
        if self.warmup > 0:
            rate = rate * jnp.minimum((epoch + 1e-3) / self.warmup, 1)
        return rate


# docs/paper.md, "Training". "halving" with hold 0: 10 epochs at the base rate, 10 at half of it.
SPATIAL = Schedule(3e-4)
TEMPORAL = Schedule(1e-2)
# "Constant for 10 epochs, then x0.5 after each further 5": 15 epochs at the base rate, 5 at half.
FACE = Schedule(1e-4, hold=10, every=5)
GESTURE = Schedule(3e-3, "plateau", factor=0.1, patience=40, stop=3e-7)


def reduction(opt_state: Any) -> float:
    """Product of the reductions on plateaus so far; 1 for the other schedules."""
    for state in jax.tree.leaves(opt_state, is_leaf=_is_plateau):
        if _is_plateau(state):
            return float(state.scale)
    return 1.0


def has_ended(schedule: Schedule, opt_state: Any) -> bool:
    """Whether the rate has fallen to where training stops."""
    return schedule.base * reduction(opt_state) <= schedule.stop * (1 + _SLACK)


def _is_plateau(state: Any) -> bool:
    return isinstance(state, optax.contrib.ReduceLROnPlateauState)


def sgd(
    schedule: Schedule,
    *,
    epochs: float,
    steps_per_epoch: float,
    momentum: float,
    weight_decay: float,
    clip_norm: float | None,
    kind: Optimizer = "sgd",
    slower: tuple[str, float] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """SGD with momentum; the decay is added to the gradient of every trained parameter.

    Args:
        schedule: Learning rate over the epochs.
        epochs: Length of the training.
        steps_per_epoch: Need not be a whole number, except on a plateau, which is rounded to whole
            steps.
        momentum: 0.9 in the paper.
        weight_decay: 5e-4 in the paper.
        clip_norm: Largest global norm of a gradient; None leaves it as it is.
        kind: With `adam`, Adam's step (Kingma and Ba 2015) takes the place of momentum; the decay
            is added to the gradient as before.
        slower: Regular expression and factor; where the expression matches the whole name of a
            parameter, its learning rate is multiplied by the factor.

    Returns:
        An optimiser whose `update` takes the loss of the step as `value=`, for the plateau.
    """
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    plateau = optax.identity()
    if schedule.shape == "plateau":
        plateau = optax.contrib.reduce_on_plateau(
            schedule.factor, schedule.patience, accumulation_size=max(round(steps_per_epoch), 1)
        )

    def rate(step: Any) -> Any:
        return schedule.rate(step / steps_per_epoch, epochs)

    steps = optax.adam(rate) if kind == "adam" else optax.sgd(rate, momentum)
    parts = [clip, optax.add_decayed_weights(weight_decay), steps, plateau]
    if slower is not None:
        parts.append(_scaled(*slower))
    whole = optax.chain(*parts)

    def update(grads: Any, state: Any, params: Any = None, **more: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):  # optax multiplies counts with losses
            return whole.update(grads, state, params, **more)

    return optax.GradientTransformationExtraArgs(whole.init, update)


def _scaled(pattern: str, factor: float) -> optax.GradientTransformation:
    """Scales the updates of the parameters whose whole name matches."""

    def chosen(params: Mapping[str, Any]) -> dict[str, bool]:
        return {name: re.fullmatch(pattern, name) is not None for name in params}

    return optax.masked(optax.scale(factor), chosen)


def split_frozen(
    params: Mapping[str, Array], patterns: Sequence[str]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Divides parameters into trained and frozen ones.

    Args:
        params: Arrays by dotted name.
        patterns: Regular expressions; a parameter is frozen when one matches its whole name.

    Raises:
        InputError: An expression is not one, matches no name, or nothing is left to train.
    """
    frozen: set[str] = set()
    for pattern in patterns:
        try:
            matching = {name for name in params if re.fullmatch(pattern, name)}
        except re.error as error:
            raise InputError(f"--freeze: {pattern!r} is no regular expression: {error}") from None
        if not matching:
            some = ", ".join(list(params)[:4])
            raise InputError(
                f"--freeze: {pattern!r} matches the whole name of no parameter; "
                f"names are like {some}"
            )
        frozen |= matching
    if len(frozen) == len(params):
        raise InputError("--freeze leaves no parameter to train; freeze fewer")
    trained = {name: value for name, value in params.items() if name not in frozen}
    return trained, {name: value for name, value in params.items() if name in frozen}
