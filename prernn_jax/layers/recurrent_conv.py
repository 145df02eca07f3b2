"""A residual network's last convolution made recurrent."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from prernn_jax.cpu.dense import dense
from prernn_jax.errors import InputError
from prernn_jax.layers.batch_norm import BatchNorm, reset, tile
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.recurrent import Activation, Recurrent


class RecurrentConv(Recurrent):
    """A 1x1 convolution, its batch-norm and the block's shortcut, pooled and made recurrent.

    The input-to-hidden state is the average over the image of norm(W x) + shortcut, before the
    block's ReLU (our assumption for ResNet50, see docs/decisions.md). Every gate has its own copy
    of the convolution and of its batch-norm; all gates share the shortcut. `from_conv` makes one.

    Parameters: `kernel` (D, G·F) or (D, F), `norm` (the batch-norm, in place of a bias) and
    `recurrent_kernel` (G, F, F).

    Args:
        in_features: Input channels D.
        features: Hidden features F.
        cell: As for `Recurrent`.
        shared: As for `Recurrent`.
        readout: As for `Recurrent`.
        norm: The batch-norm of all gates, over G·F channels, or F when shared.
        kernel: As for `Recurrent`.
        dtype: As for `Recurrent`.
        rngs: As for `Recurrent`.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        cell: str = "gru",
        shared: bool = False,
        readout: Activation | None = None,
        *,
        norm: BatchNorm,
        kernel: jax.Array | None = None,
        dtype: Any = None,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        self.norm = norm
        super().__init__(
            in_features, features, cell, shared, readout, kernel=kernel, dtype=dtype, rngs=rngs
        )

    @classmethod
    def from_conv(
        cls,
        conv: nnx.Conv,
        norm: BatchNorm,
        cell: str = "gru",
        shared: bool = False,
        readout: Activation | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> "RecurrentConv":
        """Makes a pre-trained 1x1 convolution (1, 1, D, F) without bias recurrent.

        Raises:
            InputError: The convolution is larger or has a bias.
        """
        if conv.kernel.shape[:2] != (1, 1) or conv.bias is not None:
            raise InputError(
                f"the convolution has kernel {conv.kernel.shape} and "
                f"{'no' if conv.bias is None else 'a'} bias; expected (1, 1, D, F) and no bias"
            )
        in_features, features = conv.kernel.shape[2:]
        blocks = 1 if shared else get_cell(cell).gates
        return cls(
            in_features,
            features,
            cell,
            shared,
            readout,
            norm=tile(norm, blocks),
            kernel=jnp.tile(conv.kernel[0, 0], (1, blocks)),
            dtype=conv.dtype,
            rngs=rngs,
        )

    def draw_input_kernel(self, rngs: nnx.Rngs) -> None:
        """Replaces W by new random values and sets the batch-norm to its initial values."""
        self.kernel.set_value(self._draw_kernel(rngs, self.kernel.dtype))
        reset(self.norm)

    def calibrate(self, inputs: jax.Array) -> None:
        """Sets the batch-norm's statistics to those that W makes of the inputs.

        A W that has been drawn anew needs it where training keeps stored statistics: those of
        another W, or 0 and 1, would leave its outputs at any scale.

        Args:
            inputs: The convolution's inputs (..., D), a sample of the training set's.
        """
        made = dense(inputs.astype(self.kernel.dtype), self.kernel[...])  # (..., G·F)
        axes = tuple(range(made.ndim - 1))
        self.norm.mean.set_value(jnp.mean(made, axes).astype(self.norm.mean.dtype))
        self.norm.var.set_value(jnp.var(made, axes).astype(self.norm.var.dtype))

    def _set_offset(self, bias: jax.Array | None) -> None:
        """The batch-norm holds the offset."""

    def project(self, x: Any) -> jax.Array:
        """The input-to-hidden map of all steps at once.

        Args:
            x: The pair that the network's trunk gives: the convolution's input (B, T, h, w, D)
                and the shortcut (B, T, h, w, F).

        Returns:
            (B, T, G·F), or (B, T, F) when shared.
        """
        inputs, shortcut = x
        expected = (*inputs.shape[:4], self.features)
        if inputs.ndim != 5 or inputs.shape[-1] != self.in_features or shortcut.shape != expected:
            raise InputError(
                f"the pair has shapes {inputs.shape} and {shortcut.shape}; expected "
                f"(B, T, h, w, {self.in_features}) and (B, T, h, w, {self.features})"
            )
        inputs, kernel = promote_dtype((inputs, self.kernel[...]), dtype=self.dtype, inexact=True)
        if self.norm.use_running_average:
            # Pooling commutes with W and with a fixed affine map: h·w times less work.
            state = self.norm(dense(jnp.mean(inputs, axis=(2, 3)), kernel))  # (B, T, G·F)
        else:
            state = jnp.mean(self.norm(dense(inputs, kernel)), axis=(2, 3))  # (B, T, G·F)
        return state + jnp.tile(jnp.mean(shortcut, axis=(2, 3)), (1, 1, self.blocks))
