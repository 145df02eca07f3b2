"""Small networks, and weights drawn by NumPy: initialisers take long to compile."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.head import HeadLayer
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16


def drawn(make: Callable[[], Any], seed: int = 0, dtype: Any = np.float32) -> Any:
    """What `make` makes, with random weights, biases and statistics in `dtype`."""
    model = nnx.eval_shape(make)
    graphdef, state = nnx.split(model)
    rng = np.random.default_rng(seed)
    for path, leaf in nnx.to_flat_state(state):
        if path[-1] in ("scale", "var"):
            array = rng.uniform(0.5, 1.5, leaf.shape)
        elif len(leaf.shape) > 1:
            array = rng.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape)
        else:
            array = rng.normal(0, 0.2, leaf.shape)
        leaf.set_value(jnp.asarray(array.astype(dtype)))
    return nnx.merge(graphdef, state)


def in_float64(module: Any) -> Any:
    """A copy of the module with all parameters and statistics in float64."""
    graphdef, state = nnx.split(module)

    def widen(x: jax.Array) -> jax.Array:
        wide = jnp.issubdtype(x.dtype, jnp.floating)
        return jnp.asarray(np.asarray(x, np.float64)) if wide else x

    return nnx.merge(graphdef, jax.tree.map(widen, state))


class Tiny(nnx.Module):
    """A backbone by our contract for images (32, 32, 3), small enough to compile fast."""

    def __init__(self, outputs: int = 4, *, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(3, 4, (3, 3), 8, rngs=rngs)
        self.fc6 = nnx.Linear(64, 6, rngs=rngs)
        self.fc7 = nnx.Linear(6, 6, rngs=rngs)
        self.fc8 = nnx.Linear(6, outputs, rngs=rngs)

    @property
    def head(self) -> tuple[HeadLayer, ...]:
        return HeadLayer("fc6", nnx.relu), HeadLayer("fc7", nnx.relu), HeadLayer("fc8")

    def trunk(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.conv(x)).reshape(x.shape[0], -1)

    def features(self, x: jax.Array) -> jax.Array:
        return nnx.relu(self.fc7(nnx.relu(self.fc6(self.trunk(x)))))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc8(self.features(x))


class Foreign(nnx.Module):
    """For the same images; knows nothing of us: nested names, a list, a ReLU of its own."""

    def __init__(self, outputs: int = 4, *, rngs: nnx.Rngs) -> None:
        self.convs = nnx.List([nnx.Conv(3, 4, (3, 3), 8, rngs=rngs)])
        self.neck = nnx.Sequential(nnx.Linear(64, 6, rngs=rngs), nnx.relu)
        inner, out = (nnx.Linear(6, size, rngs=rngs) for size in (6, outputs))
        self.head = nnx.Dict(inner=inner, out=out)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv in self.convs:
            x = nnx.relu(conv(x))
        x = self.neck(x.reshape(x.shape[0], -1))
        return self.head.out(nnx.relu(self.head.inner(x)))


OUTPUTS = 4
FOREIGN_LAYERS = ["neck.layers.0", "head.inner"]
IMAGE, CLIP = (32, 32, 3), (2, 16, 16, 3)


def tiny() -> Tiny:
    return Tiny(rngs=nnx.Rngs(0))


def foreign() -> Foreign:
    return Foreign(rngs=nnx.Rngs(0))


def vgg() -> VGG16:
    return VGG16(OUTPUTS, width=4, hidden=8, image_size=32, rngs=nnx.Rngs(0))


def c3d() -> C3D:
    return C3D(OUTPUTS, width=4, hidden=8, clip_length=2, image_size=16, rngs=nnx.Rngs(0))


def resnet() -> ResNet:
    return ResNet((1, 1), width=2, num_outputs=OUTPUTS, rngs=nnx.Rngs(0))


def random_clips(
    batch: int, steps: int, size: tuple[int, ...] = IMAGE, dtype: Any = np.float32
) -> Any:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(batch, steps, *size)).astype(dtype))
