"""Learning-rate schedules and the optimiser (SPEC section 1)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import optax
from jax import Array

from prernn_jax.errors import InputError

Shape = Literal["constant", "halving", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the epochs.

    Attributes:
      base: First learning rate.
      shape: `constant`; `halving`: times 0.5 after each `every` epochs once `hold` epochs are
        over; `cosine`: half a cosine down to zero at the last epoch.
      hold: Epochs at the base rate before the halving counts.
      every: Epochs from one halving to the next.
      warmup: Epochs over which the rate first rises from zero in a line.
    """

    base: float
    shape: Shape = "halving"
    hold: float = 0.0
    every: float = 10.0
    warmup: float = 0.0

    def rate(self, epoch: Array | float, epochs: float) -> Array:
        """The rate when `epoch` epochs, possibly not a whole number, are done of `epochs`."""
        epoch = jnp.asarray(epoch, jnp.float32)
        rate = jnp.asarray(self.base, jnp.float32)
        if self.shape == "halving":
            halvings = jnp.floor((epoch - self.hold) / self.every)
            rate = rate * 0.5 ** jnp.maximum(halvings, 0)
        elif self.shape == "cosine":
            rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(epoch / epochs, 1)))
        if self.warmup > 0:
            rate = rate * jnp.minimum((epoch + 1e-3) / self.warmup, 1)
        return rate


# SPEC section 1; "halving" with hold 0: 10 epochs at the base rate, 10 at half of it, ...
SPATIAL = Schedule(3e-4)
TEMPORAL = Schedule(1e-2)


def sgd(
    schedule: Schedule,
    *,
    epochs: float,
    steps_per_epoch: float,
    momentum: float,
    weight_decay: float,
    clip_norm: float | None,
) -> optax.GradientTransformation:
    """SGD with momentum; the decay is added to the gradient of every trained parameter.

    Args:
      schedule: Learning rate over the epochs.
      epochs: Length of the training.
      steps_per_epoch: Need not be a whole number.
      momentum: 0.9 in the paper.
      weight_decay: 5e-4 in the paper.
      clip_norm: Largest global norm of a gradient; None leaves it as it is.
    """
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    return optax.chain(
        clip,
        optax.add_decayed_weights(weight_decay),
        optax.sgd(lambda step: schedule.rate(step / steps_per_epoch, epochs), momentum),
    )


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
