"""The presets of gestures: the paper's figures, and a step of the paper's network at full size."""

import jax
import numpy as np
import pytest
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.files.models import apply_surgery
from train.engine.devices import make_mesh, set_up, split
from train.engine.optim import reduction, sgd
from train.gesture.application import SPORTS1M
from train.gesture.config import GestureConfig, gesture_preset, paper
from train.run.backbone import Backbone
from train.run.classification import classification_task
from train.run.stage_two import surgery_call


def test_the_paper_preset_is_the_papers():
    config = paper()
    schedule = config.schedule
    assert (schedule.shape, schedule.base, schedule.stop) == ("plateau", 3e-3, 3e-7)
    assert (schedule.factor, schedule.patience) == (0.1, 40)
    assert (config.momentum, config.weight_decay) == (0.9, 5e-4)
    assert (config.steps, config.clip_length, config.crop) == (10, 8, 112)
    assert gesture_preset({"preset": "paper"}) == config
    assert gesture_preset({"data": "nvgesture"}) == config
    assert (config.optimizer, config.trunk) == ("sgd", "trained")
    assert gesture_preset({}) == GestureConfig()


def test_real_gestures_train_the_compact_network_too():
    for data, stride in (("nvgesture", 2), ("folder", 1)):
        config = gesture_preset({"data": data, "preset": "embedded"})
        assert (config.optimizer, config.trunk, config.stride) == ("sgd", "trained", stride)
        assert config.views == 1
        assert gesture_preset({"data": data, "preset": "embedded", "trunk": "cached"}).views == 2
    assert gesture_preset({"trunk": "trained"}).views == 1


@pytest.mark.nightly
def test_the_paper_preset_at_full_size():
    """The whole C3D with fc6 and fc7 recurrent: two steps on random clips of the paper's size."""
    config = paper()
    model = C3D(clip_length=8, rngs=nnx.Rngs(0))
    model.preprocess = SPORTS1M
    backbone = Backbone(model, "random")
    surgery = surgery_call(config, backbone, 25)
    sequence = apply_surgery(model, surgery, rngs=nnx.Rngs(0))
    assert sequence.converted == ("fc6", "fc7")
    optimizer = sgd(
        config.schedule, epochs=config.epochs, steps_per_epoch=1, momentum=config.momentum,
        weight_decay=config.weight_decay, clip_norm=config.clip_norm,
    )  # fmt: skip
    mesh = make_mesh(1, 1)
    training = set_up(sequence, classification_task(SPORTS1M), optimizer, mesh, seed=0)
    del sequence, model
    state = training.state
    count = sum(value.size for value in state.params.values())
    # C3D's 3-D convolutions, and G (D F + F F) + G F of fc6 and of fc7, and the output layer.
    gates = sum(3 * (d * 4096 + 4096**2 + 4096) for d in (8192, 4096))
    assert count == 27_655_936 + gates + 4096 * 25 + 25
    rng = np.random.default_rng(0)
    batch = {
        "clips": rng.integers(0, 256, (1, 2, 8, 112, 112, 3), dtype=np.uint8),
        "lengths": np.array([2], np.int32),
        "labels": np.array([7], np.int32),
    }
    losses = []
    for _ in range(2):
        state, metrics = training.train_step(state, split(batch, mesh))
        losses.append(float(metrics["loss"]))
    assert losses[0] == pytest.approx(np.log(25), abs=1e-3)  # the new output layer is zero
    assert losses[1] < losses[0]
    assert reduction(jax.device_get(state.opt_state)) == 1.0
