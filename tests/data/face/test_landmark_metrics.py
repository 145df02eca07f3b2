"""Landmark metrics: normalisers by hand, AUC against a numeric integral, pooling over frames."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from prernn_jax.data.face.landmarks import POINTS
from prernn_jax.data.face.metrics import (
    NORMALISERS,
    auc,
    cumulative_errors,
    distances,
    failure_rate,
    landmark_metrics,
    nme,
    normaliser_lengths,
    vector_distance,
)
from prernn_jax.errors import InputError

errors_of_frames = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 0.3))


def face():
    """Landmarks (1, 68, 2) whose lengths are known."""
    points = np.full((1, POINTS, 2), 5.0)
    points[0, 36:42], points[0, 42:48] = [2.0, 4.0], [8.0, 4.0]  # pupils 6 apart
    points[0, 36], points[0, 45] = [1.0, 4.0], [9.0, 4.0]
    points[0, 8], points[0, 0] = [5.0, 10.0], [0.0, 4.0]
    points[0, 16] = [10.0, 0.0]
    return points


def test_normalisers():
    points = face()
    np.testing.assert_allclose(normaliser_lengths(points, "outer_eye"), [8.0])
    # The six points of an eye: five at 2 and one at 1, five at 8 and one at 9.
    np.testing.assert_allclose(normaliser_lengths(points, "pupil"), [49 / 6 - 11 / 6])
    np.testing.assert_allclose(normaliser_lengths(points, "box_diagonal"), [np.hypot(10, 10)])


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_a_shift_of_all_points_is_its_length_over_the_normaliser(normaliser):
    points = np.concatenate([face(), 2 * face()])
    moved = points + np.array([3.0, 4.0])
    np.testing.assert_allclose(distances(moved, points), [5.0, 5.0])
    expected = 5.0 / normaliser_lengths(points, normaliser)
    np.testing.assert_allclose(nme(moved, points, normaliser), expected)


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_scale_place_and_turn_change_nothing_but_the_box(normaliser):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4, POINTS, 2))
    predicted = points + 0.1 * rng.normal(size=points.shape)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # by a right angle: the box stays a box
    other = [3.0 * p @ turn + [7.0, -2.0] for p in (predicted, points)]
    np.testing.assert_allclose(nme(*other, normaliser), nme(predicted, points, normaliser))


@given(errors_of_frames)
def test_auc_is_the_integral_of_the_curve(errors):
    threshold = 0.08
    middles = (np.arange(20000) + 0.5) / 20000 * threshold
    numeric = cumulative_errors(errors, middles).mean()
    assert auc(errors, threshold) == pytest.approx(numeric, abs=1e-4)
    assert failure_rate(errors, threshold) == pytest.approx(
        1 - cumulative_errors(errors, [threshold])[0]
    )


def test_the_curve_counts_frames_up_to_and_with_the_threshold():
    np.testing.assert_array_equal(
        cumulative_errors([0.1, 0.2, 0.2, 0.4], [0.0, 0.1, 0.2, 0.39, 1.0]),
        [0.0, 0.25, 0.75, 0.75, 1.0],
    )


def test_metrics_are_pooled_over_frames():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5, POINTS, 2))
    predicted = points + 0.05 * rng.normal(size=points.shape)
    pooled = landmark_metrics(predicted, points)
    single = [landmark_metrics(predicted[k : k + 1], points[k : k + 1]) for k in range(5)]
    for name, value in pooled.items():
        assert value == pytest.approx(np.mean([one[name] for one in single]))
    perfect = landmark_metrics(points, points)
    assert perfect["loss"] == perfect["nme_pupil"] == perfect["failure_outer_eye"] == 0.0
    assert perfect["auc_box_diagonal"] == 1.0


def test_bad_input():
    with pytest.raises(InputError, match="normaliser 'eyes'; expected one of outer_eye"):
        normaliser_lengths(face(), "eyes")
    with pytest.raises(InputError, match=r"frame 1: .* outer_eye length is zero"):
        normaliser_lengths(np.concatenate([face(), np.zeros((1, POINTS, 2))]), "outer_eye")
    for normaliser in ("outer_eye", "pupil"):
        with pytest.raises(InputError, match=rf"landmarks of shape .*{normaliser} needs \(N, 68"):
            normaliser_lengths(np.ones((2, 5, 2)), normaliser)
    for metric in (auc, failure_rate):
        with pytest.raises(InputError, match="frame 1: an error below 0"):
            metric([0.1, -0.1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_is_a_failure(bad):
    points = np.random.default_rng(0).normal(size=(4, POINTS, 2)) * 10 + 50
    for broken in (np.s_[:3], np.s_[:3, 7], np.s_[:3, 0, 1]):
        predicted = points.copy()
        predicted[broken] = bad
        for normaliser in NORMALISERS:
            errors = nme(predicted, points, normaliser)
            np.testing.assert_array_equal(errors, [np.inf, np.inf, np.inf, 0.0])
            assert failure_rate(errors) == 0.75
            assert auc(errors) == 0.25
            np.testing.assert_array_equal(cumulative_errors(errors, [0.08, np.inf]), [0.25, 0.25])
        assert vector_distance(predicted, points) == np.inf
        found = landmark_metrics(predicted, points)
        assert found["failure_pupil"] == 0.75
        assert found["nme_pupil"] == found["loss"] == np.inf
    assert landmark_metrics(np.full_like(points, bad), points)["failure_outer_eye"] == 1.0


@given(errors_of_frames, st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(1, 5))
def test_frames_without_a_finite_error_count_against_every_metric(errors, bad, more):
    broken = np.concatenate([errors, np.full(more, bad)])
    share = len(errors) / len(broken)
    assert auc(broken) == pytest.approx(share * auc(errors))
    assert failure_rate(broken) == pytest.approx(1 - share * (1 - failure_rate(errors)))
    np.testing.assert_allclose(
        cumulative_errors(broken, [0.1, 9.0]), share * cumulative_errors(errors, [0.1, 9.0])
    )


def test_no_frames_and_true_landmarks_without_a_value_are_refused():
    none = np.zeros((0, POINTS, 2))
    for metric in (distances, vector_distance, landmark_metrics):
        with pytest.raises(InputError, match="at least one frame"):
            metric(none, none)
    for metric in (auc, failure_rate, lambda errors: cumulative_errors(errors, [0.1])):
        with pytest.raises(InputError, match="at least one frame"):
            metric([])
    hidden = face()
    hidden[0, 30] = np.nan
    with pytest.raises(InputError, match="frame 0: the true landmarks hold NaN"):
        nme(face(), hidden, "outer_eye")
    for metric in (auc, failure_rate):
        with pytest.raises(InputError, match="above 0"):
            metric([0.1], 0.0)
