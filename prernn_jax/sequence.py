"""Sequence models: a network over frames, with recurrent layers in it.

All are called alike: `outputs, carry = model(clips, carry=None, lengths=None, dropout_key=None)`
with clips (B, T, ...), outputs (B, T, K) and a carry with one entry for each recurrent layer, in
order. The modules keep no state, so a call that is given the carry continues the sequence.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.inference import Inference
from prernn_jax.layers.lengths import (
    Lengths,
    check_lengths,
    check_sizes,
    valid_steps,
    without_padding,
)
from prernn_jax.layers.recurrent import Carry, Recurrent
from prernn_jax.module_path import get_layer
from prernn_jax.preprocess import Preprocessing

Carries = tuple[Carry, ...]


def fold(tree: Any) -> Any:
    """Arrays (B, T, ...) -> (B·T, ...)."""
    return jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), tree)


def unfold(tree: Any, batch: int) -> Any:
    """Arrays (B·T, ...) -> (B, T, ...)."""
    return jax.tree.map(lambda x: x.reshape((batch, -1, *x.shape[1:])), tree)


class OverFrames(nnx.Module):
    """What every sequence model has: checks of its input, and its network's preprocessing.

    Attributes:
        inference: How a video becomes the model's input and what its outputs are, where the model
            was trained by a program or read from its file; None where nobody said it.
    """

    dropout: float
    inference: Inference | None = None

    def predict(self, video: Any, **options: Any) -> Any:
        """Says what the model sees in a video; see `prernn_jax.predict.predictor.Predictor`.

        Args:
            video: A video file, a folder of pictures, or frames (N, H, W, 3) uint8 RGB.
            **options: `boxes` for a model of faces.

        Returns:
            A `VideoScores` or `VideoLandmarks` of `prernn_jax.predict`.

        Raises:
            InputError: The model does not say how a video becomes its input, or the video cannot
                be used.
        """
        # Looked up by name, as the command finds its sub-commands: a model knows no decoder.
        predictor = importlib.import_module("prernn_jax.predict.predictor")
        return predictor.Predictor(self)(video, **options)

    @property
    def network_of_frames(self) -> Any:
        """The network whose `preprocess` says what it expects of an image."""
        raise NotImplementedError

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        raise NotImplementedError

    @property
    def preprocess(self) -> Preprocessing:
        """Turns uint8 RGB frames (..., H, W, 3) into the network's input.

        Raises:
            AttributeError: The network does not say what it expects.
        """
        found: Preprocessing | None = getattr(self.network_of_frames, "preprocess", None)
        if found is None:
            raise AttributeError(
                f"the {type(self.network_of_frames).__name__} in this model does not say what it "
                "expects of an image; set model.preprocess = Preprocessing(...)"
            )
        return found

    @preprocess.setter
    def preprocess(self, preprocess: Preprocessing) -> None:
        self.network_of_frames.preprocess = preprocess

    def checked(
        self, clips: Any, carry: Carries | None, lengths: Lengths
    ) -> tuple[jax.Array, Sequence[Carry | None], jax.Array | None]:
        """The arguments of a call, ready for use.

        Raises:
            InputError: They do not fit the model or one another.
        """
        clips = jnp.asarray(clips)
        # The letters and the channels are known for a backbone of ours only.
        axes: str | None = getattr(self.network_of_frames, "axes", None)
        channels = getattr(self.network_of_frames, "in_channels", "C")
        expected = ", ".join("BT" + axes[:-1]) + f", {channels}" if axes else "B, T, ..."
        fits = clips.ndim >= 3
        if axes is not None:
            fits = clips.ndim == 2 + len(axes) and clips.shape[-1] == channels
        if not fits:
            raise InputError(f"clips have shape {clips.shape}; expected ({expected})")
        check_sizes(*clips.shape[:2])
        if not jnp.issubdtype(clips.dtype, jnp.floating):
            raise InputError(
                f"clips are {clips.dtype}; a network takes prepared images in floating point: "
                "call model(model.preprocess(clips))"
            )
        layers = len(self.recurrent_layers)
        if carry is None:
            carry = (None,) * layers  # type: ignore[assignment]
        elif len(carry) != layers:
            raise InputError(f"the carry has {len(carry)} entries; the model has {layers} layers")
        if lengths is not None:
            lengths = check_lengths(lengths, *clips.shape[:2])
            # A NaN in a frame of padding would reach the gradients of the trunk's kernels.
            clips = without_padding(clips, valid_steps(lengths, clips.shape[1]))
        return clips, carry, lengths  # type: ignore[return-value]


def checked_dropout(dropout: float) -> float:
    """The share, which must be at least 0 and less than 1."""
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}; expected 0 or more and less than 1")
    return float(dropout)


def dropped_out(y: jax.Array, dropout: float, key: jax.Array | None) -> jax.Array:
    """Y (B, T, F) with a share of its values set to zero and the others scaled up."""
    if key is None or dropout == 0:
        return y
    keep = 1 - dropout
    kept = jax.random.bernoulli(key, keep, y.shape)
    return jnp.where(kept, y / jnp.asarray(keep, y.dtype), 0)


class SequenceModel(OverFrames):
    """One of our backbones over time; made by `surgery.make_recurrent` and its siblings.

    Args:
        backbone: A network with `trunk`, `features` and `head` (see `backbones.head`), in which
            the layers `converted` have been replaced by recurrent ones.
        converted: Names of the head's layers that are recurrent.
        extra: Further recurrent layers between the last hidden layer and the output layer.
        dropout: Share of the output layer's inputs that a call with a `dropout_key` drops.
        made_by: The call of `surgery` that made the model from its backbone, as a JSON object;
            `prernn_jax.save` writes it. None where the model was put together by hand.
    """

    def __init__(
        self,
        backbone: Any,
        converted: Sequence[str] = (),
        extra: Sequence[Recurrent] = (),
        dropout: float = 0.0,
        made_by: str | None = None,
    ) -> None:
        self.backbone = backbone
        self.converted = tuple(converted)
        self.extra = nnx.List(extra)
        self.dropout = checked_dropout(dropout)
        self.made_by = made_by

    @property
    def network_of_frames(self) -> Any:
        """The backbone."""
        return self.backbone

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """The recurrent layers, in the order of the carry."""
        return [get_layer(self.backbone, name) for name in self.converted] + list(self.extra)

    def __call__(
        self,
        clips: jax.Array,
        carry: Carries | None = None,
        lengths: Lengths = None,
        *,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, Carries]:
        """Runs the network over time.

        Args:
            clips: Prepared frames (B, T, H, W, C), or short clips (B, T, L, H, W, C) for C3D.
            carry: The state to start from, as an earlier call returned it; zeros when None.
            lengths: Valid steps of each sequence (B,), 1 to T; all T when None. Later steps
                change no state, and their outputs mean nothing. See `check_lengths`.
            dropout_key: Key of the dropout; nothing is dropped when None.

        Returns:
            Outputs (B, T, K) and the last carry.

        Raises:
            InputError: The arguments do not fit the model, or the clips are no prepared frames.
        """
        clips, given, lengths = self.checked(clips, carry, lengths)
        features = unfold(self.frame_features(fold(clips)), clips.shape[0])
        return self._through_time(features, given, lengths, dropout_key)

    def frame_features(self, frames: jax.Array) -> Any:
        """What the network makes of each frame by itself, up to its first recurrent layer.

        Args:
            frames: (N, H, W, C), or (N, L, H, W, C) for C3D.

        Returns:
            (N, D), or the pair of arrays (N, h, w, ...) that the trunk of a ResNet gives.
        """
        if not self.converted:
            return self.backbone.features(frames)  # (N, F)
        x = self.backbone.trunk(frames)  # (N, D), or the pair of a ResNet
        for entry in self.backbone.head[: self._first_recurrent]:
            x = get_layer(self.backbone, entry.name)(x)  # (N, F)
            x = x if entry.activation is None else entry.activation(x)
        return x

    def over_time(
        self,
        features: Any,
        lengths: Lengths = None,
        *,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """The rest of a call, from zero states, for features that are there already.

        Args:
            features: What `frame_features` gives, unfolded to (B, T, ...).
            lengths: As for a call.
            dropout_key: As for a call.

        Returns:
            Outputs (B, T, K).
        """
        batch, steps = jax.tree.leaves(features)[0].shape[:2]
        valid = None if lengths is None else check_lengths(lengths, batch, steps)
        states = (None,) * len(self.recurrent_layers)
        return self._through_time(features, states, valid, dropout_key)[0]

    @property
    def late_layers(self) -> tuple[str, ...]:
        """Names of the layers of the model that come after `frame_features`."""
        entries = self.backbone.head[self._first_recurrent :]
        return (*(f"backbone.{entry.name}" for entry in entries), "extra")

    @property
    def _first_recurrent(self) -> int:
        """The place in the backbone's head where `frame_features` ends."""
        head = self.backbone.head
        recurrent = (place for place, entry in enumerate(head) if entry.name in self.converted)
        return next(recurrent, len(head) - 1)

    def _through_time(
        self,
        features: Any,
        given: Sequence[Carry | None],
        lengths: jax.Array | None,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, Carries]:
        states = iter(given)
        batch, steps = jax.tree.leaves(features)[0].shape[:2]
        carries: list[Carry] = []
        x = fold(features)
        *hidden, output = self.backbone.head[self._first_recurrent :]
        for entry in hidden:
            layer = get_layer(self.backbone, entry.name)
            if entry.name in self.converted:
                y, state = layer(unfold(x, batch), next(states), lengths)  # (B, T, F)
                carries.append(state)
                x = fold(y)  # (B·T, F)
            else:
                x = layer(x)  # (B·T, F)
                x = x if entry.activation is None else entry.activation(x)
        y = unfold(x, batch)  # (B, T, F)
        for layer in self.extra:
            y, state = layer(y, next(states), lengths)
            carries.append(state)
        y = dropped_out(y, self.dropout, dropout_key)
        outputs = get_layer(self.backbone, output.name)(y)
        assert outputs.shape[:2] == (batch, steps)  # (B, T, K)
        return outputs, tuple(carries)
