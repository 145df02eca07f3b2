"""Networks that are not ours over time: their own forward runs on all frames at once.

Slots stand in the place of the layers that become recurrent. A slot unfolds time around its
layers; the carries do not pass through the network's own forward, which knows nothing of them.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.layers.lengths import Lengths
from prernn_jax.layers.recurrent import Carry, Recurrent
from prernn_jax.module_path import get_layer
from prernn_jax.sequence import (
    Carries,
    OverFrames,
    checked_dropout,
    dropped_out,
    fold,
    unfold,
)


@dataclass
class _Pass:
    """What one call of a `FoldedModel` gives to its slots, and what they hand back."""

    batch: int
    carry: Sequence[Carry | None]
    lengths: jax.Array | None
    dropout_key: jax.Array | None
    after: dict[int, Carry] = field(default_factory=dict)


_current_pass: ContextVar[_Pass] = ContextVar("_current_pass")


class RecurrentSlot(nnx.Module):
    """Stands in a linear layer's place and unfolds time around recurrent layers.

    Args:
        layers: The recurrent layers, in order.
        first: Place of the first one in the carry.
    """

    def __init__(self, layers: Sequence[Recurrent], first: int) -> None:
        self.layers = nnx.List(layers)
        self.first = first

    def __call__(self, x: jax.Array) -> jax.Array:
        """Features (B·T, D) -> hidden states (B·T, F)."""
        current = _current_pass.get()
        if x.ndim != 2:
            raise InputError(
                f"the layer made recurrent got an input of shape {x.shape}; expected (B·T, D): "
                "use LayerSequence where the network does not hand it one vector for each frame"
            )
        y = unfold(x, current.batch)  # (B, T, D)
        for index, layer in enumerate(self.layers, start=self.first):
            if index in current.after:
                raise InputError(
                    "the network's forward calls a layer made recurrent twice, and it can have "
                    "one state only: use LayerSequence"
                )
            y, current.after[index] = layer(y, current.carry[index], current.lengths)
        return fold(y)


class DropoutSlot(nnx.Module):
    """Stands before the output layer and drops a share of its inputs.

    Args:
        dropout: The share.
    """

    def __init__(self, dropout: float) -> None:
        self.dropout = dropout

    def __call__(self, x: jax.Array) -> jax.Array:
        """Features (B·T, F) -> the same shape; dropped only where the call has a key."""
        current = _current_pass.get()
        y = dropped_out(unfold(x, current.batch), self.dropout, current.dropout_key)  # (B, T, F)
        return fold(y)


class FoldedModel(OverFrames):
    """A network that is not ours, with slots in the place of some layers.

    Args:
        network: Any module that maps folded frames (B·T, ...) to (B·T, K).
        converted: Names of its layers that are `RecurrentSlot`s now, in the order of the carry.
        extra_slot: Name of the slot with the further layers before the output layer, if any.
        dropout: Share of the output layer's inputs that its `DropoutSlot` drops.
        made_by: As for `SequenceModel`.
    """

    def __init__(
        self,
        network: Any,
        converted: Sequence[str],
        extra_slot: str | None = None,
        dropout: float = 0.0,
        made_by: str | None = None,
    ) -> None:
        self.network = network
        self.made_by = made_by
        self.converted = tuple(converted)
        self.extra_slot = extra_slot
        self.dropout = checked_dropout(dropout)

    @property
    def network_of_frames(self) -> Any:
        """The network."""
        return self.network

    @property
    def converted_layers(self) -> list[Recurrent]:
        """The recurrent layers that were layers of the network before."""
        return [layer for name in self.converted for layer in self._in_slot(name)]

    @property
    def extra(self) -> list[Recurrent]:
        """The further recurrent layers before the output layer."""
        return [] if self.extra_slot is None else self._in_slot(self.extra_slot)

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        return self.converted_layers + self.extra

    def _in_slot(self, name: str) -> list[Recurrent]:
        return list(get_layer(self.network, name).layers)

    def __call__(
        self,
        clips: jax.Array,
        carry: Carries | None = None,
        lengths: Lengths = None,
        *,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, Carries]:
        """Clips (B, T, ...) -> outputs (B, T, K) and the last carry.

        Arguments and errors are those of `SequenceModel`.
        """
        clips, given, lengths = self.checked(clips, carry, lengths)
        batch, steps = clips.shape[:2]
        current = _Pass(batch, given, lengths, dropout_key)
        token = _current_pass.set(current)
        try:
            folded = self.network(fold(clips))  # (B·T, K)
        finally:
            _current_pass.reset(token)
        if len(current.after) != len(self.recurrent_layers):
            raise InputError(
                "the network's forward did not call every layer made recurrent: leave it out of "
                "`layers`, or use LayerSequence"
            )
        if folded.shape[:1] != (batch * steps,):
            raise InputError(
                f"the network gives outputs of shape {folded.shape} for {batch * steps} frames; "
                f"expected ({batch * steps}, K): one row for each frame"
            )
        return unfold(folded, batch), tuple(current.after[i] for i in range(len(given)))
