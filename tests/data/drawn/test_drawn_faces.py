"""The embedded faces: the same for the same settings, different people, and noise that survives."""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from prernn_jax.data.drawn.face_drawing import Nuisance, draw_faces, spoil
from prernn_jax.data.drawn.face_shape import CHANNELS, draw_identity, draw_motion, pose_face
from prernn_jax.data.drawn.faces import SPLITS, EmbeddedFacesConfig, make_face
from prernn_jax.data.face.datasets import embedded_faces
from prernn_jax.data.face.landmarks import GROUPS, OUTER_EYES, mirror
from prernn_jax.data.face.loader import FaceAugmentation, face_eval_loader, face_train_loader
from prernn_jax.data.face.records import check_record
from prernn_jax.data.records import PreparedSplit, decode_picture
from prernn_jax.errors import InputError

SMALL = EmbeddedFacesConfig(train=4, validation=2, test=3, static_train=6, static_validation=2)


def still(**moved):
    """Motion (1, C) of a face that does only what is named."""
    motion = np.zeros((1, len(CHANNELS)))
    for name, value in moved.items():
        motion[0, CHANNELS.index(name)] = value
    return motion


def person(seed=0):
    return draw_identity(np.random.default_rng(seed))


def test_the_order_is_that_of_ibug():
    (points,), _ = pose_face(person(), still())
    middle = {name: points[part].mean(axis=0) for name, part in GROUPS.items()}
    for kind in ("brow", "eye"):
        assert middle[f"left_{kind}"][0] < 0 < middle[f"right_{kind}"][0]
    order = ["left_brow", "left_eye", "lower_nose", "outer_mouth"]  # from above to below
    heights = [middle[name][1] for name in order] + [points[8, 1]]
    assert heights == sorted(heights)
    assert np.argmin(points[:, 0]) in (0, 1)
    assert np.argmax(points[:, 0]) in (15, 16)
    assert points[8, 1] == points[:, 1].max()
    assert points[OUTER_EYES[0], 0] < points[39, 0] < points[42, 0] < points[OUTER_EYES[1], 0]
    assert points[37, 1] < points[41, 1]  # upper lid over lower lid
    assert points[51, 1] < points[62, 1] < points[66, 1] < points[57, 1]  # lips, from above


def test_a_face_that_looks_ahead_is_its_own_mirror_image():
    (points,), _ = pose_face(person(), still(opening=0.1, curve=0.3))
    np.testing.assert_allclose(mirror(points, width=1), points, atol=1e-9)


def test_channels_do_what_they_are_called():
    who = person()
    (rest,), _ = pose_face(who, still())

    def change(**moved):
        return pose_face(who, still(**moved))[0][0] - rest

    np.testing.assert_allclose(change(shift_x=0.2), np.tile([0.2, 0.0], (68, 1)), atol=1e-9)
    np.testing.assert_allclose(change(log_scale=np.log(2)), rest, atol=1e-9)
    tip = GROUPS["nose_bridge"].stop - 1
    assert change(yaw=0.4)[tip, 0] > 0.1  # the nose stands out and moves most
    assert change(opening=0.1)[66, 1] > 0.02
    assert change(curve=0.3)[48, 1] < 0 < change(curve=-0.3)[48, 1]  # a smile lifts the corners
    assert change(brows=0.05)[19, 1] < -0.04
    closed = rest + change(lids=-0.7)
    assert closed[41, 1] - closed[37, 1] < 0.3 * (rest[41, 1] - rest[37, 1])


def test_motion_is_smooth_and_as_large_as_it_should_be():
    rng = np.random.default_rng(0)
    tracks = np.stack([draw_motion(rng, np.ones(3), 10) for _ in range(2000)])  # (K, N, C)
    # 0.7² + 2 · 0.5² · mean of sin²; from frame to frame at most 2π · 0.075 of a sinusoid.
    assert tracks.std() == pytest.approx(np.sqrt(0.7**2 + 2 * 0.5**2 / 2), rel=0.03)
    assert np.diff(tracks, axis=1).std() < 0.2


def test_the_drawing_follows_the_landmarks():
    who = replace(person(), skin=0.8, ground=0.2, lip_tone=0.4, hair_tone=0.1)
    motion = still(roll=0.3, yaw=0.2, opening=0.2, shift_x=0.1)
    landmarks, top = pose_face(who, motion)
    (picture,) = draw_faces(who, landmarks, top, motion, 128)
    assert picture.min() >= 0
    assert picture.max() <= 1

    def level(point):
        x, y = np.rint((point + 1) / 2 * 128 - 0.5).astype(int)
        return picture[y, x]

    points = landmarks[0]
    assert level(points[[62, 66]].mean(axis=0)) == pytest.approx(0.08, abs=0.05)  # open mouth
    assert level(points[[2, 41]].mean(axis=0)) == pytest.approx(0.8, abs=0.02)  # cheek
    outside = points[0] + 0.4 * (points[0] - points[16])
    assert level(np.clip(outside, -0.95, 0.95)) == pytest.approx(0.2, abs=0.02)


