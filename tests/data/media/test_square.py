"""The symmetries of the square: pictures, flow and directions turn together."""

import numpy as np
import pytest

from prernn_jax.data.media.flow import dequantise, quantise
from prernn_jax.data.media.square import SYMMETRIES, turn_flow, turn_pictures, turned_direction

WAYS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])  # right, down, left, up: x, y


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_a_moving_spot_moves_in_the_turned_direction(symmetry):
    for direction, (x, y) in enumerate(WAYS):
        before, after = (np.zeros((1, 9, 9, 1), np.uint8) for _ in range(2))
        before[0, 4, 4] = after[0, 4 + 2 * y, 4 + 2 * x] = 255
        turned = [turn_pictures(picture, symmetry)[0, ..., 0] for picture in (before, after)]
        (row, column), (row_after, column_after) = (np.argwhere(t)[0] for t in turned)
        way = WAYS[turned_direction(direction, symmetry)]
        assert (column_after - column, row_after - row) == tuple(2 * way)


@pytest.mark.parametrize("symmetry", range(SYMMETRIES))
def test_flow_vectors_turn_with_the_picture(symmetry):
    rng = np.random.default_rng(0)
    field = np.zeros((1, 6, 6, 4), np.float32)  # two pairs: x1, y1, x2, y2
    field[0, 1, 4, :2] = 5.0, -3.0
    field[..., 2:] = rng.uniform(-9, 9, (1, 6, 6, 2))
    turned = dequantise(turn_flow(quantise(field), symmetry))
    assert turned.shape == field.shape
    speeds = np.hypot(turned[..., 2], turned[..., 3])
    expected = turn_pictures(quantise(np.hypot(field[..., 2:3], field[..., 3:])), symmetry)
    np.testing.assert_allclose(speeds, dequantise(expected)[..., 0], atol=0.3)
    place = np.zeros((1, 6, 6, 1), np.uint8)
    place[0, 1, 4] = 1
    where = turn_pictures(place, symmetry)[0, ..., 0] == 1
    (x, y) = turned[0, where, :2][0]
    mirrored = np.array([-5.0, -3.0]) if symmetry >= 4 else np.array([5.0, -3.0])
    for _ in range(symmetry % 4):
        mirrored = np.array([-mirrored[1], mirrored[0]])
    np.testing.assert_allclose([x, y], mirrored, atol=0.2)


def test_the_eight_symmetries_are_different_and_the_first_changes_nothing():
    picture = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    all_of_them = {turn_pictures(picture, g).tobytes() for g in range(SYMMETRIES)}
    assert len(all_of_them) == SYMMETRIES
    np.testing.assert_array_equal(turn_pictures(picture, 0), picture)
    flow = np.random.default_rng(0).integers(0, 255, (2, 4, 4, 4)).astype(np.uint8)
    np.testing.assert_array_equal(turn_flow(flow, 0), flow)
