"""A sequence model put together by hand: a trunk over frames, then layers over time."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from prernn_jax.layers.recurrent import Carry, Lengths, Recurrent
from prernn_jax.sequence import (
    Carries,
    OverFrames,
    checked_dropout,
    dropped_out,
    fold,
    unfold,
)


class LayerSequence(OverFrames):
    """The explicit form: a trunk over frames, then layers of which some are recurrent.

    Args:
        trunk: Maps folded frames (B·T, ...) to (B·T, D): a module, a method of one (`vgg.trunk`),
            or a plain function. Arrays that a plain function closes over are never trained.
        layers: Applied in order to (B, T, D): `Recurrent` ones over time, any other callable as is.
        dropout: Share of the last layer's inputs that a call with a `dropout_key` drops.
    """

    def __init__(
        self,
        trunk: Callable[[jax.Array], jax.Array],
        layers: Sequence[Callable[..., Any]],
        dropout: float = 0.0,
    ) -> None:
        # A bound method would hide its module's parameters.
        owner = getattr(trunk, "__self__", None)
        bound = isinstance(owner, nnx.Module)
        self.trunk = owner if bound else trunk
        self.method = trunk.__name__ if bound else "__call__"
        self.layers = nnx.List(layers)
        self.dropout = checked_dropout(dropout)

    @property
    def network_of_frames(self) -> Any:
        """The trunk, or the network that it is a part of."""
        return self.trunk

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        return [layer for layer in self.layers if isinstance(layer, Recurrent)]

    def __call__(
        self,
        clips: jax.Array,
        carry: Carries | None = None,
        lengths: Lengths = None,
        *,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, Carries]:
        """Clips (B, T, ...) -> what the last layer gives, (B, T, K), and the last carry.

        Arguments and errors are those of `SequenceModel`.
        """
        clips, given, lengths = self.checked(clips, carry, lengths)
        states = iter(given)
        carries: list[Carry] = []
        x = getattr(self.trunk, self.method)(fold(clips))  # (B·T, D)
        y = unfold(x, clips.shape[0])  # (B, T, D)
        for number, layer in enumerate(self.layers, start=1):
            if number == len(self.layers):
                y = dropped_out(y, self.dropout, dropout_key)
            if isinstance(layer, Recurrent):
                y, state = layer(y, next(states), lengths)
                carries.append(state)
            else:
                y = layer(y)
        return y, tuple(carries)
