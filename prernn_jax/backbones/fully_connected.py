"""The fully connected layers fc6, fc7 and fc8 that VGG and C3D end with."""

import jax
from flax import nnx

from prernn_jax.backbones.head import HeadLayer
from prernn_jax.backbones.remat import Remat
from prernn_jax.errors import InputError


class FullyConnected(nnx.Module):
    """A network of a trunk and of fc6, fc7 and fc8; a subclass makes them and defines `trunk`.

    Dropout follows fc6 and fc7 when a key is given.
    """

    fc6: nnx.Linear
    fc7: nnx.Linear
    fc8: nnx.Linear
    drop: nnx.Dropout
    flat_features: int  # inputs of fc6, in whose place something else may stand
    remat: Remat = "none"

    @property
    def num_outputs(self) -> int:
        """Outputs K of the output layer."""
        size: int = self.fc8.out_features
        return size

    @property
    def head(self) -> tuple[HeadLayer, ...]:
        """The fully connected layers."""
        return HeadLayer("fc6", nnx.relu), HeadLayer("fc7", nnx.relu), HeadLayer("fc8")

    def trunk(self, x: jax.Array) -> jax.Array:
        """Inputs (N, ...) -> the inputs of fc6 (N, D)."""
        raise NotImplementedError

    def flattened(self, pooled: jax.Array, given: tuple[int, ...], made_for: str) -> jax.Array:
        """What the last pooling gives (N, ..., C) -> the inputs of fc6 (N, D).

        Args:
            pooled: The values.
            given: Shape of the network's input.
            made_for: The sizes that it was made for, as its arguments say them.

        Raises:
            InputError: fc6 takes another number of values.
        """
        flat = pooled.reshape(pooled.shape[0], -1)
        expected = self.flat_features
        if flat.shape[1] != expected:
            sizes = "x".join(map(str, given[1:-1]))
            raise InputError(
                f"inputs of {sizes} give {flat.shape[1]} values, but fc6 takes {expected}: the "
                f"network was made for {made_for}. Resize the images, or make it for their size"
            )
        return flat

    def features(self, x: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Inputs (N, ...) -> the features of fc7 (N, F).

        Args:
            x: Images or clips, as the trunk takes them.
            dropout_key: A key turns dropout on; None is evaluation.
        """
        keys = [None, None] if dropout_key is None else jax.random.split(dropout_key)
        x = self.trunk(x)
        for layer, key in zip((self.fc6, self.fc7), keys, strict=True):
            x = nnx.relu(layer(x))  # (N, F)
            x = self.drop(x, deterministic=key is None, rngs=key)
        return x

    def __call__(self, x: jax.Array, *, dropout_key: jax.Array | None = None) -> jax.Array:
        """Inputs (N, ...) -> logits (N, K); the arguments are those of `features`."""
        return self.fc8(self.features(x, dropout_key=dropout_key))
