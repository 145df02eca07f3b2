"""Scores of sequences and videos, accuracy, confusion matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from prernn_jax.errors import InputError
from prernn_jax.metrics import (
    are_right,
    confusion_matrix,
    landmark_loss,
    sequence_nll,
    sequence_scores,
    top1,
    video_scores,
)


def test_sequence_scores_are_the_mean_of_the_valid_softmaxes():
    logits = jnp.log(jnp.array([[[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]]))
    scores = sequence_scores(logits, jnp.array([2]))
    np.testing.assert_allclose(scores, [[0.4, 0.6]], rtol=1e-6)


def test_nan_in_padding_does_not_count():
    logits = jnp.array([[[0.0, 1.0], [jnp.nan, jnp.nan]]])
    scores = sequence_scores(logits, jnp.array([1]))
    np.testing.assert_allclose(scores.sum(), 1, rtol=1e-6)


def test_video_scores_are_the_mean_over_a_videos_clips():
    scores = [[1.0, 0.0], [0.0, 1.0], [0.25, 0.75], [0.5, 0.5]]
    numbers, means = video_scores(scores, [7, 3, 7, 7])
    np.testing.assert_array_equal(numbers, [3, 7])
    np.testing.assert_allclose(means, [[0, 1], [1.75 / 3, 1.25 / 3]])


def test_accuracy_and_confusion_equal_scikit_learn():
    rng = np.random.default_rng(1)
    scores, labels = rng.random((50, 4)), rng.integers(0, 4, 50)
    guesses = scores.argmax(axis=1)
    assert top1(scores, labels) == sklearn_metrics.accuracy_score(labels, guesses)
    np.testing.assert_array_equal(
        confusion_matrix(scores, labels),
        sklearn_metrics.confusion_matrix(labels, guesses, labels=range(4)),
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_score_that_is_not_finite_is_never_right(bad, place):
    scores = np.eye(3)  # every row is right
    labels = np.arange(3)
    for rows in ([0], [0, 2], [0, 1, 2]):
        broken = scores.copy()
        broken[rows, place] = bad
        assert top1(broken, labels) == pytest.approx(1 - len(rows) / 3)
        right = are_right(jnp.asarray(broken), jnp.asarray(labels))
        assert not right[np.array(rows)].any()
        assert right.sum() == 3 - len(rows)
        with pytest.raises(InputError, match=f"{len(rows)} of 3 rows hold NaN"):
            confusion_matrix(broken, labels)
    assert top1(np.full((4, 5), bad), [0, 0, 0, 1]) == 0


def test_a_video_with_one_nan_clip_is_wrong():
    _, scores = video_scores([[1.0, 0.0], [np.nan, np.nan], [1.0, 0.0]], [0, 0, 1])
    assert top1(scores, [0, 0]) == 0.5
    _, scores = video_scores([[np.inf, 0.0], [-np.inf, 0.0]], [0, 0])
    assert np.isnan(scores[0, 0])


@pytest.mark.parametrize("metric", [top1, confusion_matrix, video_scores])
def test_empty_or_unfitting_scores_are_refused(metric):
    with pytest.raises(InputError, match="at least one row"):
        metric(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(InputError, match=r"expected \(2,\)"):
        metric(np.zeros((2, 3)), [0])


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], [0.0, 1.5]])
def test_labels_outside_the_classes_are_refused(labels):
    for metric in (top1, confusion_matrix):
        with pytest.raises(InputError, match="integers from 0 to 2"):
            metric(np.eye(3)[:2], labels)
    with pytest.raises(InputError, match=r"label of sequence .* expected 0 to 2|type float32"):
        sequence_nll(jnp.zeros((2, 1, 3)), jnp.asarray(labels), jnp.ones(2, jnp.int32))


def test_inside_jit_a_label_outside_the_classes_is_a_nan_and_not_another_class():
    labels, lengths = jnp.array([-1, 3, 1]), jnp.ones(3, jnp.int32)
    loss = jax.jit(sequence_nll)(jnp.zeros((3, 1, 3)), labels, lengths)
    assert np.isnan(loss).tolist() == [True, True, False]


def test_numbers_of_videos_are_integers_and_scores_are_real():
    for numbers in ([0.0, 0.5], [np.nan, np.nan]):
        with pytest.raises(InputError, match="video numbers of type float64"):
            video_scores(np.eye(2), numbers)
    with pytest.raises(InputError, match="the scores are complex"):
        top1(np.eye(2) * 1j, [0, 1])


@pytest.mark.parametrize("lengths", [[0, 1], [1, 4], [-1, 1], [1.5, 2.0]])
def test_impossible_lengths_are_refused_outside_jit(lengths):
    labels = jnp.array([0, 1])
    for call in (
        lambda n: sequence_nll(jnp.zeros((2, 3, 4)), labels, n),
        lambda n: sequence_scores(jnp.zeros((2, 3, 4)), n),
        lambda n: landmark_loss(jnp.zeros((2, 3, 5, 2)), jnp.zeros((2, 3, 5, 2)), n),
    ):
        with pytest.raises(InputError, match="expected"):
            call(np.array(lengths))


def test_inside_jit_lengths_are_clamped():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)))
    labels = jnp.array([0, 1, 2])
    whole = sequence_nll(logits, labels, jnp.array([4, 4, 2]))
    found = jax.jit(sequence_nll)(logits, labels, jnp.array([9, 0, 2]))
    np.testing.assert_allclose(found, [whole[0], 0, whole[2]], rtol=1e-6)
    scores = jax.jit(sequence_scores)(logits, jnp.array([9, -3, 2]))
    np.testing.assert_allclose(scores.sum(axis=-1), [1, 0, 1], rtol=1e-6)


def test_no_sequences_and_no_steps_are_refused_also_inside_jit():
    for shape in ((0, 3, 4), (2, 0, 4)):
        for call in (sequence_scores, jax.jit(sequence_scores)):
            with pytest.raises(InputError, match="1 or more of both"):
                call(jnp.zeros(shape), jnp.ones(shape[0], jnp.int32))
