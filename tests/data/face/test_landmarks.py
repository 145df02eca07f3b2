"""The 68 landmarks: the order, mirroring, boxes, and the coordinates of a box."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from prernn_jax.data.face.landmarks import (
    FLIP,
    GROUPS,
    OUTER_EYES,
    POINTS,
    bounding_box,
    check_landmarks,
    mirror,
    normalise_landmarks,
    outside,
    pupils,
    square_around,
)
from prernn_jax.errors import InputError

points = arrays(np.float64, (3, POINTS, 2), elements=st.floats(-500, 500))


def test_groups_cover_the_points_in_order():
    covered = np.concatenate([np.arange(POINTS)[part] for part in GROUPS.values()])
    np.testing.assert_array_equal(covered, np.arange(POINTS))


def test_the_mirror_maps_groups_on_groups():
    np.testing.assert_array_equal(FLIP[FLIP], np.arange(POINTS))
    np.testing.assert_array_equal(
        np.flatnonzero(np.arange(POINTS) == FLIP), [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    )  # the points on the middle line
    assert FLIP[OUTER_EYES[0]] == OUTER_EYES[1]
    for name, part in GROUPS.items():
        swapped = {"left": "right", "right": "left"}
        target = "_".join(swapped.get(word, word) for word in name.split("_"))
        assert set(FLIP[part]) == set(np.arange(POINTS)[GROUPS[target]])


@given(points, st.integers(1, 500))
def test_mirrored_twice_is_the_same(landmarks, width):
    np.testing.assert_allclose(mirror(mirror(landmarks, width), width), landmarks, atol=1e-9)


@given(points, st.floats(1, 300), st.floats(-100, 100), st.floats(-100, 100))
def test_coordinates_of_a_box_and_back(landmarks, side, left, top):
    box = np.array([left, top, left + side, top + side])
    inside = normalise_landmarks(landmarks, np.tile(box, (3, 1)))
    np.testing.assert_allclose((inside + 0.5) * side + box[:2], landmarks, atol=1e-9)
    corners = np.stack([box[:2], (box[:2] + box[2:]) / 2, box[2:]])  # (3, 2)
    np.testing.assert_allclose(
        normalise_landmarks(corners, box), [[-0.5, -0.5], [0, 0], [0.5, 0.5]], atol=1e-9
    )


def test_points_outside_of_the_picture():
    landmarks = np.array([[-0.5, -0.5], [63.5, 47.5], [-1, 3], [-2, -2], [3, 48], [64, 3]])
    assert outside(landmarks, 48, 64).tolist() == [False, False, True, True, True, True]


@given(points)
def test_the_square_holds_the_box_and_is_as_long_as_its_longer_side(landmarks):
    box = bounding_box(landmarks)
    assert np.all(landmarks >= box[:, None, :2])
    assert np.all(landmarks <= box[:, None, 2:])
    square = square_around(box, 1.0)
    sides = square[:, 2:] - square[:, :2]
    longest = (box[:, 2:] - box[:, :2]).max(axis=1)
    np.testing.assert_allclose(sides, np.stack([longest, longest], axis=1), atol=1e-9)
    np.testing.assert_allclose(square[:, :2] + square[:, 2:], box[:, :2] + box[:, 2:], atol=1e-9)


def test_pupils_are_the_middles_of_the_eyes():
    landmarks = np.zeros((POINTS, 2))
    landmarks[36:42, 0], landmarks[42:48, 1] = np.arange(6), 3.0
    left, right = pupils(landmarks)
    np.testing.assert_array_equal(left, [2.5, 0.0])
    np.testing.assert_array_equal(right, [0.0, 3.0])


def test_bad_landmarks_are_refused():
    with pytest.raises(InputError, match=r"x.pts: landmarks of shape \(67, 2\); expected 68"):
        check_landmarks(np.zeros((67, 2)), "x.pts")
    bad = np.zeros((2, POINTS, 2))
    bad[1, 5, 0] = np.nan
    with pytest.raises(InputError, match=r"x.pts: .*index \[1, 5, 0\]"):
        check_landmarks(bad, "x.pts")