def test_nuisance_is_what_it_says():
    plain = np.full((400, 32, 32), 0.7, np.float32)
    nothing = Nuisance(noise=0, gain=0, light=0, box=0, dropped=0)

    def spoilt(**kind):
        levels = spoil(plain, replace(nothing, **kind), np.random.default_rng(0)).astype(float)
        return (levels / 255 - 0.5) * 2.5 + 0.5

    np.testing.assert_allclose(spoilt(), 0.7, atol=0.01)
    assert spoilt(noise=0.3).std() == pytest.approx(0.3, rel=0.02)
    assert 0.1 < np.ptp(spoilt(gain=0.4).mean(axis=(1, 2))) < 0.17
    light = spoilt(light=0.2)
    assert light.mean(axis=(1, 2)).std() == pytest.approx(0.2, rel=0.15)
    slope = (light[:, :, -1] - light[:, :, 0]).mean(axis=1) / 2
    assert slope.std() == pytest.approx(0.2, rel=0.15)
    boxed = spoilt(box=0.6, box_side=(0.5, 0.9)).std(axis=(1, 2)) > 0.01
    assert 0.5 < boxed.mean() < 0.7
    dropped = np.abs(spoilt(dropped=0.2) - 0.5).max(axis=(1, 2)) < 0.01
    assert 0.14 < dropped.mean() < 0.26


def test_the_same_settings_give_the_same_and_splits_differ():
    first = {split: make_face(SMALL, split, 1) for split in SPLITS}
    again = make_face(SMALL, "train", 1)
    np.testing.assert_array_equal(again.pictures, first["train"].pictures)
    np.testing.assert_array_equal(again.landmarks, first["train"].landmarks)
    seeds = {make_face(SMALL, split, k).seed for split in SPLITS for k in range(2)}
    assert len(seeds) == 2 * len(SPLITS)
    assert len(first["train"].pictures) == SMALL.frames
    assert len(first["static_train"].pictures) == 1


def test_every_field_changes_the_key():
    others = [
        replace(SMALL, seed=1),
        replace(SMALL, size=64),
        replace(SMALL, motion=replace(SMALL.motion, yaw=0.1)),
        replace(SMALL, nuisance=replace(SMALL.nuisance, noise=0.1)),
    ]
    assert len({SMALL.key, *(other.key for other in others)}) == 5


def test_what_is_written_is_what_was_drawn(tmp_path: Path):
    sequences, stills = (
        embedded_faces(tmp_path, SMALL),
        embedded_faces(tmp_path, SMALL, pretraining=True),
    )
    assert {name: len(source) for name, source in sequences.splits.items()} == {
        "train": 4,
        "validation": 2,
        "test": 3,
    }
    assert {name: len(source) for name, source in stills.splits.items()} == {
        "train": 6,
        "validation": 2,
    }
    for source, split in (
        (sequences.splits["test"], "test"),
        (stills.splits["train"], "static_train"),
    ):
        for index in range(len(source)):
            record, drawn = source[index], make_face(SMALL, split, index)
            check_record(record, SMALL.size, SMALL.size)
            np.testing.assert_array_equal(record["landmarks"], drawn.landmarks)
            shown = np.stack([decode_picture(data, gray=True) for data in record["frames"]])
            # JPEG takes nothing of the noise, whose sd is 30 levels.
            assert (shown.astype(float) - drawn.pictures).std() < 2.0


@pytest.mark.parametrize("change", [{"size": 8}, {"frames": 0}, {"test": 0}])
def test_impossible_settings(change):
    with pytest.raises(InputError, match=r"embedded faces: .* expected"):
        replace(SMALL, **change)


def damage(folder, split):
    (path,) = folder.rglob(f"*-{split}.array_record*")
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_flipped_bit_of_drawn_data_is_one_line(tmp_path, workers):
    source = embedded_faces(tmp_path, SMALL).splits["train"]
    damage(tmp_path, "train")
    loader = face_train_loader(
        source, batch_size=2, steps=3, size=32, augment=FaceAugmentation(), seed=0, workers=workers
    )
    with pytest.raises(InputError, match=r"faces-.* are damaged .*; delete that folder") as caught:
        list(itertools.islice(loader, 4))
    loader.close()
    assert "\n" not in str(caught.value)


def test_drawn_data_that_have_gone_are_one_line(tmp_path):
    source = embedded_faces(tmp_path, SMALL).splits["validation"]
    shutil.rmtree(tmp_path / "embedded_faces")
    with pytest.raises(InputError, match=r"faces-.* are gone"):
        source[0]


def test_data_drawn_by_another_version_are_refused(tmp_path):
    embedded_faces(tmp_path, SMALL)
    (path,) = tmp_path.rglob("metadata.json")
    path.write_text(path.read_text().replace(cv2.__version__, "1.2.3"))
    with pytest.raises(InputError, match=r"was prepared with opencv 1\.2\.3, but .*: delete it"):
        embedded_faces(tmp_path, SMALL)


def test_frames_are_counted_without_reading_them(tmp_path, monkeypatch):
    sequences, stills = (
        embedded_faces(tmp_path, SMALL),
        embedded_faces(tmp_path, SMALL, pretraining=True),
    )
    for data in (sequences, stills):
        for source in data.splits.values():
            counted = [source.frames_of(k) for k in range(len(source))]
            assert counted == [len(source[k]["frames"]) for k in range(len(source))]
    monkeypatch.setattr(PreparedSplit, "__getitem__", None)
    assert len(face_eval_loader(stills.splits["train"], batch_size=2, steps=1, size=8)) == 3
