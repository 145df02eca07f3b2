"""Augmentation and sampling: one view for all pictures of a clip, flow mirrored with its sign."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prernn_jax.data.action.loader import read_clip, step_starts
from prernn_jax.data.media.augment import (
    TSN_AUGMENTATION,
    Augmentation,
    View,
    apply_view,
    centre_view,
    draw_view,
    ten_views,
)
from prernn_jax.errors import InputError


def png(picture: np.ndarray) -> bytes:
    """Without loss, so that values can be compared exactly."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", picture)[1].tobytes()


def make_record(frames: int = 9, size: int = 16) -> dict:
    rng = np.random.default_rng(1)
    draw = lambda *shape: rng.integers(0, 256, shape, dtype=np.uint8)  # noqa: E731
    pictures = {
        "frames": draw(frames, size, size, 3),
        "flow_x": draw(frames - 1, size, size),
        "flow_y": draw(frames - 1, size, size),
    }
    encoded = {kind: [png(p) for p in values] for kind, values in pictures.items()}
    return {**encoded, "label": 3, "spatial_label": 1, "name": "clip", "pictures": pictures}


@given(
    height=st.integers(16, 80),
    width=st.integers(16, 80),
    seed=st.integers(0, 1000),
    corners=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_views_lie_inside_the_picture(height, width, seed, corners):
    augmentation = Augmentation((1.0, 0.875, 0.75), corners, flip=0.5)
    view = draw_view(np.random.default_rng(seed), height, width, augmentation)
    assert view.top >= 0
    assert view.left >= 0
    assert view.top + view.height <= height
    assert view.left + view.width <= width
    picture = np.zeros((height, width, 3), np.uint8)
    assert apply_view(picture, view, 20).shape == (20, 20, 3)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_flipping_twice_is_the_identity(seed):
    picture = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    flip = View(0, 0, 12, 12, flip=True)
    np.testing.assert_array_equal(apply_view(apply_view(picture, flip, 12), flip, 12), picture)


def test_corner_crops_are_the_corners_and_the_centre():
    rng = np.random.default_rng(0)
    views = {draw_view(rng, 100, 120, Augmentation((0.5,), True, 0.0))[:2] for _ in range(100)}
    assert views == {(0, 0), (0, 70), (50, 0), (50, 70), (25, 35)}
    sizes = {draw_view(rng, 256, 340, TSN_AUGMENTATION)[2:4] for _ in range(300)}
    assert (256, 256) in sizes
    assert (169, 192) in sizes
    assert (169, 256) not in sizes  # height and width are neighbours at most


def test_the_middle_is_not_resized_where_it_fits():
    assert centre_view(256, 340, 224) == View(16, 58, 224, 224, False)
    assert centre_view(64, 64, 64) == View(0, 0, 64, 64, False)
    assert centre_view(256, 340, 64) == View(0, 42, 256, 256, False)


def test_ten_views_are_corners_and_centre_and_their_mirror_images():
    views = ten_views(256, 340, 224)
    assert {(v.top, v.left) for v in views} == {(0, 0), (0, 116), (32, 0), (32, 116), (16, 58)}
    assert [v.flip for v in views] == [False] * 5 + [True] * 5
    assert views[4] == centre_view(256, 340, 224)
    assert [v._replace(flip=True) for v in views[:5]] == list(views[5:])


def test_every_picture_of_a_clip_has_the_same_view():
    record = make_record()
    same = [record["frames"][0]] * 9
    rng = np.random.default_rng(3)
    clip, _ = read_clip({**record, "frames": same}, "spatial", 5, 1, 16, rng, Augmentation())
    assert clip.shape == (5, 16, 16, 3)
    for step in clip:
        np.testing.assert_array_equal(step, clip[0])


def test_a_mirrored_stack_has_mirrored_pictures_and_the_other_sign_in_x():
    record = make_record()
    always, never = (Augmentation((1.0,), False, flip) for flip in (1.0, 0.0))
    read = lambda how: read_clip(record, "temporal", 3, 2, 16, np.random.default_rng(5), how)[0]  # noqa: E731
    plain, mirrored = read(never), read(always)
    np.testing.assert_array_equal(mirrored[..., 0::2], 255 - plain[:, :, ::-1, 0::2])
    np.testing.assert_array_equal(mirrored[..., 1::2], plain[:, :, ::-1, 1::2])


def test_stacks_hold_neighbouring_pairs_in_order():
    record = make_record()
    clip, length = read_clip(record, "temporal", 2, 3, 16, 0.5)
    starts = step_starts(8 - 3 + 1, 2, 0.5)
    assert length == 2
    for step, start in zip(clip, starts, strict=True):
        for pair in range(3):
            x, y = (record["pictures"][k][start + pair] for k in ("flow_x", "flow_y"))
            np.testing.assert_array_equal(step[..., 2 * pair], x)
            np.testing.assert_array_equal(step[..., 2 * pair + 1], y)


@given(places=st.integers(1, 60), steps=st.integers(1, 20), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_steps_rise_and_stay_in_their_segments(places, steps, seed):
    for offset in (0.5, np.random.default_rng(seed)):
        starts = step_starts(places, steps, offset)
        count = min(places, steps)
        assert len(starts) == count
        edges = np.arange(count + 1) * places / count
        assert np.all(starts >= np.floor(edges[:-1]))
        assert np.all(starts <= edges[1:])
        assert np.all(starts < places)


def test_short_clips_are_padded_with_zeros():
    record = make_record(frames=3)
    clip, length = read_clip(record, "spatial", 5, 1, 16, 0.5)
    assert length == 3
    assert np.all(clip[3:] == 0)
    stack, length = read_clip(record, "temporal", 4, 3, 16, 0.5)  # two pairs, stacks of three
    assert length == 1
    np.testing.assert_array_equal(stack[0, ..., 2:4], stack[0, ..., 4:6])


def test_bad_input_is_explained():
    with pytest.raises(InputError, match="scales must lie in"):
        Augmentation(scales=(1.2,))
    with pytest.raises(InputError, match="probability of a flip"):
        Augmentation(flip=2.0)
    with pytest.raises(InputError, match="'spatial' or 'temporal'"):
        read_clip(make_record(), "audio", 2, 1, 16, 0.5)
    without = {**make_record(), "flow_x": [], "flow_y": []}
    with pytest.raises(InputError, match="'clip' has no flow_x"):
        read_clip(without, "temporal", 2, 1, 16, 0.5)
    broken = {**make_record(), "frames": [b"no picture"] * 9}
    with pytest.raises(InputError, match="does not decode"):
        read_clip(broken, "spatial", 2, 1, 16, 0.5)
