"""The embedded gestures: reproducible, splits apart, and a gesture that only the cue points out."""

import hashlib
import itertools
from dataclasses import replace

import numpy as np
import pytest

from prernn_jax.data.drawn.gesture_builder import embedded_gestures
from prernn_jax.data.drawn.gesture_clip import (
    Leg,
    draw_legs,
    draw_pose,
    draw_window,
    make_gesture,
)
from prernn_jax.data.drawn.gestures import (
    CUE,
    GESTURE_CLASSES,
    GESTURE_MIRROR,
    POSE_CLASSES,
    REST,
    SPLITS,
    EmbeddedGesturesConfig,
    GestureDifficulty,
)
from prernn_jax.data.records import decode_picture
from prernn_jax.errors import InputError

SMALL = EmbeddedGesturesConfig(train=20, validation=3, test=3, pose_train=12, pose_validation=2)
STILL = replace(SMALL, difficulty=GestureDifficulty(sway=0.0, jitter=0.0, tilt=0.0))
# Digest of the pictures themselves, before compression; any change of the drawing changes it.
CHECKSUM = "ed9d32a3006e4afc"


def test_clips_are_the_same_everywhere():
    digest = hashlib.sha256()
    for split in SPLITS:
        for index in range(12):
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
    labels = [make_gesture(SMALL, "train", index).label for index in range(20)]
    assert sorted(labels) == sorted([*range(10), *range(10)])


@pytest.mark.parametrize("gesture", ["move left", "open"])
def test_the_gesture_follows_the_cue_and_all_else_is_chance(gesture):
    others, places = [], set()
    for seed in range(200):
        legs = draw_legs(SMALL, np.random.default_rng(seed), gesture)
        kinds = [leg.kind for leg in legs]
        cue = kinds.index(CUE)
        assert kinds.count(CUE) == 1
        assert kinds[cue + 1] == gesture
        after = legs[cue + 1]
        assert after.start + after.pairs < SMALL.frames  # whole, also where it is the last
        others += kinds[:cue] + kinds[cue + 2 :]
        places.add(cue)
    assert places == {0, 1, 2}
    share = np.bincount([GESTURE_CLASSES.index(kind) for kind in others], minlength=10)
    share = share / len(others)
    assert share.max() < 0.15
    assert share.min() > 0.06


def test_no_clip_sees_two_gestures():
    """Between two legs lie as many pairs as a clip has frames, less two; one of them is the cut."""
    for seed in range(100):
        legs = draw_legs(SMALL, np.random.default_rng(seed), "push")
        for leg, after in itertools.pairwise(legs):
            assert after.start - (leg.start + leg.pairs) >= SMALL.clip - 2
            assert leg.pairs >= SMALL.clip
        starts = range(SMALL.frames - SMALL.clip + 1)
        inside = [set(range(leg.start, leg.start + leg.pairs)) for leg in legs]
        for start in starts:
            pairs = set(range(start, start + SMALL.clip - 1))
            assert sum(bool(pairs & leg) for leg in inside) <= 1


def pose_of(kind, seed=0):
    """The pose of one leg of five pairs with a still frame before and behind it."""
    return draw_pose(STILL, np.random.default_rng(seed), [Leg(kind, 1, 5)], 8)


@pytest.mark.parametrize(
    ("kind", "field", "sign", "least"),
    [
        ("move right", "x", 1, 14), ("move left", "x", -1, 14), ("move down", "y", 1, 14),
        ("move up", "y", -1, 14), ("turn right", "angle", 1, 1.2), ("turn left", "angle", -1, 1.2),
        ("push", "near", 1, 0.4), ("pull", "near", -1, 0.4),
    ],
)  # fmt: skip
def test_a_gesture_changes_one_thing_from_frame_to_frame(kind, field, sign, least):
    pose = pose_of(kind)
    values = getattr(pose, field)
    assert sign * (values[6] - values[1]) >= least - 1e-6
    for other in {"x", "y", "angle", "near"} - {field}:
        assert np.ptp(getattr(pose, other)) < 0.1
    assert np.ptp(pose.fingers, axis=0).max() == 0
    if field != "near":
        assert values[0] == values[1]
        assert values[6] == values[7]
        assert (sign * np.diff(values[1:7]) > 0).all()


def test_open_and_close_are_changes_of_the_fingers_and_the_cue_is_a_sign_of_its_own():
    for kind, first in (("open", 0.0), ("close", 1.0)):
        fingers = pose_of(kind).fingers
        assert (fingers[:2] == first).all()
        assert (fingers[6:] == 1.0 - first).all()
    pose = pose_of(CUE)
    assert (pose.fingers == (1.0, 0.0, 0.0, 0.0, 1.0)).all()
    assert pose.near.min() > 0.5  # nearer than any other


def test_where_a_gesture_begins_says_nothing_of_where_the_last_one_ended():
    ends, begins = [], []
    for seed in range(300):
        legs = [Leg("move right", 0, 5), Leg("move left", 8, 5)]
        pose = draw_pose(STILL, np.random.default_rng(seed), legs, 14)
        ends.append(pose.x[5])
        begins.append(pose.x[6])
    assert abs(np.corrcoef(ends, begins)[0, 1]) < 0.15


@pytest.mark.parametrize("kind", [*GESTURE_CLASSES, CUE, REST])
def test_a_short_clip_shows_most_of_its_kind(kind):
    firsts = set()
    for seed in range(60):
        legs, first = draw_window(SMALL, np.random.default_rng(seed), kind)
        seen = set(range(first, first + SMALL.clip - 1))
        in_leg = [len(seen & set(range(leg.start, leg.start + leg.pairs))) for leg in legs]
        assert legs[1].kind == kind
        assert first >= 0
        if kind == REST:
            assert in_leg[0] + in_leg[2] <= 1
        else:
            assert in_leg[1] >= SMALL.clip - 2
            assert in_leg[0] == in_leg[2] == 0
        firsts.add(first - legs[1].start)
    assert len(firsts) >= 4


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
        "train": 20, "validation": 3, "test": 3,
    }  # fmt: skip
    record, clip = data.splits["train"][9], make_gesture(SMALL, "train", 9)
    assert record["label"] == clip.label == GESTURE_CLASSES.index("close")
    decoded = np.stack([decode_picture(data, gray=True) for data in record["frames"]])
    assert decoded.shape == (40, 48, 48)
    assert np.abs(decoded.astype(int) - clip.frames.astype(int)).mean() < 5.0
    assert len(record["flow_x"]) == 0
    poses = embedded_gestures(tmp_path, SMALL, pretraining=True)
    assert len(poses.splits["validation"]) == 2
    assert poses.classes == POSE_CLASSES
    assert len(poses.splits["train"][11]["frames"]) == SMALL.clip


def test_settings_that_cannot_be_drawn_are_refused():
    with pytest.raises(InputError, match="give at least 33"):
        EmbeddedGesturesConfig(frames=28)
    with pytest.raises(InputError, match="give at least 3"):
        EmbeddedGesturesConfig(clip=1)
    with pytest.raises(InputError, match="expected at least 5, so that a clip fits"):
        EmbeddedGesturesConfig(clip=5, leg=(4, 6))
    with pytest.raises(InputError, match="split test needs at least one"):
        EmbeddedGesturesConfig(test=0)
