"""One recurrent layer as a module: made from scratch, or from a pre-trained layer.

The input-to-hidden map W (`kernel`, `bias`) works on all time steps in one product; only the
hidden-to-hidden map U (`recurrent_kernel`) works step by step. In a PreRNN, W is the pre-trained
layer itself and U is all that is new (Yang et al., CVPR 2018).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from prernn_jax.cpu.dense import dense
from prernn_jax.errors import InputError
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.lengths import (
    Lengths,
    check_lengths,
    check_sizes,
    valid_steps,
    without_padding,
)
from prernn_jax.layers.unroll import unroll

Activation = Callable[[jax.Array], jax.Array]
Carry = tuple[jax.Array, ...]

RECURRENT_SCALE = 0.3  # standard deviation of U's entries times sqrt(F): docs/decisions.md
_kernel_init = nnx.initializers.lecun_normal()


class Recurrent(nnx.Module):
    """A VRNN, LSTM or GRU layer.

    Parameters: `kernel` (D, G·F), G blocks side by side, or (D, F) when shared; `bias` of the
    same last size; `recurrent_kernel` (G, F, F), indexed [gate, output, input].

    Args:
        in_features: Input features D.
        features: Hidden features F.
        cell: `vrnn`, `lstm`, `gru` or `gru_cho`, see `prernn_jax.layers.cells`.
        shared: One input-to-hidden map for all gates (PreRNN-SIH).
        readout: Applied to the hidden states on the way out, not on the way back in.
        kernel: W to start from; drawn when None. The other weights take its dtype.
        bias: The bias to start from; zeros when None.
        dtype: The dtype of the products; None for that of the inputs and W.
        rngs: Source of the weights that are drawn; seed 0 when None.

    Raises:
        InputError: There is no such cell, or the sizes do not fit.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        cell: str = "gru",
        shared: bool = False,
        readout: Activation | None = None,
        *,
        kernel: jax.Array | None = None,
        bias: jax.Array | None = None,
        dtype: Any = None,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        rngs = nnx.Rngs(0) if rngs is None else rngs
        if in_features < 1 or features < 1:
            raise InputError(
                f"a layer of {in_features} inputs and {features} hidden features; both must be "
                "1 or more"
            )
        self.in_features = in_features
        self.features = features
        self.cell = cell
        self.shared = shared
        self.readout = readout
        self.dtype = dtype
        self.remat = False  # see `unroll`
        self.gates = get_cell(cell).gates
        self.blocks = 1 if shared else self.gates
        shape = (in_features, self.blocks * features)
        if kernel is not None and kernel.shape != shape:
            raise InputError(f"the kernel has shape {kernel.shape}; expected {shape}")
        if kernel is None:
            kernel = self._draw_kernel(rngs, jnp.float32)
        self.kernel = nnx.Param(kernel)
        self._set_offset(bias)
        draw = nnx.initializers.normal(RECURRENT_SCALE / features**0.5)
        square = (self.gates, features, features)
        self.recurrent_kernel = nnx.Param(draw(rngs.params(), square, kernel.dtype))

    def draw_input_kernel(self, rngs: nnx.Rngs) -> None:
        """Replaces W by new random values and the bias by zeros; the structure stays."""
        self.kernel.set_value(self._draw_kernel(rngs, self.kernel.dtype))
        self._set_offset(None)

    def _draw_kernel(self, rngs: nnx.Rngs, dtype: Any) -> jax.Array:
        # One draw for each gate, so that the scale of W depends on D alone.
        shape = (self.in_features, self.features)
        draws = [_kernel_init(rngs.params(), shape, dtype) for _ in range(self.blocks)]
        return jnp.concatenate(draws, axis=1)

    def _set_offset(self, bias: jax.Array | None) -> None:
        shape = (self.blocks * self.features,)
        if bias is not None and bias.shape != shape:
            raise InputError(f"the bias has shape {bias.shape}; expected {shape}")
        self.bias = nnx.Param(jnp.zeros(shape, self.kernel.dtype) if bias is None else bias)

    def project(self, x: jax.Array) -> jax.Array:
        """The input-to-hidden map of all steps at once: (B, T, D) -> (B, T, G·F) or (B, T, F)."""
        if x.ndim != 3 or x.shape[-1] != self.in_features:
            raise InputError(f"x has shape {x.shape}; expected (B, T, {self.in_features})")
        x, kernel, bias = promote_dtype(
            (x, self.kernel[...], self.bias[...]), dtype=self.dtype, inexact=True
        )
        return dense(x, kernel) + bias.reshape(1, 1, -1)

    def __call__(
        self, x: Any, carry: Carry | None = None, lengths: Lengths = None
    ) -> tuple[jax.Array, Carry]:
        """Runs over time.

        Args:
            x: Inputs (B, T, D).
            carry: State to start from, (h,) or (h, c), each (B, F); zeros when None.
            lengths: Valid steps of each sequence (B,), 1 to T; all T when None. Later steps are
                zero in y and change no state; what stands there reaches neither results nor
                gradients. See `check_lengths`.

        Returns:
            y (B, T, F), the hidden states after `readout`, and the last carry.

        Raises:
            InputError: A shape does not fit, there is no sequence or no step, or a length is
                outside 1 to T.
        """
        batch, steps = (*jax.tree.leaves(x)[0].shape, 0, 0)[:2]
        check_sizes(batch, steps)
        if lengths is not None:
            lengths = check_lengths(lengths, batch, steps)
            # Before the product: W's gradient is a product with x, and 0 times NaN is NaN.
            valid = valid_steps(lengths, steps)  # (B, T)
            x = jax.tree.map(partial(without_padding, valid=valid), x)
        projected = self.project(x)
        kernel = self.recurrent_kernel[...].astype(projected.dtype)
        h, carry = unroll(get_cell(self.cell), projected, kernel, carry, lengths, remat=self.remat)
        # Compared here and not by chex: B and T may be symbols (`prernn export`).
        assert h.shape == (batch, steps, self.features)
        assert all(part.shape == (batch, self.features) for part in carry)
        return (h if self.readout is None else self.readout(h)), carry


def from_linear(
    linear: nnx.Linear,
    cell: str = "gru",
    shared: bool = False,
    readout: Activation | None = None,
    *,
    rngs: nnx.Rngs | None = None,
) -> Recurrent:
    """Makes a pre-trained fully connected layer recurrent.

    Gate 0 has the layer's own values, the other gates start as copies; a shared layer has one
    block and no copies (docs/paper.md, "The idea"). A layer without bias gets one of zeros.

    Args:
        linear: The layer; left as it was.
        cell: As for `Recurrent`.
        shared: As for `Recurrent`.
        readout: As for `Recurrent`.
        rngs: Source of the hidden-to-hidden weights; seed 0 when None.
    """
    in_features, features = linear.kernel.shape
    blocks = 1 if shared else get_cell(cell).gates
    return Recurrent(
        in_features,
        features,
        cell,
        shared,
        readout,
        kernel=jnp.tile(linear.kernel[...], (1, blocks)),
        bias=None if linear.bias is None else jnp.tile(linear.bias[...], blocks),
        dtype=linear.dtype,
        rngs=rngs,
    )
