"""Clips of a gesture: one after the other, in the video, one view for all; faults are named."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prernn_jax.data.gesture.sampling import place_clips, read_clips
from prernn_jax.data.media.augment import Augmentation
from prernn_jax.data.records import encode_picture
from prernn_jax.errors import InputError

SIDE = 24


def record(frames, *, gray=True, flow=False):
    """A video whose picture k has the grey value 3 k, and whose flow k the value 2 k."""
    shape = (SIDE, SIDE) if gray else (SIDE, SIDE, 3)
    plain = [encode_picture(np.full(shape, 3 * k, np.uint8), 100) for k in range(frames)]
    pairs = [encode_picture(np.full((SIDE, SIDE), 2 * k, np.uint8), 100) for k in range(frames - 1)]
    empty = pairs if flow else []
    return {"frames": plain, "flow_x": empty, "flow_y": empty, "label": 0, "name": "hand 7"}


@given(
    total=st.integers(0, 90),
    clips=st.integers(1, 12),
    length=st.integers(1, 16),
    stride=st.integers(1, 4),
    seed=st.none() | st.integers(0, 1000),
)
def test_clips_lie_in_the_video_one_after_the_other(total, clips, length, stride, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    places = place_clips(total, clips, length, stride, rng)
    assert places.shape[1] == length
    flat = places.ravel()
    assert np.all(np.diff(flat) == stride)
    assert np.all((flat >= 0) & (flat < total))
    fits = 0 if total == 0 else ((total - 1) // stride + 1) // length
    assert len(places) == min(clips, fits)
    if len(places) and seed is None:  # in the middle, to a frame
        assert abs(flat[0] - (total - 1 - flat[-1])) <= 1


@given(st.integers(0, 10))
def test_every_start_can_come(spare):
    starts = {
        int(place_clips(24 + spare, 6, 4, 1, np.random.default_rng(seed))[0, 0])
        for seed in range(200)
    }
    assert starts == set(range(spare + 1))


def test_nvgesture_is_ten_clips_of_eight_frames():
    assert place_clips(80, 10, 8, 1, np.random.default_rng(0)).ravel().tolist() == list(range(80))


@given(
    frames=st.integers(4, 30),
    clips=st.integers(1, 5),
    stride=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_one_view_serves_all_pictures(frames, clips, stride, seed):
    """The pictures differ in their grey value alone, and so do their crops."""
    ramp = np.tile(np.arange(0, 96, 4, dtype=np.uint8), (SIDE, 1))
    pictures = [io.BytesIO(encode_picture(ramp + 5 * k, 100)).getvalue() for k in range(frames)]
    source = {"frames": pictures, "label": 3, "name": "ramp"}
    wanted = min(clips, ((frames - 1) // stride + 1) // 2)
    got, length, _ = read_clips(
        source, "frames", clips, 2, 16, 1, stride, np.random.default_rng(seed),
        Augmentation(scales=(1.0, 0.7), flip=0.5),
    )  # fmt: skip
    assert got.shape == (clips, 2, 16, 16, 1)
    assert length == wanted
    assert not got[length:].any()
    flat = got[:length].reshape(-1, 16, 16).astype(int)
    for before, after in pairwise(flat):
        assert np.abs(after - before - 5 * stride).max() <= 3  # JPEG, and interpolation


def test_a_mirrored_clip_has_the_mirrored_class_and_flow():
    augmentation = Augmentation(scales=(1.0,), flip=1.0)
    rng = np.random.default_rng(0)
    source = record(9, flow=True)
    clip, _, label = read_clips(
        source, "flow", 2, 4, SIDE, 2, 1, rng, augmentation, {0: 1, 1: 0}
    )  # fmt: skip
    assert label == 1
    assert clip.shape == (2, 4, SIDE, SIDE, 2)
    assert np.all(clip[..., 0] == 255 - clip[..., 1])
    assert read_clips(source, "frames", 2, 4, SIDE, 1, 1, rng, augmentation, {4: 5})[2] == 0


def test_grey_pictures_for_a_network_of_three_channels_and_the_last_flow_twice():
    clip, _, _ = read_clips(record(8), "frames", 2, 4, SIDE, 3)
    assert clip.shape == (2, 4, SIDE, SIDE, 3)
    assert np.ptp(clip, axis=-1).max() == 0
    flow, length, _ = read_clips(record(8, flow=True), "flow", 2, 4, SIDE, 2)
    assert length == 2
    assert np.all(flow[1, 3] == flow[1, 2])
    assert np.all(flow[1, 2] != flow[1, 1])


def test_too_few_frames_and_missing_flow_name_the_video():
    with pytest.raises(InputError, match=r"'hand 7' has 3 frames; a clip of 4 .* needs 4"):
        read_clips(record(3), "frames", 2, 4, SIDE, 1)
    with pytest.raises(InputError, match=r"'hand 7' has 9 frames; .* stride of 3 needs 10"):
        read_clips(record(9), "frames", 2, 4, SIDE, 1, stride=3)
    with pytest.raises(InputError, match=r"'hand 7' has no flow_x"):
        read_clips(record(8), "flow", 2, 4, SIDE, 2)
