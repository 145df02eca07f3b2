"""Clips of faces: landmarks stay on the picture through every cut, and every frame counts once."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from prernn_jax.data.face.landmarks import FLIP, POINTS
from prernn_jax.data.face.loader import (
    FaceAugmentation,
    FaceView,
    draw_face_view,
    face_eval_loader,
    face_train_loader,
    read_faces,
)
from prernn_jax.data.face.records import check_record
from prernn_jax.data.records import encode_picture
from prernn_jax.errors import InputError

SIDE = 96


def dots(centres):
    """A picture with a soft bright dot at each point (P, 2)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    square = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2
    picture = 255 * np.exp(-square / 8.0).sum(axis=0)
    return np.repeat(picture.clip(max=255).astype(np.uint8)[..., None], 3, axis=-1)


def record(frames=1, seed=0, box=None):
    """A video in which landmarks 0, 36 and 57 are dots; the others lie on the first."""
    rng = np.random.default_rng(seed)
    places = np.array([[30.0, 30.0], [60.0, 34.0], [46.0, 62.0]])
    shown = places + rng.uniform(-4, 4, (frames, 1, 2))
    landmarks = np.repeat(shown[:, :1], POINTS, axis=1).astype(np.float32)
    landmarks[:, [0, 36, 57]] = shown
    box = [10.5, 8.5, 85.5, 83.5] if box is None else box
    return {
        "frames": [encode_picture(dots(points), 100) for points in shown],
        "landmarks": landmarks,
        "boxes": np.tile(np.array(box, np.float32), (frames, 1)),
        "name": f"video {seed}",
        "category": "",
    }


def brightest(picture, near, radius=4):
    """The middle of the light around a point, in pixels."""
    size = len(picture)
    y, x = np.mgrid[:size, :size]
    weight = picture[..., 0].astype(np.float64)
    weight[np.hypot(x - near[0], y - near[1]) > radius] = 0
    weight[weight < 40] = 0
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


