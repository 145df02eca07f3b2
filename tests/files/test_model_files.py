"""Sequence models on disk: round trip of every surgery, and files that do not fit."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from random_model import random_model

import prernn_jax
from prernn_jax import surgery
from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.files import backbones as pretrained
from prernn_jax.files import models as saved_model
from prernn_jax.preprocess import Preprocessing

VGG = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}
C3 = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32, "clip_length": 8}
RES = {"stage_sizes": [1, 1], "width": 4, "num_outputs": 3}
CASES = [
    ("vgg16", VGG16, VGG, {"function": "make_recurrent", "layers": ["fc7"], "cell": "lstm"}),
    ("vgg16", VGG16, VGG, {"function": "make_recurrent", "cell": "gru", "extra": 1, "outputs": 4}),
    ("c3d", C3D, C3, {"function": "stack_recurrent", "cell": "vrnn", "hidden": 6, "layers": 2}),
    ("resnet", ResNet, RES, {"function": "make_recurrent", "cell": "gru_cho", "shared": True}),
    ("resnet", ResNet, RES, {"function": "make_recurrent", "cell": "lstm", "readout": None}),
    ("resnet", ResNet, RES, {"function": "per_frame", "outputs": 2}),
]


def _model(cls, arguments, call):
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    function = getattr(surgery, call["function"])
    rest = {k: v for k, v in call.items() if k != "function"}
    return random_model(
        lambda: function(cls(**arguments, rngs=nnx.Rngs(1)), **rest, rngs=nnx.Rngs(2))
    )


def _metadata(name, arguments):
    return {"architecture": name, "arguments": json.dumps(arguments), "note": "kept"}


@pytest.mark.parametrize(("name", "cls", "arguments", "call"), CASES)
def test_round_trip(tmp_path, name, cls, arguments, call):
    model = _model(cls, arguments, call)
    path = tmp_path / "model.safetensors"
    saved_model.save_model(path, model, _metadata(name, arguments), call)
    loaded = saved_model.load_model(path)
    assert nnx.graphdef(loaded) == nnx.graphdef(model)
    expected = pretrained.flat_parameters(model)
    ours = pretrained.flat_parameters(loaded)
    assert ours.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(ours[key], array)
    assert pretrained.read_parameters(path)[1]["note"] == "kept"


def test_a_loaded_model_runs(tmp_path):
    name, cls, arguments, call = CASES[0]
    model = _model(cls, arguments, call)
    saved_model.save_model(tmp_path / "m", model, _metadata(name, arguments), call)
    clips = np.random.default_rng(0).normal(size=(2, 3, 32, 32, 3)).astype(np.float32)
    expected, carry = model(jnp.asarray(clips))
    outputs, loaded_carry = saved_model.load_model(tmp_path / "m")(jnp.asarray(clips))
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(loaded_carry[0], carry[0])


def test_preprocessing_travels_along(tmp_path):
    volume = np.random.default_rng(0).normal(size=(4, 40, 40, 3)).astype(np.float32)
    preprocess = Preprocessing(channels="bgr", crop=(32, 32), mean_volume=volume)
    call = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru"}
    model = _model(VGG16, VGG, call)
    model.backbone.preprocess = preprocess
    saved_model.save_model(tmp_path / "m", model, _metadata("vgg16", VGG), call)
    loaded = saved_model.load_model(tmp_path / "m")
    frames = np.random.default_rng(1).integers(0, 256, (1, 3, 40, 40, 3), np.uint8)
    np.testing.assert_array_equal(loaded.backbone.preprocess(frames), preprocess(frames))


def test_a_call_that_does_not_give_the_model_is_refused(tmp_path):
    call = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru"}
    model = _model(VGG16, VGG, call)
    for wrong, message in [
        ({**call, "cell": "lstm"}, "wrong shape: backbone.fc7.bias"),
        ({**call, "layers": ["fc6"]}, "missing: backbone.fc6.recurrent_kernel"),
        ({**call, "cell": "peephole"}, "unknown cell"),
        ({**call, "depth": 3}, "depth"),
        ({**call, "readout": nnx.relu}, "JSON"),
        ({"function": "exec"}, "names the function 'exec'"),
        ({"cell": "gru"}, "names the function None"),
    ]:
        with pytest.raises(InputError, match=message):
            saved_model.save_model(tmp_path / "m", model, _metadata("vgg16", VGG), wrong)
    assert list(tmp_path.iterdir()) == []


def test_backbones_and_models_are_told_apart(tmp_path):
    call = {"function": "per_frame"}
    model = _model(VGG16, VGG, call)
    saved_model.save_model(tmp_path / "m", model, _metadata("vgg16", VGG), call)
    with pytest.raises(InputError, match="load_model"):
        pretrained.load_pretrained(tmp_path / "m")
    arrays = pretrained.flat_parameters(model.backbone)
    pretrained.save_parameters(tmp_path / "b", arrays, _metadata("vgg16", VGG))
    with pytest.raises(InputError, match="load_pretrained"):
        saved_model.load_model(tmp_path / "b")
    arrays, metadata = pretrained.read_parameters(tmp_path / "m")
    del arrays["backbone.fc6.bias"]
    pretrained.save_parameters(tmp_path / "c", arrays, metadata)
    with pytest.raises(InputError, match=r"missing: backbone\.fc6\.bias"):
        saved_model.load_model(tmp_path / "c")


def test_the_package_offers_both_loaders():
    assert prernn_jax.load_pretrained is pretrained.load_pretrained
    assert prernn_jax.load_model.__module__ == "prernn_jax.files.models"
    with pytest.raises(AttributeError, match="no attribute 'load'"):
        _ = prernn_jax.load
