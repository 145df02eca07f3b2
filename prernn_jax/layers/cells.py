"""The three recurrent cells of the paper, as pure functions of one time step.

A cell sees one step only: its carry, what the input-to-hidden product made of the step's input
(`projected`, bias included), and a function that multiplies with hidden-to-hidden weights. All
else in it is element-wise, so a cell neither knows nor cares how its arrays lie in memory: the
unrolled form keeps (B, F) on a GPU and (F, B) on a CPU.

Gates stand in PyTorch's order, so its `weight_hh_l0` reshaped to (G, F, F) is a recurrent kernel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jax import Array

from prernn_jax.errors import InputError

Carry = tuple[Array, ...]


class Product(Protocol):
    """Multiplies with the hidden-to-hidden weights of the gates `start` to `stop` - 1."""

    def __call__(self, value: Array, start: int, stop: int) -> Sequence[Array]:
        """Returns one array of the shape of `value` for each of these gates."""
        ...


@dataclass(frozen=True)
class Cell:
    """One recurrent cell.

    Attributes:
        name: What `get_cell` knows it by.
        gates: How many blocks of weights it has (G).
        carry_parts: How many arrays its state has: 1 for h, 2 for (h, c). The first is h, which
            is also its output.
        step: `step(carry, projected, product)` gives the next carry. `projected` is a sequence
            of G arrays of the shape of h; every gate's pre-activation is
            `projected[g] + U_g v`, with `U_g v` from `product`.
        gate_names: The blocks that are gates proper, the sigmoid of their pre-activation:
            name and block.
    """

    name: str
    gates: int
    carry_parts: int
    step: Callable[[Carry, Sequence[Array], Product], Carry]
    gate_names: tuple[tuple[str, int], ...] = ()


def _vrnn_step(carry: Carry, projected: Sequence[Array], product: Product) -> Carry:
    """Vanilla RNN with ReLU: h' = relu(W x + b + U h)."""
    (h,) = carry
    (u,) = product(h, 0, 1)
    return (jnp.maximum(projected[0] + u, 0),)


def _lstm_step(carry: Carry, projected: Sequence[Array], product: Product) -> Carry:
    """LSTM (Hochreiter and Schmidhuber 1997, with the forget gate), no peepholes.

    i = sigmoid(W_i x + b_i + U_i h), f and o alike, g = tanh(W_g x + b_g + U_g h),
    c' = f c + i g, h' = o tanh(c').
    """
    h, c = carry
    u = product(h, 0, 4)
    i = jax.nn.sigmoid(projected[0] + u[0])
    f = jax.nn.sigmoid(projected[1] + u[1])
    g = jnp.tanh(projected[2] + u[2])
    o = jax.nn.sigmoid(projected[3] + u[3])
    c = f * c + i * g
    return o * jnp.tanh(c), c


def _gru_gates(
    carry: Carry, projected: Sequence[Array], product: Product
) -> tuple[Array, Array, Array]:
    """The update gate z, the candidate n and the old state h of Cho's GRU.

    r = sigmoid(W_r x + b_r + U_r h), z alike, n = tanh(W_n x + b_n + U_n (r h)). The reset gate
    multiplies h before the product (Cho et al. 2014, eq. 8), not after it as in cuDNN and PyTorch.
    """
    (h,) = carry
    u = product(h, 0, 2)
    r = jax.nn.sigmoid(projected[0] + u[0])
    z = jax.nn.sigmoid(projected[1] + u[1])
    (u_n,) = product(r * h, 2, 3)
    return z, jnp.tanh(projected[2] + u_n), h


def _gru_step(carry: Carry, projected: Sequence[Array], product: Product) -> Carry:
    """GRU, h' = (1 - z) h + z n: z is the share of the new state (Chung et al. 2014)."""
    z, n, h = _gru_gates(carry, projected, product)
    return ((1 - z) * h + z * n,)


def _gru_cho_step(carry: Carry, projected: Sequence[Array], product: Product) -> Carry:
    """GRU, h' = (1 - z) n + z h: z is how much is kept (Cho et al. 2014, eq. 7)."""
    z, n, h = _gru_gates(carry, projected, product)
    return ((1 - z) * n + z * h,)


_LSTM_GATES = (("i", 0), ("f", 1), ("o", 3))
_GRU_GATES = (("r", 0), ("z", 1))

VRNN = Cell("vrnn", gates=1, carry_parts=1, step=_vrnn_step)
LSTM = Cell("lstm", gates=4, carry_parts=2, step=_lstm_step, gate_names=_LSTM_GATES)
GRU = Cell("gru", gates=3, carry_parts=1, step=_gru_step, gate_names=_GRU_GATES)
GRU_CHO = Cell("gru_cho", gates=3, carry_parts=1, step=_gru_cho_step, gate_names=_GRU_GATES)


def get_cell(name: str) -> Cell:
    """Returns the cell of that name: "vrnn", "lstm", "gru" or "gru_cho".

    Raises:
        InputError: There is no cell of that name.
    """
    cells = {cell.name: cell for cell in (VRNN, LSTM, GRU, GRU_CHO)}
    if name not in cells:
        raise InputError(f"unknown cell {name!r}; choose one of {', '.join(cells)}")
    return cells[name]
