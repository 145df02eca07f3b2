"""The training steps lowered for a GPU, without one: none of the CPU's own forms is in them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import c3d, resnet, vgg
from flax import nnx

from prernn_jax.preprocess import Preprocessing
from prernn_jax.surgery import make_recurrent
from train.engine.devices import make_mesh, parallel_train_step
from train.engine.optim import GESTURE, TEMPORAL, sgd
from train.engine.step import create_state, make_train_step, take_apart
from train.face.task import OUTPUTS, face_task
from train.run.classification import classification_task

pytestmark = pytest.mark.slow

BATCH, STEPS = 3, 12  # more of both than unroll.py takes without a copy of U
NORMALISE = Preprocessing(scale=1 / 255)
LABELS = {"labels": np.zeros(BATCH, np.int32)}
POINTS = {"landmarks": np.zeros((BATCH, STEPS, OUTPUTS // 2, 2), np.float32)}
# Backbone, size of a step's input, task, outputs, what the task reads, schedule, batch-norm.
STEPS_OF = {
    "action": (resnet, (32, 32, 3), classification_task, 4, LABELS, TEMPORAL, "train"),
    "face": (vgg, (32, 32, 3), face_task, OUTPUTS, POINTS, TEMPORAL, "frozen"),
    "gesture": (c3d, (2, 16, 16, 3), classification_task, 4, LABELS, GESTURE, "frozen"),
}


def lowered(application, platform):
    """The text of a training step, lowered for a platform; nothing is compiled."""
    make, size, task, outputs, target, schedule, batch_norm = STEPS_OF[application]
    model = make_recurrent(make(), cell="gru", outputs=outputs, rngs=nnx.Rngs(1))
    network, params, stats = take_apart(model, batch_norm=batch_norm)
    optimizer = sgd(
        schedule, epochs=2, steps_per_epoch=3, momentum=0.9, weight_decay=5e-4, clip_norm=None
    )
    state = jax.eval_shape(partial(create_state, optimizer=optimizer, seed=0), params, {}, stats)
    batch = {
        "clips": np.zeros((BATCH, STEPS, *size), np.uint8),
        "lengths": np.full(BATCH, STEPS, np.int32),
        **target,
    }
    step = parallel_train_step(
        make_train_step(network, task(NORMALISE), optimizer), make_mesh(1, BATCH)
    )
    batch = jax.tree.map(jnp.asarray, batch)
    return step.trace(state, batch).lower(lowering_platforms=(platform,)).as_text()


def count(text):
    """How often the marks of the two platforms' forms stand in a lowered step."""
    marks = ("optimization_barrier", "stablehlo.while", "reduce_window")
    return {mark: text.count(mark) for mark in marks}


@pytest.mark.parametrize("application", STEPS_OF)
def test_a_step_for_cuda_has_no_form_of_the_cpu(application):
    cuda, cpu = (count(lowered(application, platform)) for platform in ("cuda", "cpu"))
    recurrent_layers = 1 if application == "action" else 2
    # One scan forward and one backward for each recurrent layer, and nothing else in a loop.
    assert cuda["stablehlo.while"] == 2 * recurrent_layers
    assert cuda["optimization_barrier"] == 0
    assert cuda["reduce_window"] > 0  # XLA's own pooling
    # These would not pass for the CPU: the test can fail.
    assert cpu["optimization_barrier"] > 0
    assert cpu["reduce_window"] == 0
