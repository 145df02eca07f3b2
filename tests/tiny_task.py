"""A task that trains in milliseconds: random clips, a ResNet of one block made recurrent."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.metrics import sequence_nll, sequence_scores
from prernn_jax.surgery import make_recurrent
from train.engine.optim import Schedule, sgd, split_frozen
from train.engine.step import Task, create_state, make_train_step, take_apart

CLASSES, BATCH, STEPS, SIDE = 3, 8, 2, 16


def prepare(batch):
    return batch["clips"].astype(jnp.float32) / 64 - 2


def loss(outputs, batch):
    return jnp.mean(sequence_nll(outputs, batch["labels"], batch["lengths"])), {}


def predict(outputs, batch):
    return {"scores": sequence_scores(outputs, batch["lengths"])}


TASK = Task(prepare, loss, predict)
SGD = partial(sgd, epochs=4, steps_per_epoch=3, momentum=0.9, weight_decay=5e-4)


def make_batch(seed):
    rng = np.random.default_rng(seed)
    return {
        "clips": rng.integers(0, 256, (BATCH, STEPS, SIDE, SIDE, 2), dtype=np.uint8),
        "labels": rng.integers(0, CLASSES, BATCH, dtype=np.int32),
        "lengths": rng.integers(1, STEPS + 1, BATCH, dtype=np.int32),
    }


def make_model(dropout=0.0):
    backbone = ResNet((1,), 4, 5, 2, rngs=nnx.Rngs(0))
    model = make_recurrent(backbone, cell="gru", outputs=CLASSES, rngs=nnx.Rngs(1))
    kernel = model.backbone.fc.kernel
    kernel[...] = 0.1 * jax.random.normal(jax.random.key(2), kernel.shape)
    model.dropout = dropout
    return model


def start(
    model,
    *,
    batch_norm="train",
    precision="float32",
    freeze=(),
    rate=0.05,
    remat="none",
    accumulate=1,
):
    network, everything, stats = take_apart(model, batch_norm=batch_norm, remat=remat)
    params, frozen = split_frozen(everything, freeze)
    optimizer = SGD(Schedule(rate), clip_norm=None)
    step = make_train_step(network, TASK, optimizer, precision, accumulate=accumulate)
    return network, step, create_state(params, frozen, stats, optimizer, seed=0)
