"""Optical flow: its values, its sign under mirroring, its eight bits, its colours."""

import numpy as np
import pytest

from prernn_jax.data.media.flow import (
    compute_flow,
    dequantise,
    flip_flow_x,
    flow_to_color,
    quantise,
    stack_flow,
)
from prernn_jax.errors import InputError


def drifting_texture(shift_x: float, shift_y: float, frames: int = 3) -> np.ndarray:
    """Smooth random waves that move by so many pixels a frame: (N, 64, 64, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64].astype(np.float64)
    film = []
    waves = rng.uniform(-0.5, 0.5, (12, 2))
    phases = rng.uniform(0, 6.28, 12)
    for k in range(frames):
        u, v = x - k * shift_x, y - k * shift_y
        sums = [np.sin(w[0] * u + w[1] * v + p) for w, p in zip(waves, phases, strict=True)]
        film.append(np.clip(128 + 30 * np.sum(sums, axis=0), 0, 255))
    return np.repeat(np.stack(film)[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("algorithm", ["dis", "tvl1"])
def test_flow_of_a_drifting_texture_is_its_drift(algorithm):
    flow = compute_flow(drifting_texture(2.0, -1.0), algorithm)
    assert flow.shape == (2, 64, 64, 2)
    assert flow.dtype == np.float32
    middle = flow[:, 12:-12, 12:-12]
    np.testing.assert_allclose(np.median(middle, axis=(0, 1, 2)), [2.0, -1.0], atol=0.15)


def test_large_pictures_are_matched_as_well():
    film = np.repeat(np.repeat(drifting_texture(1.0, 0.5), 3, axis=1), 3, axis=2)  # 192 pixels
    flow = compute_flow(film)[:, 30:-30, 30:-30]
    np.testing.assert_allclose(np.median(flow, axis=(0, 1, 2)), [3.0, 1.5], atol=0.3)


def test_mirrored_frames_have_flow_of_the_other_sign_in_x():
    film = drifting_texture(2.0, 1.0)
    flow = compute_flow(film)
    mirrored = compute_flow(np.ascontiguousarray(film[:, :, ::-1]))[:, :, ::-1]
    mean = np.abs(mirrored * np.array([-1.0, 1.0], np.float32) - flow).mean()
    assert mean < 0.2
    quantised = quantise(flow)
    turned = flip_flow_x(quantised[..., 0])
    np.testing.assert_allclose(dequantise(turned), -flow[..., 0], atol=0.17)
    np.testing.assert_array_equal(flip_flow_x(turned), quantised[..., 0])


def test_eight_bits_follow_the_field():
    values = np.array([-30.0, -20.0, 0.0, 20.0, 30.0, 1.0], np.float32)
    np.testing.assert_array_equal(quantise(values), [0, 0, 128, 255, 255, 134])
    inside = np.linspace(-20, 20, 401, dtype=np.float32)
    assert np.abs(dequantise(quantise(inside)) - inside).max() <= 20.0 / 255.0 + 1e-5


def test_stacks_are_interleaved():
    x = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2)
    stack = stack_flow(x, x + 100)
    assert stack.shape == (2, 2, 6)
    for pair in range(3):
        np.testing.assert_array_equal(stack[..., 2 * pair], x[pair])
        np.testing.assert_array_equal(stack[..., 2 * pair + 1], x[pair] + 100)


def test_colours_tell_directions_apart_and_rest_is_white():
    flow = np.zeros((1, 4, 2), np.float32)
    flow[0, 1:] = [[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0]]
    color = flow_to_color(flow, full=3.0)
    np.testing.assert_array_equal(color[0, 0], [255, 255, 255])
    assert len({tuple(c) for c in color[0].tolist()}) == 4


@pytest.mark.parametrize(
    ("frames", "algorithm", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.uint8), "farneback", "use one of: dis, tvl1"),
        (np.zeros((1, 32, 32, 3), np.uint8), "dis", "at least 2 frames, got 1"),
        (np.zeros((2, 8, 32, 3), np.uint8), "dis", "at least 16x16, got 32x8"),
    ],
)
def test_bad_input_is_explained(frames, algorithm, message):
    with pytest.raises(InputError, match=message):
        compute_flow(frames, algorithm)
