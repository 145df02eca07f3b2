"""The losses over the steps of a sequence: by hand, padding, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prernn_jax.metrics import landmark_loss, sequence_nll


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 4, 5)).astype(np.float32)
    return logits, np.array([0, 4, 2], np.int32), np.array([4, 1, 3], np.int32)


def by_hand(logits, label, length):
    total = 0.0
    for step in logits[:length].astype(np.float64):
        total -= np.log(np.exp(step[label]) / np.exp(step).sum())
    return total / length


def test_equals_the_mean_by_hand(case):
    logits, labels, lengths = case
    expected = [by_hand(*row) for row in zip(logits, labels, lengths, strict=True)]
    np.testing.assert_allclose(sequence_nll(*map(jnp.asarray, case)), expected, rtol=1e-5)


def test_padding_has_neither_value_nor_gradient(case):
    logits, labels, lengths = case
    dirty = logits.copy()
    dirty[1, 1:] = np.nan

    def total(x):
        return sequence_nll(x, jnp.asarray(labels), jnp.asarray(lengths)).sum()

    assert total(jnp.asarray(dirty)) == total(jnp.asarray(logits))
    gradient = jax.grad(total)(jnp.asarray(logits))
    assert np.all(gradient[1, 1:] == 0)
    assert np.all(gradient[1, :1] != 0)


def test_bfloat16_is_summed_in_float32(case):
    logits, labels, lengths = map(jnp.asarray, case)
    assert sequence_nll(logits.astype(jnp.bfloat16), labels, lengths).dtype == jnp.float32


def test_zero_logits_give_log_of_the_classes(case):
    _, labels, lengths = map(jnp.asarray, case)
    nll = sequence_nll(jnp.zeros((3, 4, 5)), labels, lengths)
    np.testing.assert_allclose(nll, np.full(3, np.log(5)), rtol=1e-6)


@pytest.fixture
def faces():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(3, 4, 68, 2)).astype(np.float32)
    landmarks = rng.normal(size=(3, 4, 68, 2)).astype(np.float32)
    return predicted, landmarks, np.array([4, 1, 3], np.int32)


def test_landmark_loss_is_the_distance_of_the_vectors(faces):
    predicted, landmarks, lengths = faces
    expected = [
        np.mean([np.linalg.norm((p - t).ravel()) for p, t in zip(ps[:n], ts[:n], strict=True)])
        for ps, ts, n in zip(predicted.astype(np.float64), landmarks, lengths, strict=True)
    ]
    found = landmark_loss(*map(jnp.asarray, faces))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    half = landmark_loss(jnp.asarray(predicted, jnp.bfloat16), *map(jnp.asarray, faces[1:]))
    assert half.dtype == jnp.float32


def test_landmark_loss_ignores_padding_and_has_a_gradient_everywhere(faces):
    predicted, landmarks, lengths = map(jnp.asarray, faces)
    predicted = predicted.at[1, 1:].set(jnp.nan)  # behind the end of sequence 1
    predicted = predicted.at[0, 0].set(landmarks[0, 0])  # exactly right
    gradient = jax.grad(lambda p: jnp.sum(landmark_loss(p, landmarks, lengths)))(predicted)
    assert np.isfinite(gradient).all()
    assert not gradient[1, 1:].any()
    assert not gradient[0, 0].any()
    # The distance of a vector has a gradient of length 1; the mean over 3 steps a third of it.
    np.testing.assert_allclose(np.linalg.norm(gradient[2, 1]), 1 / 3, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_are_the_same_whatever_stands_in_padding(case, faces, bad):
    logits, labels, lengths = map(jnp.asarray, case)
    nll = jax.grad(lambda x: jnp.sum(sequence_nll(x, labels, lengths)))
    np.testing.assert_array_equal(nll(logits.at[1, 1:].set(bad)), nll(logits))
    predicted, landmarks, lengths = map(jnp.asarray, faces)
    distance = jax.grad(lambda p, t: jnp.sum(landmark_loss(p, t, lengths)), (0, 1))
    clean = distance(predicted, landmarks)
    for given in (
        (predicted.at[1, 1:].set(bad), landmarks),
        (predicted, landmarks.at[1, 1:].set(bad)),
    ):
        jax.tree.map(np.testing.assert_array_equal, distance(*given), clean)


def test_a_nan_in_a_valid_step_is_not_hidden(faces):
    predicted, landmarks, lengths = map(jnp.asarray, faces)
    found = landmark_loss(predicted.at[0, 2, 5].set(jnp.nan), landmarks, lengths)
    np.testing.assert_array_equal(np.isnan(found), [True, False, False])
