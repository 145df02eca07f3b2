"""Drawn clips that a page can play, with their truth."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.action_clip import make_clip
from prernn_jax.data.drawn.actions import ACTION_CLASSES, EmbeddedConfig
from prernn_jax.data.drawn.faces import EmbeddedFacesConfig, make_face
from prernn_jax.data.drawn.gesture_clip import make_gesture
from prernn_jax.data.drawn.gestures import GESTURE_CLASSES, EmbeddedGesturesConfig
from prernn_jax.inference import Inference

Clip = tuple[NDArray[np.uint8], dict[str, Any]]


def knows_drawn(inference: Inference) -> bool:
    """Whether a model was trained on data that this package draws."""
    if inference.application == "face":
        return inference.box == "picture"
    return inference.classes in (ACTION_CLASSES, GESTURE_CLASSES)


def draw_clips(inference: Inference, count: int) -> list[Clip]:
    """Clips of the embedded test set at the model's size, none for other models.

    Args:
        inference: What the model's file says about its use.
        count: How many.

    Returns:
        Of each its pictures (N, S, S, 3) and its truth: `label`, a class number, or `landmarks`
        (N, 2 P), -0.5 to 0.5.
    """
    if not knows_drawn(inference):
        return []
    return [_draw(inference, 7 * number) for number in range(count)]


def _draw(inference: Inference, index: int) -> Clip:
    if inference.application == "face":
        face = make_face(EmbeddedFacesConfig(size=inference.size), "test", index)
        points = (face.landmarks + 0.5) / inference.size - 0.5
        return _rgb(face.pictures), {"landmarks": points.reshape(len(points), -1).tolist()}
    side = inference.short_side or inference.size
    if inference.application == "gesture":
        hand = make_gesture(EmbeddedGesturesConfig(size=side), "test", index)
        return _rgb(hand.frames), {"label": hand.label}
    action = make_clip(EmbeddedConfig(size=side), "test", index)
    return _rgb(action.frames), {"label": action.label}


def _rgb(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (N, S, S) or (N, S, S, 3) as (N, S, S, 3)."""
    if pictures.ndim == 3:
        return np.repeat(pictures[..., None], 3, axis=-1)
    return np.ascontiguousarray(pictures)
