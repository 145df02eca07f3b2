"""A small vision transformer, which knows nothing of this package, gets a memory."""

import jax
import numpy as np
from flax import nnx

import prernn_jax as pj


class Vit(nnx.Module):
    """Patches of 8x8 pixels, two blocks of attention, a hidden layer and a classifier."""

    def __init__(self, classes: int = 5, width: int = 32, *, rngs: nnx.Rngs) -> None:
        self.patches = nnx.Conv(3, width, (8, 8), 8, rngs=rngs)
        self.attention = nnx.List(
            [nnx.MultiHeadAttention(4, width, decode=False, rngs=rngs) for _ in range(2)]
        )
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        self.hidden = nnx.Linear(width, width, rngs=rngs)
        self.classifier = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Images (N, H, W, 3) -> logits (N, K)."""
        x = self.patches(images)
        x = x.reshape(x.shape[0], -1, x.shape[-1])  # (N, patches, width)
        for norm, attention in zip(self.norms, self.attention, strict=True):
            x = x + attention(norm(x))
        return self.classifier(nnx.relu(self.hidden(x.mean(axis=1))))


vit = Vit(rngs=nnx.Rngs(0))
model = pj.make_recurrent(vit, "hidden", cell="lstm")
clips = np.random.default_rng(0).normal(size=(2, 6, 32, 32, 3)).astype(np.float32)

outputs, carry = model(clips)  # (B, T, K)
first, carry = model(clips[:, :3])
rest, _ = model(clips[:, 3:], carry=carry)  # goes on where it stopped
print("in two parts:", float(np.abs(np.concatenate([first, rest], 1) - outputs).max()))

pj.save("vit.safetensors", model, overwrite=True)
again = pj.load("vit.safetensors", builder=Vit)  # its code is not in the file
print("read again:", float(np.abs(again(clips)[0] - outputs).max()))
