"""Training on features of videos that are in memory: what is drawn, and one compiled training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy.typing import NDArray

from prernn_jax.backbones.vector import VectorNet
from prernn_jax.cpu.xla import jit
from prernn_jax.data.video_features import VideoFeatures
from prernn_jax.errors import InputError
from prernn_jax.metrics import sequence_nll, sequence_scores
from prernn_jax.precision import products_in

from ..engine.step import Network, take_apart

Numbers = NDArray[np.int64]
Frames = Literal["other_classes", "other_videos", "same_videos"]
"""Whose single frames fc7 learns before it becomes recurrent."""


class Draw(NamedTuple):
    """What one seed draws; the arrays are numbers of videos.

    Attributes:
        frames: Whose single frames fc7 is trained on.
        train: The few labelled videos.
        validation: As many, of other groups of the training set.
        test: The official test videos of the same classes.
        classes: Class numbers in the file, in the order of the labels.
    """

    frames: Numbers
    train: Numbers
    validation: Numbers
    test: Numbers
    classes: Numbers


def draw_videos(data: VideoFeatures, seed: int, videos: int, frames: Frames) -> Draw:
    """Draws classes and videos.

    Args:
        data: The videos.
        seed: The seed of the draw.
        videos: How many videos a class to train on, each of a group of its own.
        frames: Train fc7 on other classes, half of all; on other videos of the same classes, of
            groups of their own; or on the few videos themselves.

    Raises:
        InputError: A class has too few groups, or there are too few classes.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(data.labels))
    half = len(classes) // 2 if frames == "other_classes" else 0
    least = 2 * videos + (frames == "other_videos")
    if len(classes) - half < 2:
        raise InputError(f"{len(classes)} classes: too few to leave two to tell apart")
    first, used = classes[:half], np.sort(classes[half:])
    train: list[int] = []
    validation: list[int] = []
    others: list[int] = []
    for label in used.tolist():
        mine = np.flatnonzero((data.labels == label) & ~data.test)
        groups = rng.permutation(np.unique(data.groups[mine]))
        if len(groups) < least:
            raise InputError(
                f"class {label} has {len(groups)} groups to train on; --videos={videos} needs "
                f"{least}: as many again for validation"
                + (", and one for fc7" if least > 2 * videos else "")
            )
        for place, group in enumerate(groups[: 2 * videos].tolist()):
            one = int(rng.choice(mine[data.groups[mine] == group]))
            (train if place < videos else validation).append(one)
        others += mine[np.isin(data.groups[mine], groups[2 * videos :])].tolist()
    shown = {
        "other_classes": np.flatnonzero(np.isin(data.labels, first) & ~data.test),
        "other_videos": np.array(others, np.int64),
        "same_videos": np.array(train),
    }[frames]
    test = np.flatnonzero(np.isin(data.labels, used) & data.test)
    return Draw(shown, np.array(train), np.array(validation), test, used)


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        steps: Steps of SGD.
        batch_size: Sequences a step.
    """

    steps: int
    batch_size: int

    def order(self, count: int, seed: int) -> Numbers:
        """(steps, batch size): every sequence once before any comes again."""
        rng = np.random.default_rng(seed)
        wanted = self.steps * self.batch_size
        whole = [rng.permutation(count) for _ in range(-(-wanted // count))]
        return np.concatenate(whole)[:wanted].reshape(self.steps, self.batch_size)


class Compiled(NamedTuple):
    """A structure, compiled once for all seeds and rates.

    Attributes:
        train: Parameters, sequences (N, T, D), labels (N,), order (S, B), rate -> parameters.
        predict: Parameters and sequences -> mean softmax over the steps (N, K) and outputs.
    """

    train: Callable[..., Any]
    predict: Callable[..., Any]


_OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(5.0), optax.add_decayed_weights(5e-4), optax.trace(0.9)
)


def compiled(network: Network) -> Compiled:
    """Compiles training (SGD, momentum 0.9, decay 5e-4, one cosine) and prediction."""

    def outputs(params: Any, x: Array) -> Array:
        found: Array = network.model(params, {}, train=True)(x)[0]
        return found

    @products_in("float32")
    def train(params: Any, x: Array, y: Array, order: Array, rate: Array) -> Any:
        def loss(params: Any, rows: Array) -> Array:
            found = outputs(params, x[rows])
            lengths = jnp.full(rows.shape, x.shape[1], jnp.int32)
            return jnp.mean(sequence_nll(found, y[rows], lengths))

        def step(carry: Any, given: Any) -> tuple[Any, None]:
            params, state = carry
            rows, factor = given
            updates, state = _OPTIMIZER.update(jax.grad(loss)(params, rows), state, params)
            moved = jax.tree.map(lambda p, u: p - rate * factor * u, params, updates)
            return (moved, state), None

        cosine = 0.5 * (1 + jnp.cos(jnp.linspace(0, jnp.pi, len(order), dtype=jnp.float32)))
        start = (params, _OPTIMIZER.init(params))
        return jax.lax.scan(step, start, (order, cosine))[0][0]

    @products_in("float32")
    def predict(params: Any, x: Array) -> tuple[Array, Array]:
        found = outputs(params, x)
        lengths = jnp.full((x.shape[0],), x.shape[1], jnp.int32)
        return sequence_scores(found, lengths), found

    return Compiled(jit(train), jit(predict))


def pretrained(
    data: VideoFeatures, draw: Draw, steps: int, hidden: int, length: Length, seed: int, run: Any
) -> VectorNet:
    """A VectorNet of which fc7 has learned from single frames.

    Args:
        data: The videos.
        draw: Says which videos' frames.
        steps: Frames a video.
        hidden: Units of fc7.
        length: The length of the training.
        seed: The seed of weights and order.
        run: Trains: `(model, x, y, order) -> parameters`, x (N, 1, D).
    """
    frames = data.values(draw.frames, steps)  # (n, T, D)
    labels = np.unique(data.labels[draw.frames], return_inverse=True)[1]
    x = frames.reshape(-1, 1, frames.shape[-1])  # (n·T, 1, D)
    y = np.repeat(labels, steps).astype(np.int32)
    model = VectorNet(x.shape[-1], hidden, int(labels.max()) + 1, rngs=nnx.Rngs(seed))
    params: Mapping[str, Any] = run(model, x, y, length.order(len(x), seed))
    for name in ("kernel", "bias"):
        getattr(model.fc7, name).set_value(jnp.asarray(params[f"backbone.fc7.{name}"]))
    return model


def structure_of(model: Any) -> tuple[Network, Any]:
    """A sequence model's structure and parameters."""
    network, params, _ = take_apart(model, batch_norm="frozen")
    return network, params
