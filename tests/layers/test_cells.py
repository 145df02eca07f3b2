"""The cells' records and equations on plain numbers."""

import jax.numpy as jnp
import numpy as np
import pytest

from prernn_jax.errors import InputError
from prernn_jax.layers.cells import GRU, GRU_CHO, LSTM, VRNN, get_cell

KERNEL = [0.5, -0.25, 1.5, 0.75]  # F = 1: U of each gate is one number


def step(cell, carry, projected):
    def product(value, start, stop):
        return [jnp.float32(KERNEL[g]) * value for g in range(start, stop)]

    given = [jnp.float32(p) for p in projected[: cell.gates]]
    return [float(c) for c in cell.step(tuple(jnp.float32(c) for c in carry), given, product)]


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def test_vrnn():
    np.testing.assert_allclose(step(VRNN, [2.0], [0.5]), [1.5])
    np.testing.assert_allclose(step(VRNN, [2.0], [-3.0]), [0.0])


def test_lstm():
    h, c, p = 0.7, -0.4, [0.1, 0.2, 0.3, 0.4]
    i, f, g, o = (a + u * h for a, u in zip(p, KERNEL, strict=True))
    new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(
        step(LSTM, [h, c], p), [sigmoid(o) * np.tanh(new), new], rtol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize("cell", [GRU, GRU_CHO])
def test_gru(cell):
    h, p = 0.7, [0.1, 0.2, 0.3]
    r, z = sigmoid(p[0] + KERNEL[0] * h), sigmoid(p[1] + KERNEL[1] * h)
    n = np.tanh(p[2] + KERNEL[2] * (r * h))
    expected = (1 - z) * h + z * n if cell is GRU else (1 - z) * n + z * h
    np.testing.assert_allclose(step(cell, [h], p), [expected], rtol=1e-5)


def test_names():
    assert [get_cell(n) for n in ("vrnn", "lstm", "gru", "gru_cho")] == [VRNN, LSTM, GRU, GRU_CHO]
    with pytest.raises(InputError, match="unknown cell 'rnn'; choose one of vrnn, lstm, gru"):
        get_cell("rnn")
