"""A network over vectors: features of a large CNN that someone else has computed."""

from typing import ClassVar

import jax
from flax import nnx

from prernn_jax.backbones.head import HeadLayer


class VectorNet(nnx.Module):
    """fc7 and the output layer of a VGG16, over its fc6 features.

    Args:
        inputs: Features D of a step.
        hidden: Units F of fc7.
        outputs: Classes K.
        rngs: Source of the initial weights; seed 0 when None.
    """

    axes: ClassVar[str] = "D"

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, rngs: nnx.Rngs | None = None
    ) -> None:
        rngs = nnx.Rngs(0) if rngs is None else rngs
        he = nnx.initializers.he_normal()
        self.inputs, self.hidden, self.outputs = inputs, hidden, outputs
        self.fc7 = nnx.Linear(inputs, hidden, kernel_init=he, rngs=rngs)
        self.fc8 = nnx.Linear(hidden, outputs, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    @property
    def in_channels(self) -> int:
        """Features of a step."""
        return self.inputs

    @property
    def head(self) -> tuple[HeadLayer, ...]:
        """fc7 and the classifier."""
        return HeadLayer("fc7", nnx.relu), HeadLayer("fc8")

    def trunk(self, x: jax.Array) -> jax.Array:
        """The features as they are, (N, D)."""
        return x

    def features(self, x: jax.Array) -> jax.Array:
        """(N, D) -> (N, F)."""
        return nnx.relu(self.fc7(x))

    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, D) -> logits (N, K)."""
        return self.fc8(self.features(x))
