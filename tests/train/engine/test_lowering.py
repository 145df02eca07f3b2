"""The training steps lowered for a GPU, without one: what is in them, and what must not be.

None of the CPU's own forms; no float64; no row of the batch is turned round in memory; channels
stay last; the step takes over the memory of the whole state; devices meet as often as they must.
"""

import re
from functools import cache, partial

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


@cache
def lowered(application, platform, devices=1):
    """The text of a training step, lowered for a platform, and its state; nothing is compiled."""
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
        make_train_step(network, task(NORMALISE), optimizer), make_mesh(devices, BATCH)
    )
    batch = jax.tree.map(jnp.asarray, batch)
    return step.trace(state, batch).lower(lowering_platforms=(platform,)).as_text(), state


def count(text):
    """How often the marks of the two platforms' forms stand in a lowered step."""
    marks = ("optimization_barrier", "stablehlo.while", "reduce_window")
    return {mark: text.count(mark) for mark in marks}


@pytest.mark.parametrize("application", STEPS_OF)
def test_a_step_for_cuda_has_no_form_of_the_cpu(application):
    cuda, cpu = (count(lowered(application, platform)[0]) for platform in ("cuda", "cpu"))
    recurrent_layers = 1 if application == "action" else 2
    # One scan forward and one backward for each recurrent layer, and nothing else in a loop.
    assert cuda["stablehlo.while"] == 2 * recurrent_layers
    assert cuda["optimization_barrier"] == 0
    assert cuda["reduce_window"] > 0  # XLA's own pooling
    # These would not pass for the CPU: the test can fail.
    assert cpu["optimization_barrier"] > 0
    assert cpu["reduce_window"] == 0


@pytest.mark.parametrize("application", STEPS_OF)
def test_nothing_is_in_float64(application):
    text, _ = lowered(application, "cuda")
    assert "f32" in text
    assert not re.search(r"\bf64\b|xf64", text)


@pytest.mark.parametrize("application", STEPS_OF)
def test_no_row_of_the_batch_is_turned_round(application):
    """Neither images nor features (B·T, ...); time and batch change places in the recurrence."""
    text, _ = lowered(application, "cuda")
    turned = re.findall(r"stablehlo\.transpose .*?: \(tensor<([\dx]+)x[a-z]\w*>\)", text)
    assert turned  # of weights and of the recurrence: the expression finds what it should
    for shape in turned:
        sizes = [int(size) for size in shape.split("x")]
        assert BATCH * STEPS not in sizes, shape
        assert len(sizes) <= 4, shape


@pytest.mark.parametrize("application", STEPS_OF)
def test_channels_are_last_in_every_convolution(application):
    """Inputs and outputs (N, H, W, C); a weight gradient reads both so and writes (h, w, I, O)."""
    text, _ = lowered(application, "cuda")
    found = re.findall(
        r"stablehlo\.convolution.*?dim_numbers = \[(.*?)\]x\[(.*?)\]->\[(.*?)\]", text
    )
    assert len(found) > 6
    for left, _, out in found:
        for layout in (left, out):
            letters = layout.replace(" ", "").split(",")
            assert letters[1:-1] == [str(n) for n in range(len(letters) - 2)] or (
                letters[:-2] == [str(n) for n in range(len(letters) - 2)]
            ), layout


@pytest.mark.parametrize("application", STEPS_OF)
def test_the_step_takes_over_the_memory_of_the_whole_state(application):
    text, state = lowered(application, "cuda")
    given = text.count("tf.aliasing_output") + text.count("jax.buffer_donor")
    assert given == len(jax.tree.leaves(state))


@pytest.mark.parametrize("application", STEPS_OF)
def test_one_device_meets_nobody(application):
    text, _ = lowered(application, "cuda")
    assert not re.search(r"stablehlo\.(all_|reduce_scatter|collective)", text)


def test_several_devices_meet_twice_for_each_batch_norm_and_once_for_each_gradient():
    """XLA joins the all-reduces of the gradients: none of them waits for another."""
    text, state = lowered("action", "cuda", devices=3)
    norms = sum(name.endswith(".mean") for name in state.batch_stats)
    assert norms > 5
    assert text.count("stablehlo.all_gather") == norms
    metrics = 2  # loss, clip_top1
    assert text.count("stablehlo.all_reduce") == norms + len(state.params) + metrics
