"""From a video to a record and from a record to sequences, as the data sets have them."""

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.action.loader import Stream, read_clip, step_starts
from prernn_jax.data.gesture.sampling import place_clips, read_clips
from prernn_jax.data.media.flow import one_thread
from prernn_jax.data.prepared.clip_files import Recipe, encoded
from prernn_jax.data.records import Record
from prernn_jax.errors import InputError
from prernn_jax.inference import Inference
from prernn_jax.predict.video_input import VideoInput

Sequences = list[tuple[NDArray[np.uint8], int]]
"""For each sequence its pictures (T, ...), padded, and its number of steps."""
Places = list[NDArray[np.int64]]


def record_of(video: VideoInput, inference: Inference) -> Record:
    """Reads a video, computes its flow where the model needs it, and keeps both encoded.

    Args:
        video: The video.
        inference: How the model's videos were prepared.

    Returns:
        A record (`prernn_jax.data.records`); its label means nothing.

    Raises:
        InputError: The video cannot be read, or has one frame only where flow is needed.
    """
    short_side = inference.short_side
    recipe = Recipe(inference.flow, short_side or 0, inference.quality, inference.gray)
    kept: list[list[bytes]] = []
    with one_thread():
        kept.extend(encoded(video.frames(short_side), recipe))
    if not kept:
        raise InputError(f"the video {video.name} has no frames")
    if inference.pictures == "flow" and len(kept) < 2:
        raise InputError(f"the video {video.name} has 1 frame; optical flow needs 2")
    flows = kept[1:] if inference.flow != "none" else []
    return {
        "frames": [pictures[-1] for pictures in kept],
        "flow_x": [pictures[0] for pictures in flows],
        "flow_y": [pictures[1] for pictures in flows],
        "label": 0,
        "spatial_label": 0,
        "name": video.name,
    }


def read_sequences(record: Record, inference: Inference) -> tuple[Sequences, Places]:
    """Cuts a record into the sequences on which the model is tested.

    Args:
        record: See `prernn_jax.data.records`.
        inference: How the model is tested.

    Returns:
        The sequences, and for each the frame (T,) at which each step begins.

    Raises:
        InputError: The video is shorter than a step.
    """
    if inference.application == "gesture":
        return _gesture(record, inference)
    stream: Stream = "temporal" if inference.pictures == "flow" else "spatial"
    span = inference.stack if stream == "temporal" else 1
    total = len(record["flow_x" if stream == "temporal" else "frames"])
    sequences, places = [], []
    for window in range(inference.windows):
        offset = (window + 0.5) / inference.windows
        sequences.append(read_clip(record, stream, inference.steps, span, inference.size, offset))
        places.append(step_starts(max(total - span + 1, 1), inference.steps, offset))
    return sequences, places


def _gesture(record: Record, inference: Inference) -> tuple[Sequences, Places]:
    clips, length, _ = read_clips(
        record,
        inference.pictures,
        clips=inference.steps,
        length=inference.clip_length,
        size=inference.size,
        channels=inference.channels,
        stride=inference.stride,
    )
    frames, steps = len(record["frames"]), inference.steps
    where = place_clips(frames, steps, inference.clip_length, inference.stride, None)
    return [(clips, length)], [where[:, 0]]
