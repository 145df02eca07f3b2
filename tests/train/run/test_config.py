"""What no run can have is refused, and a traditional net has the size that the paper gives it."""

from dataclasses import replace

import pytest
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import ResNet, ResNet50
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.files.models import apply_surgery
from prernn_jax.module_path import get_layer
from prernn_jax.new_weights import budget_of, stack_weights
from train.action.config import ActionConfig, action_preset
from train.action.pretrain import STAGE_SIZES, WIDTH
from train.engine.optim import Schedule
from train.face.config import FaceConfig, face_preset
from train.face.pretrain import CHANNELS
from train.gesture.config import GestureConfig, gesture_preset
from train.gesture.pretrain import COMPACT
from train.run.backbone import Backbone
from train.run.config import check_run, run_name
from train.run.stage_two import surgery_call

CONFIGS = (ActionConfig(), FaceConfig(), GestureConfig())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": -0.1}, "--momentum=-0.1: expected 0 or more and less than 1"),
        ({"momentum": 1.0}, "--momentum=1.0"),
        ({"weight_decay": -1e-4}, "--weight_decay=-0.0001: expected 0 or more"),
        ({"weight_decay": float("nan")}, "--weight_decay=nan"),
        ({"clip_norm": 0.0}, "--clip_norm=0.0: expected more than 0"),
        ({"clip_norm": -1.0}, "--clip_norm=-1.0"),
        ({"schedule": Schedule(-0.1)}, "--schedule.base=-0.1: expected more than 0"),
        ({"schedule": Schedule(0.1, every=0.0)}, "--schedule.every=0.0: expected more than 0"),
        ({"schedule": Schedule(0.1, hold=-1.0)}, "--schedule.hold=-1.0: expected 0 or more"),
        ({"schedule": Schedule(0.1, factor=1.0)}, "--schedule.factor=1.0: expected less than 1"),
        ({"schedule": Schedule(float("nan"))}, "--schedule.base=nan"),
        ({"stacked": 0, "model": "traditional"}, "--stacked=0: expected 1 or more"),
        ({"name": "."}, r"--name='\.': expected the name of a folder"),  # all runs would be renamed
        ({"name": ".."}, r"--name='\.\.': expected"),
        ({"name": "/home/me/videos"}, "--name='/home/me/videos': expected"),
        ({"name": "a/b"}, "--name='a/b': expected the name of a folder, without /; --workdir"),
        ({"name": "a\nb"}, "--name=.*: expected"),
        ({"stacked": 1}, "--hidden and --stacked belong to --model=traditional"),
    ],
)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.application)
def test_what_no_run_can_have(config, change, message):
    check_run(config)
    with pytest.raises(InputError, match=message):
        check_run(replace(config, **change))


def test_names_tell_runs_apart():
    config = replace(FaceConfig(), model="traditional")
    assert run_name(config, "embedded") == "embedded-traditional-gru-fc6-seed0"
    two = replace(config, stacked=2, hidden=7)
    assert run_name(two, "embedded") == "embedded-traditional-gru-fc6-2layers-hidden7-seed0"


def compact_vgg(rngs):
    return CompactVGG(channels=CHANNELS, hidden=128, image_size=48, num_outputs=136, rngs=rngs)


def compact_resnet(rngs):
    return ResNet(stage_sizes=STAGE_SIZES, width=WIDTH, num_outputs=20, rngs=rngs)


def compact_c3d(rngs):
    return C3D(**COMPACT, clip_length=4, image_size=48, num_outputs=12, rngs=rngs)


def c3d(rngs):
    return C3D(clip_length=8, num_outputs=25, rngs=rngs)


def vgg(rngs):
    return VGG16(num_outputs=136, rngs=rngs)


def resnet(rngs):
    return ResNet50(num_outputs=101, rngs=rngs)


PRESETS = {
    "face, paper": (face_preset({"preset": "paper"}), vgg),
    "face, embedded": (face_preset({}), compact_vgg),
    "action, paper": (action_preset({"preset": "paper"}), resnet),
    "action, embedded": (action_preset({}), compact_resnet),
    "gesture, paper": (gesture_preset({"preset": "paper"}), c3d),
    "gesture, embedded": (gesture_preset({}), compact_c3d),
}
HIDDEN = {"vrnn": 2740, "lstm": 5761, "gru": 5497}  # docs/paper.md, Table 1


def weights(model):
    """Number of weights, biases and batch-norm not counted."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return sum(value.get_value().size for path, value in flat if str(path[-1]).endswith("kernel"))


def made(config, make, outputs):
    network = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    call = surgery_call(config, Backbone(network, ""), outputs)
    model = nnx.eval_shape(lambda: apply_surgery(make(nnx.Rngs(0)), call, rngs=nnx.Rngs(0)))
    return network, call, model


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["vrnn", "lstm", "gru"])
@pytest.mark.parametrize("preset", PRESETS)
def test_new_weights_of_every_model_are_those_of_the_budget(preset, cell):
    preset, make = PRESETS[preset]
    outputs = {"face": 136, "action": 101, "gesture": 25}[preset.application]
    for model, shared in (("pre", False), ("pre_sih", True)):
        network, _, pre = made(replace(preset, model=model, cell=cell), make, outputs)
        budget = budget_of(network, preset.layers or None, cell, shared, outputs)
        without_output = weights(network) - budget.features * present_outputs(network)
        assert weights(pre) == without_output + budget.introduced + budget.output

    network, call, traditional = made(
        replace(preset, model="traditional", cell=cell), make, outputs
    )
    budget = budget_of(network, preset.layers or None, cell, outputs=outputs)
    depth = len(budget.layers)  # as many as are converted
    assert len(traditional.recurrent_layers) == depth
    hidden = call["hidden"]
    assert hidden == budget.matched_hidden(depth)
    new = stack_weights(budget.features, hidden, cell, depth)
    assert sum(map(weights, traditional.recurrent_layers)) == new
    one_more = stack_weights(budget.features, hidden + 1, cell, depth) - new + outputs
    assert abs(new + hidden * outputs - budget.introduced - budget.output) <= one_more
    if make is vgg:
        assert hidden == HIDDEN[cell]


def present_outputs(network):
    """Size of the output layer that the network has before the surgery."""
    return get_layer(network, network.head[-1].name).kernel.shape[-1]
