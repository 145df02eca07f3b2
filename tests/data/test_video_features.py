"""Files of features: what is accepted, and each fault in one line."""

from pathlib import Path

import numpy as np
import pytest
from feature_file import arrays, write

from prernn_jax.data.video_features import read_video_features
from prernn_jax.errors import InputError


def test_a_good_file(tmp_path):
    found = read_video_features(write(tmp_path / "f.npz"))
    given = arrays()
    np.testing.assert_array_equal(found.values(np.array([3, 1]), 6), given["features"][[3, 1]])
    assert found.values(np.array([0]), 3).shape == (1, 3, 12)
    np.testing.assert_array_equal(
        found.values(np.array([0]), 3)[0], given["features"][0, [1, 3, 5]]
    )
    assert len(np.unique(found.groups)) == 4 * 6
    assert found.test.sum() == 16


def test_integers_with_a_scale(tmp_path):
    scale = np.linspace(0.1, 1.2, 12).astype(np.float32)
    features = np.random.default_rng(0).integers(0, 255, (48, 6, 12)).astype(np.uint8)
    found = read_video_features(write(tmp_path / "f.npz", features=features, scale=scale))
    np.testing.assert_allclose(found.values(np.array([5]), 6)[0], features[5] * scale, rtol=1e-6)


def bad_value():
    features = arrays()["features"]
    features[7, 2, 3] = np.nan
    return features


def mixed_groups():
    test = arrays()["is_test_split1"]
    test[0] = False  # its group's other clip stays in the test set
    return test


NAMES = arrays()["names"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, r"no array 'labels'; found features.*expected features \(N, T, D\)"),
        ({"features": np.zeros((48, 12))}, r"features are float64 of shape \(48, 12\); expected"),
        ({"features": np.zeros((0, 6, 12))}, r"of shape \(0, 6, 12\)"),
        ({"features": np.full((48, 6, 12), "x")}, "features are <U1"),
        ({"features": bad_value()}, r"features of Class0/v_Class0_g04_c02.avi hold NaN"),
        ({"scale": np.full(12, np.inf, np.float32)}, "the scale hold NaN or infinite"),
        ({"scale": np.ones(5)}, r"scale has shape \(5,\); expected \(12,\)"),
        ({"labels": np.zeros(47, int)}, r"labels is int64 of shape \(47,\); expected integers"),
        ({"labels": np.zeros(48)}, "labels is float64"),
        ({"labels": np.full(48, -1)}, "labels from -1"),
        ({"names": np.array([NAMES[0]] * 48)}, "is there twice"),
        ({"is_test_split1": None}, "0 arrays say what is for testing"),
        ({"is_test_split2": np.zeros(48, bool)}, "2 arrays say what is for testing"),
        ({"is_test_split1": np.ones(48, bool)}, "leaves one of the two sets empty"),
        ({"is_test_split1": np.ones(48)}, "expected booleans"),
        ({"is_test_split1": mixed_groups()}, r"one group are in both sets.*g01_c01.*g01_c02"),
    ],
)
def test_faults_are_named(tmp_path, changes, message):
    path = write(tmp_path / "f.npz", **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_video_features(path)
    assert "\n" not in str(caught.value)


def test_one_of_several_test_sets_is_named(tmp_path):
    path = write(tmp_path / "f.npz", is_test_split2=~arrays()["is_test_split1"])
    assert read_video_features(path, "is_test_split2").test.sum() == 32
    with pytest.raises(InputError, match="no array 'is_test_split3'"):
        read_video_features(path, "is_test_split3")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"text"])
def test_no_npz_file(tmp_path, content):
    path = tmp_path / "f.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*f\.npz as an npz file"):
        read_video_features(path)
    with pytest.raises(InputError, match="cannot read"):
        read_video_features(Path("/nowhere.npz"))


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, features=np.array([{}, {}], dtype=object))
    with pytest.raises(InputError, match="cannot read"):
        read_video_features(path)


def test_the_real_features(shared_data):
    found = read_video_features(shared_data / "ucf101_features" / "first10_vgg16_fc6.npz")
    assert found.features.shape == (1374, 25, 4096)
    assert (found.test.sum(), (~found.test).sum()) == (389, 985)
    assert len(np.unique(found.groups)) == 250  # 25 groups in each of ten classes
