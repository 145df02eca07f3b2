"""Face alignment as a task: input, loss, predictions, their metrics, and the batches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from prernn_jax.data.batches import EvalLoader, TrainLoader
from prernn_jax.data.face.landmarks import OUTER_EYES, POINTS
from prernn_jax.data.face.loader import face_eval_loader, face_train_loader
from prernn_jax.data.face.metrics import landmark_metrics
from prernn_jax.data.face.point_set import IBUG, PointSet
from prernn_jax.data.records import RandomAccessSource
from prernn_jax.metrics import landmark_loss
from prernn_jax.preprocess import Preprocessing

from ..engine.evaluate import Predictions
from ..engine.processes import shard
from ..engine.step import Batch, Metrics, Task
from .config import FaceConfig

OUTPUTS = 2 * POINTS


def points(outputs: Any) -> Any:
    """A network's outputs (..., 2 P) as points (..., P, 2): x, y, x, y, ..."""
    return outputs.reshape(*outputs.shape[:-1], -1, 2)


def all_points(landmarks: Any) -> Any:
    """The landmarks (..., 68, 2) as they are."""
    return landmarks


def head_points(landmarks: Any) -> Any:
    """The middle of all landmarks (..., 68, 2) and the outer eye corners: (..., 3, 2)."""
    middle = landmarks.mean(axis=-2)[..., None, :]
    return jnp.concatenate([middle, landmarks[..., np.array(OUTER_EYES), :]], axis=-2)


def face_task(preprocess: Preprocessing, target: Callable[[Any], Any] = all_points) -> Task:
    """The Euclidean distance of the points in every frame, in coordinates of the box.

    Args:
        preprocess: What the pre-trained network's input is normalised by.
        target: Landmarks (..., 68, 2) -> the points to be found (..., P, 2).
    """

    def prepare(batch: Batch) -> Array:
        return preprocess.normalise(batch["clips"])

    def loss(outputs: Array, batch: Batch) -> tuple[Array, Metrics]:
        found = landmark_loss(points(outputs), target(batch["landmarks"]), batch["lengths"])
        return jnp.mean(found), {}

    def predict(outputs: Array, batch: Batch) -> Metrics:
        return {"predicted": points(outputs)}

    return Task(prepare, loss, predict)


def frames_of(found: Predictions) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Every frame of a set, in order: its video (N,), predicted and true landmarks (N, P, 2)."""
    steps = found["predicted"].shape[1]
    there = np.arange(steps) < found["lengths"][:, None]  # (R, T)
    video = np.broadcast_to(found["video"][:, None], there.shape)
    return video[there], found["predicted"][there], found["landmarks"][there]


def measure(found: Predictions, landmarks: PointSet = IBUG) -> dict[str, float]:
    """Metrics pooled over all frames of a set, see `landmark_metrics`."""
    _, predicted, true = frames_of(found)
    return landmark_metrics(predicted, true, landmarks.normalisers)


def train_batches(
    source: RandomAccessSource,
    config: FaceConfig,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    landmarks: PointSet = IBUG,
) -> TrainLoader:
    """Endless augmented batches of the training set; mirrored where the landmarks can be."""
    augment = config.augmentation
    if landmarks.mirrored is None:
        augment = replace(augment, flip=0.0)
    return face_train_loader(
        source,
        batch_size=batch_size,
        steps=steps,
        size=config.size,
        augment=augment,
        seed=seed,
        mirrored=landmarks.mirrored,
        workers=config.workers,
        shard=shard(),
    )


def test_batches(
    source: RandomAccessSource, config: FaceConfig, *, steps: int, batch_size: int
) -> EvalLoader:
    """Batches of a whole set, every frame once."""
    return face_eval_loader(
        source,
        batch_size=batch_size,
        steps=steps,
        size=config.size,
        workers=config.workers,
        shard=shard(),
    )