views = st.builds(
    FaceView,
    scale=st.floats(0.9, 1.4),
    shift_x=st.floats(-0.1, 0.1),
    shift_y=st.floats(-0.1, 0.1),
    flip=st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(views, st.sampled_from([64, 75, 96]), st.integers(0, 5))
def test_drawn_landmarks_move_with_the_picture(view, size, seed):
    clip, landmarks, length = read_faces(record(seed=seed), 0, 1, size, view)
    assert length == 1
    for point in (0, 36, 57):
        where = FLIP[point] if view.flip else point  # FLIP is its own inverse
        expected = (landmarks[0, where] + 0.5) * size - 0.5
        assert np.abs(brightest(clip[0], expected) - expected).max() < 0.6


@settings(deadline=None, max_examples=30)
@given(views, st.integers(0, 5))
def test_mirrored_twice_is_the_same(view, seed):
    whole, once = (read_faces(record(2, seed), 0, 2, 48, view._replace(flip=f)) for f in (0, 1))
    np.testing.assert_array_equal(once[0][:, :, ::-1], whole[0])
    back = once[1][:, FLIP] * np.array([-1, 1])
    np.testing.assert_allclose(back, whole[1], atol=1e-6)


@pytest.mark.parametrize("box", [[-30.5, -20.5, 44.5, 54.5], [60.5, 50.5, 140.5, 130.5]])
def test_a_box_may_reach_over_the_edge(box):
    one = record(box=box)
    check_record(one, SIDE, SIDE)
    clip, landmarks, _ = read_faces(one, 0, 1, 75, FaceView())
    expected = (np.array([60.0, 34.0]) - box[:2]) / (box[2] - box[0]) - 0.5
    assert clip.shape == (1, 75, 75, 3)
    offset = landmarks[0, 36] - expected - (one["landmarks"][0, 36] - [60.0, 34.0]) / 75
    assert np.abs(offset).max() < 0.02


def test_the_whole_picture_is_untouched():
    one = record(box=[-0.5, -0.5, SIDE - 0.5, SIDE - 0.5])
    clip, landmarks, _ = read_faces(one, 0, 1, SIDE, FaceView())
    np.testing.assert_allclose((landmarks + 0.5) * SIDE - 0.5, one["landmarks"], atol=1e-4)
    assert np.abs(clip[0].astype(int) - dots(one["landmarks"][0, [0, 36, 57]])).max() <= 4


def test_one_draw_serves_all_frames():
    same = [record(1, 3)["frames"][0]] * 4
    still = {**record(4, 3), "frames": same}
    clip, _, _ = read_faces(still, 0, 4, 40, FaceView(1.1, 0.05, -0.05, True))
    for frame in clip[1:]:
        np.testing.assert_array_equal(frame, clip[0])


def test_draws_stay_in_their_range():
    rng = np.random.default_rng(0)
    drawn = [draw_face_view(rng, FaceAugmentation(0.25, 0.1, 0.5)) for _ in range(300)]
    scales = np.array([view.scale for view in drawn])
    assert 0.8 <= scales.min() < 0.85 < 1.2 < scales.max() <= 1.25
    shifts = np.array([[view.shift_x, view.shift_y] for view in drawn])
    assert 0.09 < np.abs(shifts).max() <= 0.1
    assert 0.4 < np.mean([view.flip for view in drawn]) < 0.6
    assert draw_face_view(rng, FaceAugmentation(0, 0, 0)) == FaceView()
    with pytest.raises(InputError, match="augmentation of faces"):
        FaceAugmentation(scale=1.0)


def test_testing_sees_every_frame_once_and_marks_the_rest():
    source = [record(7, 0), record(3, 1), record(2, 2)]
    loader = face_eval_loader(source, batch_size=2, steps=3, size=32)
    batches = list(loader)
    assert len(batches) == 3
    assert all(batch["clips"].shape == (2, 3, 32, 32, 3) for batch in batches)
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    np.testing.assert_array_equal(whole["video"], [0, 0, 0, 1, 2, -1])
    np.testing.assert_array_equal(whole["lengths"], [3, 3, 1, 3, 2, 1])
    np.testing.assert_array_equal(whole["mask"], [True] * 5 + [False])
    assert not whole["clips"][2, 1:].any()
    assert not whole["landmarks"][2, 1:].any()
    seen = whole["landmarks"][:3].reshape(-1, POINTS, 2)[:7]
    expected = read_faces(source[0], 0, 7, 32, FaceView())[1]
    np.testing.assert_array_equal(seen, expected)


def test_training_draws_consecutive_frames_of_long_and_short_videos():
    source = [record(12, 0), record(3, 1)]
    loader = face_train_loader(
        source, batch_size=1, steps=4, size=32, augment=FaceAugmentation(0, 0, 0), seed=0
    )
    assert loader.batches_per_epoch == 4  # 3 windows and 1
    batches = [next(loader) for _ in range(16)]
    loader.close()
    lengths = np.array([batch["lengths"][0] for batch in batches])
    assert sorted(lengths.tolist()) == [3] * 4 + [4] * 12
    long = read_faces(source[0], 0, 12, 32, FaceView())[1]
    starts = set()
    for batch in batches:
        if batch["lengths"][0] == 4:
            first = batch["landmarks"][0, 0]
            start = int(np.argmin(np.abs(long - first).sum(axis=(1, 2))))
            np.testing.assert_array_equal(batch["landmarks"][0], long[start : start + 4])
            starts.add(start)
    assert len(starts) > 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": []}, "has no frames"),
        ({"landmarks": np.zeros((2, 67, 2), np.float32)}, r"landmarks \(2, 67, 2\)"),
        ({"landmarks": np.full((2, 68, 2), np.nan, np.float32)}, "not finite"),
        ({"category": "4"}, "category '4'"),
        ({"boxes": np.array([[0, 0, 9, 9], [0, 0, np.nan, 9]], np.float32)}, "frame 1 is not fin"),
        ({"boxes": np.array([[0, 0, 9, 8], [0, 0, 9, 9]], np.float32)}, "frame 0 is not a square"),
        ({"boxes": np.array([[9, 9, 0, 0], [0, 0, 9, 9]], np.float32)}, "frame 0 is not a square"),
        ({"boxes": np.array([[0, 0, 9, 9], [96, 0, 120, 24]], np.float32)}, "frame 1 lies outside"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(change, message):
    with pytest.raises(InputError, match=rf"the video 'video 0'.*{message}"):
        check_record({**record(2), **change}, SIDE, SIDE)
