"""Sequence models: a network over frames, with recurrent layers in it.

All are called alike: `outputs, carry = model(clips, carry=None, lengths=None)` with clips
(B, T, ...), outputs (B, T, K) and a carry of one entry a recurrent layer, in order. No state is
kept in the modules, so a carry handed back in continues the sequence.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.layers.recurrent import Carry, Recurrent
from prernn_jax.module_path import get_layer

Carries = tuple[Carry, ...]


def fold(tree: Any) -> Any:
    """Arrays (B, T, ...) -> (B·T, ...)."""
    return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), tree)


def unfold(tree: Any, batch: int) -> Any:
    """Arrays (B·T, ...) -> (B, T, ...)."""
    return jax.tree.map(lambda x: x.reshape((batch, -1, *x.shape[1:])), tree)


def _check(clips: jax.Array, carry: Carries | None, layers: int) -> Sequence[Carry | None]:
    if clips.ndim < 3:
        raise InputError(f"clips have shape {clips.shape}; expected (B, T, ...)")
    if carry is None:
        return (None,) * layers
    if len(carry) != layers:
        raise InputError(f"the carry has {len(carry)} entries; the model has {layers} layers")
    return carry


class SequenceModel(nnx.Module):
    """One of our backbones over time; made by `surgery.make_recurrent` and its siblings.

    Args:
        backbone: A network with `trunk`, `features` and `head` (DESIGN of the backbones), in which
            the layers `converted` have been replaced by recurrent ones.
        converted: Names of the head's layers that are recurrent; a contiguous or single choice.
        extra: Further recurrent layers between the last hidden layer and the output layer.
        dropout: Share of the output layer's inputs that a call with a `dropout_key` drops.
    """

    def __init__(
        self,
        backbone: Any,
        converted: Sequence[str] = (),
        extra: Sequence[Recurrent] = (),
        dropout: float = 0.0,
    ) -> None:
        self.backbone = backbone
        self.converted = tuple(converted)
        self.extra = nnx.List(extra)
        self.dropout = dropout

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        return [get_layer(self.backbone, name) for name in self.converted] + list(self.extra)

    def __call__(
        self,
        clips: jax.Array,
        carry: Carries | None = None,
        lengths: jax.Array | None = None,
        *,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, Carries]:
        """Clips (B, T, H, W, C) or (B, T, L, H, W, C) -> outputs (B, T, K) and the last carry.

        Frames beyond `lengths` (B,) change no state. Their outputs mean nothing. Nothing is
        dropped without a `dropout_key`.
        """
        states = iter(_check(clips, carry, len(self.converted) + len(self.extra)))
        batch = clips.shape[0]
        carries: list[Carry] = []
        *hidden, output = self.backbone.head
        if self.converted:
            x = self.backbone.trunk(fold(clips))  # (B·T, D), or the pair of a ResNet
            for entry in hidden:
                layer = get_layer(self.backbone, entry.name)
                if entry.name in self.converted:
                    y, state = layer(unfold(x, batch), next(states), lengths)  # (B, T, F)
                    carries.append(state)
                    x = fold(y)  # (B·T, F)
                else:
                    x = layer(x)  # (B·T, F)
                    x = x if entry.activation is None else entry.activation(x)
        else:
            x = self.backbone.features(fold(clips))  # (B·T, F)
        y = unfold(x, batch)  # (B, T, F)
        for layer in self.extra:
            y, state = layer(y, next(states), lengths)
            carries.append(state)
        if dropout_key is not None and self.dropout > 0:
            keep = 1 - self.dropout
            kept = jax.random.bernoulli(dropout_key, keep, y.shape)
            y = jnp.where(kept, y / jnp.asarray(keep, y.dtype), 0)
        return get_layer(self.backbone, output.name)(y), tuple(carries)


class LayerSequence(nnx.Module):
    """The explicit form: a trunk over frames, then layers of which some are recurrent.

    Args:
        trunk: On folded frames (B·T, ...) -> (B·T, D): a module, a method of one (`vgg.trunk`), or
            a plain function. What a plain function closes over is constant and never trained.
        layers: Applied in order to (B, T, D): `Recurrent` ones over time, any other callable as is.
    """

    def __init__(
        self,
        trunk: Callable[[jax.Array], jax.Array],
        layers: Sequence[Callable[..., Any]],
    ) -> None:
        # A bound method would hide its module's parameters.
        owner = getattr(trunk, "__self__", None)
        bound = isinstance(owner, nnx.Module)
        self.trunk = owner if bound else trunk
        self.method = trunk.__name__ if bound else "__call__"
        self.layers = nnx.List(layers)

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        return [layer for layer in self.layers if isinstance(layer, Recurrent)]

    def __call__(
        self,
        clips: jax.Array,
        carry: Carries | None = None,
        lengths: jax.Array | None = None,
    ) -> tuple[jax.Array, Carries]:
        """Clips (B, T, ...) -> what the last layer gives, (B, T, K), and the last carry."""
        states = iter(_check(clips, carry, len(self.recurrent_layers)))
        carries: list[Carry] = []
        x = getattr(self.trunk, self.method)(fold(clips))  # (B·T, D)
        y = unfold(x, clips.shape[0])  # (B, T, D)
        for layer in self.layers:
            if isinstance(layer, Recurrent):
                y, state = layer(y, next(states), lengths)
                carries.append(state)
            else:
                y = layer(y)
        return y, tuple(carries)


@dataclass
class _Pass:
    """What one call of a `FoldedModel` gives to its slots, and what they hand back."""

    batch: int
    carry: Sequence[Carry | None]
    lengths: jax.Array | None
    after: dict[int, Carry] = field(default_factory=dict)


_current_pass: ContextVar[_Pass] = ContextVar("_current_pass")


class RecurrentSlot(nnx.Module):
    """Stands in a foreign network in a linear layer's place and unfolds time around it."""

    def __init__(self, layers: Sequence[Recurrent], first: int) -> None:
        self.layers = nnx.List(layers)
        self.first = first

    def __call__(self, x: jax.Array) -> jax.Array:
        """X (B·T, D) -> (B·T, F); the carries travel beside the foreign forward."""
        current = _current_pass.get()
        if x.ndim != 2:
            raise InputError(
                f"the layer made recurrent got an input of shape {x.shape}; expected (B·T, D): "
                "use LayerSequence where the network does not hand it one vector a frame"
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


class FoldedModel(nnx.Module):
    """A foreign network whose own forward runs, with slots in the place of some layers.

    Args:
        network: Any module called with folded frames (B·T, ...) and giving (B·T, K).
        slots: Names of the layers in it that are `RecurrentSlot`s, in the order of the carry.
    """

    def __init__(self, network: Any, slots: Sequence[str]) -> None:
        self.network = network
        self.slots = tuple(slots)

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        return [layer for name in self.slots for layer in get_layer(self.network, name).layers]

    def __call__(
        self,
        clips: jax.Array,
        carry: Carries | None = None,
        lengths: jax.Array | None = None,
    ) -> tuple[jax.Array, Carries]:
        """Clips (B, T, ...) -> outputs (B, T, K) and the last carry."""
        layers = len(self.recurrent_layers)
        current = _Pass(clips.shape[0], _check(clips, carry, layers), lengths)
        token = _current_pass.set(current)
        try:
            outputs = unfold(self.network(fold(clips)), clips.shape[0])  # (B, T, K)
        finally:
            _current_pass.reset(token)
        if len(current.after) != layers:
            raise InputError(
                "the network's forward did not call every layer made recurrent: leave it out of "
                "`layers`, or use LayerSequence"
            )
        return outputs, tuple(current.after[index] for index in range(layers))
