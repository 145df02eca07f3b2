"""Scores of sequences and videos, accuracy, confusion matrix."""

import jax.numpy as jnp
import numpy as np
from sklearn import metrics as sklearn_metrics

from prernn_jax.metrics import confusion_matrix, sequence_scores, top1, video_scores


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
