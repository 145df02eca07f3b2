"""The embedded gestures: reproducible, splits apart, and an order that no single clip shows."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from prernn_jax.data.drawn.gesture_builder import embedded_gestures
from prernn_jax.data.drawn.gesture_clip import draw_pose, draw_progress, make_gesture
from prernn_jax.data.drawn.gestures import (
    GESTURE_CLASSES,
    GESTURE_MIRROR,
    POSE_CLASSES,
    SPLITS,
    EmbeddedGesturesConfig,
    GestureDifficulty,
)
from prernn_jax.data.records import decode_picture
from prernn_jax.errors import InputError

SMALL = EmbeddedGesturesConfig(train=24, validation=3, test=3, pose_train=14, pose_validation=2)
STILL = GestureDifficulty(sway=0.0, jitter=0.0)
# Digest of the pictures themselves, before compression; any change of the drawing changes it.
CHECKSUM = "adc94f54104696d4"


def test_clips_are_the_same_everywhere():
    digest = hashlib.sha256()
    for split in SPLITS:
        for index in range(14):
            digest.update(make_gesture(EmbeddedGesturesConfig(), split, index).frames.tobytes())
    assert digest.hexdigest()[:16] == CHECKSUM


def test_another_seed_gives_other_clips_and_another_key():
    other = replace(SMALL, seed=SMALL.seed + 1)
    assert other.key != SMALL.key
    assert np.any(make_gesture(other, "train", 0).frames != make_gesture(SMALL, "train", 0).frames)


def test_splits_share_no_random_stream():
    seen: dict[str, set[tuple[int, ...]]] = {}
    for split in SPLITS:
        origins = [make_gesture(SMALL, split, index).origin for index in range(8)]
        seen[split] = {tuple(origin[k]) for origin in origins for k in ("clip", "hand")}
    every = list(seen.values())
    assert sum(map(len, every)) == len(set.union(*every))


def test_classes_are_equally_frequent():
    labels = [make_gesture(SMALL, "train", index).label for index in range(24)]
    assert sorted(labels) == sorted(list(range(12)) * 2)


@pytest.mark.parametrize("frames", [24, 28, 40])
def test_no_clip_sees_the_stroke_and_the_return(frames):
    """What tells the gestures of a pair apart, the order, is in the sequence alone."""
    for seed in range(50):
        progress = draw_progress(np.random.default_rng(seed), frames)
        assert progress[0] == progress[-1] == 0.0
        assert progress.max() == 1.0
        moves = np.sign(np.diff(progress))
        for start in range(frames - 3):
            assert len(set(moves[start : start + 3]) - {0.0}) <= 1
        first, second = np.flatnonzero(moves > 0), np.flatnonzero(moves < 0)
        assert first.max() < second.min()
        assert 0 <= len(second) - len(first) <= 2


@pytest.mark.parametrize(
    ("one", "other"),
    [("move left", "move right"), ("push", "pull"), ("turn left", "turn right"), ("open", "close")],
)
def test_a_pair_goes_the_same_way_in_the_other_order(one, other):
    config = replace(SMALL, difficulty=STILL)
    progress = draw_progress(np.random.default_rng(3), config.frames)
    first, second = (draw_pose(config, np.random.default_rng(4), k, progress) for k in (one, other))
    if one == "open":
        np.testing.assert_allclose(first.fingers, 1.0 - second.fingers)
        return
    field = {"move left": "x", "push": "near", "turn left": "angle"}[one]
    a, b = getattr(first, field), getattr(second, field)
    np.testing.assert_allclose(a - a.mean(), b.mean() - b, atol=0.1)
    assert np.ptp(a) > (5.0 if field == "x" else 0.25)


def test_the_mirror_names_the_other_class_both_ways():
    for classes in (GESTURE_CLASSES, POSE_CLASSES):
        for label, mirrored in GESTURE_MIRROR.items():
            assert GESTURE_MIRROR[mirrored] == label
            assert classes[label].split()[0] == classes[mirrored].split()[0]
            assert {classes[label].split()[1], classes[mirrored].split()[1]} == {"left", "right"}
    sided = [
        label for label, name in enumerate(GESTURE_CLASSES) if name.endswith(("left", "right"))
    ]
    assert sided == sorted(GESTURE_MIRROR)


def test_prepared_gestures_hold_the_frames(tmp_path):
    data = embedded_gestures(tmp_path, SMALL)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 24, "validation": 3, "test": 3,
    }  # fmt: skip
    record, clip = data.splits["train"][9], make_gesture(SMALL, "train", 9)
    assert record["label"] == clip.label == GESTURE_CLASSES.index("close")
    decoded = np.stack([decode_picture(data, gray=True) for data in record["frames"]])
    assert decoded.shape == (28, 48, 48)
    assert np.abs(decoded.astype(int) - clip.frames.astype(int)).mean() < 5.0
    assert len(record["flow_x"]) == 0
    poses = embedded_gestures(tmp_path, SMALL, pretraining=True)
    assert len(poses.splits["validation"]) == 2
    assert len(poses.splits["train"][13]["frames"]) == SMALL.clip


def test_settings_that_cannot_be_drawn_are_refused():
    with pytest.raises(InputError, match="give at least 24"):
        EmbeddedGesturesConfig(frames=20)
    with pytest.raises(InputError, match="give at least 2"):
        EmbeddedGesturesConfig(clip=1)
    with pytest.raises(InputError, match="split test needs at least one"):
        EmbeddedGesturesConfig(test=0)
