"""The paper's preset of train.face at full size: VGG16 with PreRNN fc6 and fc7, two steps."""

from dataclasses import replace

import numpy as np
import pytest
from flax import nnx

from prernn_jax.backbones.vgg import VGG16
from prernn_jax.files.models import apply_surgery
from train.engine.devices import make_mesh, set_up, split
from train.engine.optim import sgd
from train.face.config import paper
from train.face.task import OUTPUTS, face_task
from train.run.backbone import RGB, Backbone, expecting
from train.run.stage_two import surgery_call

pytestmark = pytest.mark.nightly


def test_two_steps_on_random_data():
    config = replace(paper(), cell="vrnn", batch_size=1)  # the smallest of the three cells
    backbone = expecting(Backbone(VGG16(rngs=nnx.Rngs(0)), "random"), RGB)
    surgery = surgery_call(config, backbone, OUTPUTS)
    assert surgery["layers"] == ("fc6", "fc7")
    model = apply_surgery(backbone.model, surgery, rngs=nnx.Rngs(0))
    optimizer = sgd(
        config.schedule,
        epochs=config.epochs,
        steps_per_epoch=10,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    mesh = make_mesh(1, config.batch_size)
    training = set_up(model, face_task(backbone.preprocess), optimizer, mesh, seed=0)
    del model, backbone
    rng = np.random.default_rng(0)
    batch = {
        "clips": rng.integers(0, 256, (1, 3, config.size, config.size, 3), dtype=np.uint8),
        "landmarks": rng.uniform(-0.5, 0.5, (1, 3, 68, 2)).astype(np.float32),
        "lengths": np.array([3], np.int32),
    }
    state = training.state
    assert state.params["backbone.fc6.kernel"].shape == (25088, 4096)
    assert state.params["backbone.fc7.recurrent_kernel"].shape == (1, 4096, 4096)
    losses = []
    for _ in range(2):
        state, metrics = training.train_step(state, split(batch, mesh))
        losses.append(float(metrics["loss"]))
    assert losses[0] == pytest.approx(np.linalg.norm(batch["landmarks"], axis=(2, 3)).mean())
    assert losses[1] < losses[0]  # the output layer started at zero
