"""Every kind of run of the three programs can be exported, with the same outputs in PyTorch."""

import json

import pytest
from exported_alike import assert_backbone_alike, assert_exported_alike
from flax import nnx
from random_model import random_model

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.files import models
from prernn_jax.files.backbones import save_parameters
from prernn_jax.files.models import apply_surgery
from train.action.config import ActionConfig
from train.action.pretrain import STAGE_SIZES, WIDTH
from train.face.config import FaceConfig
from train.face.pretrain import CHANNELS
from train.gesture.config import GestureConfig
from train.gesture.pretrain import COMPACT
from train.run.backbone import Backbone
from train.run.stage_two import surgery_call
from weights_port.export import export

pytestmark = pytest.mark.slow

RESNET = {"stage_sizes": STAGE_SIZES, "width": WIDTH, "num_outputs": 9}
# What stage one of the programs makes: the default runs' networks.
NETWORKS = {
    "spatial": (ResNet, RESNET | {"in_channels": 3}, ActionConfig),
    "temporal": (ResNet, RESNET | {"in_channels": 10}, ActionConfig),
    "depth": (C3D, COMPACT | {"clip_length": 4, "image_size": 48}, GestureConfig),
    "face": (CompactVGG, {"channels": CHANNELS, "hidden": 32}, FaceConfig),
}
RUNS = [
    {"model": "pre", "cell": "gru"},
    {"model": "pre", "cell": "lstm", "extra": 1},
    {"model": "pre", "cell": "vrnn", "readout": "none", "init": "random"},
    {"model": "pre_sih", "cell": "lstm"},
    {"model": "pre_sih", "cell": "gru", "extra": 2},
    {"model": "traditional", "cell": "lstm", "stacked": 2, "hidden": 5},
    {"model": "traditional", "cell": "gru"},
    {"model": "feedforward"},
]


def _network(name):
    cls, arguments, config = NETWORKS[name]
    model = random_model(lambda: cls(**arguments, rngs=nnx.Rngs(0)))
    return Backbone(model, "stage one"), config


def _run(folder, name, settings):
    """The folder of a run with random weights."""
    backbone, config = _network(name)
    call = surgery_call(config(**settings), backbone, 5)
    model = random_model(lambda: apply_surgery(backbone.model, call, rngs=nnx.Rngs(1)))
    models.save(folder / "model.safetensors", model)


# Every kind with a convolution and with matrices that become recurrent. The other two networks
# differ from those in the first layer, and in clips in place of images.
KINDS = {"spatial": RUNS, "face": RUNS, "depth": [*RUNS[::2], RUNS[-1]], "temporal": RUNS[:1]}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        pytest.param(name, settings, id=f"{name}-{'-'.join(map(str, settings.values()))}")
        for name, kinds in KINDS.items()
        for settings in kinds
    ],
)
def test_a_run_of_each_kind(tmp_path, name, settings):
    _run(tmp_path, name, settings)
    assert_exported_alike(tmp_path, tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["depth", "face"])
@pytest.mark.parametrize("layers", [("fc6",), ("fc7",)])
def test_one_layer_made_recurrent(tmp_path, name, layers):
    _run(tmp_path, name, {"model": "pre", "cell": "gru", "layers": layers})
    assert_exported_alike(tmp_path, tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_of_stage_one(tmp_path, name):
    backbone, _ = _network(name)
    models.save(tmp_path / "x", backbone.model)
    assert_backbone_alike(models.load(tmp_path / "x"), tmp_path / "x", tmp_path / "x.pth")


def test_an_architecture_without_a_network_in_torch(tmp_path):
    metadata = {"architecture": "resnet", "arguments": json.dumps({"x": 1})}
    save_parameters(tmp_path / "x", {}, metadata)
    with pytest.raises(InputError, match="an argument 'x'"):
        export(tmp_path / "x", tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()
