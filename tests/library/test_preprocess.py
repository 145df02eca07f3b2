"""Preprocessing: every step against numpy and PIL, the mean volume, round trip, errors."""

import jax
import numpy as np
import pytest
from PIL import Image

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing

RNG = np.random.default_rng(0)


def _photo(height, width):
    """A smooth picture, as photographs are."""
    y, x = np.mgrid[:height, :width] / 20
    return np.stack([127 + 100 * np.sin(x + y * k) for k in (0.5, 1, 2)], -1).astype(np.uint8)


def test_torchvisions_values():
    preprocess = Preprocessing(
        scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop=(4, 6)
    )
    frames = RNG.integers(0, 256, (2, 8, 10, 3), np.uint8)
    cut = frames[:, 2:6, 2:8].astype(np.float64) / 255
    expected = (cut - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(preprocess(frames), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (50, 50)])
def test_the_resize_is_pils(shape):
    photo = _photo(*shape)
    ours = Preprocessing(resize=32)(photo)
    short = min(shape)
    size = (shape[0] * 32 // short, shape[1] * 32 // short)
    picture = Image.fromarray(photo).resize(size[::-1], Image.Resampling.BILINEAR)
    assert ours.shape == (*size, 3)
    assert np.abs(np.asarray(ours) - np.asarray(picture)).max() <= 1


def test_the_resize_without_antialias_is_opencvs():
    import cv2

    photo = _photo(96, 150)
    ours = Preprocessing(channels="bgr", resize=(64, 85), antialias=False)(photo)
    theirs = cv2.resize(np.ascontiguousarray(photo[..., ::-1]), (85, 64))
    assert np.abs(np.asarray(ours) - theirs).max() <= 1


def test_bgr_mean_and_leading_axes():
    frames = RNG.integers(0, 256, (2, 3, 5, 5, 3), np.uint8)
    ours = Preprocessing(channels="bgr", mean=(1.0, 2.0, 3.0))(frames)
    expected = frames[..., ::-1].astype(np.float32) - np.array([1.0, 2.0, 3.0], np.float32)
    np.testing.assert_array_equal(ours, expected)


def test_flow_stacks_keep_their_channels():
    stack = RNG.integers(0, 256, (1, 4, 4, 20), np.uint8)
    ours = Preprocessing(channels="flow", mean=(128.0,))(stack)
    np.testing.assert_array_equal(ours, stack.astype(np.float32) - 128)


def test_the_mean_volume_is_subtracted_at_the_pixel():
    volume = RNG.normal(98, 5, (16, 12, 14, 3)).astype(np.float32)
    preprocess = Preprocessing(channels="bgr", crop=(8, 8), mean_volume=volume)
    frames = RNG.integers(0, 256, (2, 4, 12, 14, 3), np.uint8)
    expected = (frames[..., ::-1].astype(np.float32) - volume[:4])[:, :, 2:10, 3:11]
    np.testing.assert_array_equal(preprocess(frames), expected)
    corner = preprocess.normalise(frames[:, :, :8, :8], top=0, left=0)
    corner_expected = (frames[..., ::-1].astype(np.float32) - volume[:4])[:, :, :8, :8]
    np.testing.assert_array_equal(corner, corner_expected)
    with pytest.raises(InputError, match="must not be longer"):
        preprocess(np.zeros((17, 12, 14, 3), np.uint8))


def test_it_can_be_compiled():
    preprocess = Preprocessing(resize=16, crop=(16, 16))
    photo = _photo(24, 32)
    np.testing.assert_allclose(jax.jit(preprocess)(photo), preprocess(photo), atol=1)


def test_round_trip():
    volume = np.ones((2, 3, 4, 3), np.float32)
    old = Preprocessing("bgr", 0.5, (1.0, 2.0, 3.0), (4.0,), (8, 9), (5, 6), False, volume)
    new = Preprocessing.from_json(old.to_json(), volume)
    assert vars(new) == vars(old)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"gamma": 1}', "3", '{"mean_volume": 3}', '{"mean": 3}', '{"antialias": 1}',
     '{"mean": [NaN]}', '{"scale": Infinity}', '{"crop": [1, 2, 3]}', '{"mean": [1e999]}',
     "[" * 100_000],
)  # fmt: skip
def test_bad_metadata(text):
    with pytest.raises(InputError, match="unusable"):
        Preprocessing.from_json(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": "cmyk"}, "channels is 'cmyk'"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"mean": ()}, r"mean is \(\)"),
        ({"mean": (0.0, float("nan"))}, "mean is .* expected finite"),
        ({"std": (1.0, 0.0)}, "std is .* expected numbers above 0"),
        ({"std": (-1.0,)}, "std is"),
        ({"resize": 0}, "resize is 0; expected 1 to 32768 pixels"),
        ({"crop": (5, -5)}, "crop is"),
        ({"resize": 10**9}, "resize is"),
        ({"resize": 2.5}, "resize is"),
        ({"resize": True}, "resize is"),
        ({"crop": (3,)}, "crop is"),
        ({"mean_volume": np.zeros((3, 4))}, "expected"),
        ({"mean_volume": np.full((1, 2, 2, 3), np.inf)}, "finite"),
    ],
)
def test_values_that_no_image_can_be_prepared_with(values, message):
    with pytest.raises(InputError, match=message):
        Preprocessing(**values)


def test_bad_frames():
    with pytest.raises(InputError, match="smaller than the crop"):
        Preprocessing(crop=(8, 8))(np.zeros((4, 9, 3), np.uint8))
    with pytest.raises(InputError, match="expected frames"):
        Preprocessing()(np.zeros((4, 9), np.uint8))


def test_a_mean_for_other_channels_is_refused():
    for values in ({"mean": (1.0, 2.0, 3.0)}, {"std": (1.0, 2.0, 3.0)}):
        with pytest.raises(InputError, match="frames have 2 channels, and"):
            Preprocessing(**values)(np.zeros((1, 4, 4, 2), np.uint8))
