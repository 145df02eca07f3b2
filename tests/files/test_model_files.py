"""Saving and loading: round trips of every surgery and backbone, old files, bad files."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from random_model import random_model

import prernn_jax as pj
from prernn_jax import surgery
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.cross_modality import for_flow
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.files import backbones as pretrained
from prernn_jax.files import models as saved_model

VGG = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}
C3 = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32, "clip_length": 8}
RES = {"stage_sizes": (1, 1), "width": 4, "num_outputs": 3}
CASES = [
    (pj.vgg16, VGG, {"function": "make_recurrent", "layers": ["fc7"], "cell": "lstm"}),
    (pj.vgg16, VGG, {"function": "make_recurrent", "extra": 1, "outputs": 4, "dropout": 0.5}),
    (pj.vgg16, VGG, {"function": "make_recurrent", "init": "random", "variant": "caffe"}),
    (pj.c3d, C3, {"function": "stack_recurrent", "cell": "vrnn", "hidden": 6, "depth": 2}),
    (ResNet, RES, {"function": "make_recurrent", "cell": "gru_cho", "shared": True}),
    (ResNet, RES, {"function": "make_recurrent", "cell": "lstm", "readout": None}),
    (ResNet, RES, {"function": "per_frame", "outputs": 2, "dropout": 0.25}),
]


def _model(make, arguments, call):
    rest = {k: v for k, v in call.items() if k not in ("function", "variant")}
    more = {"variant": call["variant"]} if "variant" in call else {}
    function = getattr(surgery, call["function"])
    return random_model(lambda: function(make(**arguments, **more), **rest))


@pytest.mark.parametrize(("make", "arguments", "call"), CASES)
def test_round_trip(tmp_path, make, arguments, call):
    model = _model(make, arguments, call)
    path = tmp_path / "model.safetensors"
    pj.save(path, model)
    loaded = pj.load(path)
    assert nnx.graphdef(loaded) == nnx.graphdef(model)
    assert loaded.dropout == call.get("dropout", 0)
    chex.assert_trees_all_equal(
        pretrained.flat_parameters(loaded), pretrained.flat_parameters(model)
    )
    pj.save(tmp_path / "again", loaded)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (pj.vgg16, VGG | {"variant": "caffe", "in_channels": 4, "image_size": (40, 33)}),
        (pj.c3d, C3 | {"variant": "pytorch", "stage_sizes": (1, 1), "stride": 2, "dropout": 0.1}),
        (ResNet, RES | {"variant": "caffe"}),
        (CompactVGG, {"channels": (2, 3), "hidden": 4, "image_size": 20}),
    ],
)
def test_backbones_say_how_they_are_made(tmp_path, make, arguments):
    model = random_model(lambda: make(**arguments))
    pj.save(tmp_path / "b", model)
    loaded = pj.load(tmp_path / "b")
    assert nnx.graphdef(loaded) == nnx.graphdef(model)
    chex.assert_trees_all_equal(
        pretrained.flat_parameters(loaded), pretrained.flat_parameters(model)
    )
    metadata = pretrained.read_parameters(tmp_path / "b")[1]
    assert metadata.get("variant") == arguments.get("variant")
    given = json.loads(metadata["arguments"])
    assert given.keys() <= arguments.keys() - {"variant"}  # nothing that has its default


def test_what_became_of_a_network_is_what_is_written(tmp_path):
    """A network for flow, and one whose output layer surgery replaced."""
    flow = for_flow(random_model(lambda: pj.vgg16(**VGG)), 4)
    pj.save(tmp_path / "flow", flow)
    assert pj.load(tmp_path / "flow").conv1_1.in_features == 4
    trained = pj.per_frame(flow, outputs=7).backbone
    pj.save(tmp_path / "trained", trained)
    assert pj.load(tmp_path / "trained").fc8.out_features == 7
    pj.save(tmp_path / "model", pj.make_recurrent(trained, "fc7"))
    assert pj.load(tmp_path / "model").backbone.fc8.out_features == 7


def test_a_loaded_model_runs(tmp_path):
    model = _model(*CASES[0])
    pj.save(tmp_path / "m", model)
    clips = np.random.default_rng(0).normal(size=(2, 3, 32, 32, 3)).astype(np.float32)
    chex.assert_trees_all_equal(pj.load(tmp_path / "m")(clips), model(clips))


def test_preprocessing_and_notes_travel_along(tmp_path):
    volume = np.random.default_rng(0).normal(size=(4, 40, 40, 3)).astype(np.float32)
    preprocess = pj.Preprocessing(channels="bgr", crop=(32, 32), mean_volume=volume)
    backbone = random_model(lambda: pj.vgg16(**VGG))
    metadata = {
        "architecture": "vgg16",
        "arguments": json.dumps(VGG),
        "preprocessing": preprocess.to_json(),
        "source": "a file",
    }
    arrays = pretrained.flat_parameters(backbone) | {"preprocessing.mean_volume": volume}
    pretrained.save_parameters(tmp_path / "b", arrays, metadata)
    pj.save(tmp_path / "m", pj.make_recurrent(pj.load(tmp_path / "b"), "fc7"))
    loaded = pj.load(tmp_path / "m")
    frames = np.random.default_rng(1).integers(0, 256, (1, 3, 40, 40, 3), np.uint8)
    np.testing.assert_array_equal(loaded.preprocess(frames), preprocess(frames))
    assert pretrained.read_parameters(tmp_path / "m")[1]["source"] == "a file"
    pj.save(tmp_path / "again", loaded)
    assert pretrained.read_parameters(tmp_path / "again")[1]["source"] == "a file"


OLD = [
    {"function": "stack_recurrent", "cell": "gru", "hidden": 6, "layers": 2, "outputs": 4},
    {
        "function": "make_recurrent", "layers": None, "cell": "lstm", "shared": False,
        "init": "pretrained", "extra": 1, "outputs": 4, "readout": "kept",
    },
    {"function": "per_frame", "outputs": 4},
]  # fmt: skip


@pytest.mark.parametrize("call", OLD, ids=lambda call: call["function"])
def test_older_files_are_read(tmp_path, call):
    """They call the depth `layers`, and know no dropout."""
    new = {("depth" if k == "layers" and v == 2 else k): v for k, v in call.items()}
    model = _model(pj.vgg16, VGG, new)
    metadata = {
        "architecture": "vgg16",
        "arguments": json.dumps(VGG),
        "note": "kept",
        "sequence": json.dumps(call),
    }
    pretrained.save_parameters(tmp_path / "old", pretrained.flat_parameters(model), metadata)
    loaded = pj.load(tmp_path / "old")
    assert loaded.dropout == 0
    assert loaded.backbone.notes == (("note", "kept"),)
    clips = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 32, 32, 3)), jnp.float32)
    chex.assert_trees_all_equal(loaded(clips), model(clips))
    pj.save(tmp_path / "new", loaded)
    written = json.loads(pretrained.read_parameters(tmp_path / "new")[1]["sequence"])
    assert written.get("depth", 2) == 2


def test_a_call_that_gives_no_model_is_refused(tmp_path):
    call = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru"}
    arrays = pretrained.flat_parameters(_model(pj.vgg16, VGG, call))
    for wrong, message in [
        ({**call, "cell": "lstm"}, "wrong shape: backbone.fc7.bias"),
        ({**call, "layers": ["fc6"]}, "missing: backbone.fc6.recurrent_kernel"),
        ({**call, "cell": "peephole"}, "unknown cell"),
        ({**call, "depth": 3}, "depth"),
        ({"function": "exec"}, "names the function 'exec'"),
        ({"function": ["exec"]}, "names the function"),
        ({"cell": "gru"}, "names the function None"),
    ]:
        metadata = {"architecture": "vgg16", "arguments": json.dumps(VGG)}
        metadata["sequence"] = json.dumps(wrong)
        pretrained.save_parameters(tmp_path / "m", arrays, metadata, overwrite=True)
        with pytest.raises(InputError, match=message):
            pj.load(tmp_path / "m")


def test_what_cannot_be_built_again_is_not_written(tmp_path):
    changed = _model(*CASES[0])
    changed.extra = nnx.List([pj.Recurrent(5, 5)])
    for model, message in [
        (changed, r"changed after it was made .* unknown: extra\.0\.bias"),
        (nnx.Dropout(0.5), "Dropout has no parameters"),
        ("vgg16", "a str cannot be saved; expected an nnx.Module"),
    ]:
        with pytest.raises(InputError, match=message):
            pj.save(tmp_path / "m", model)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path):
    model = random_model(lambda: pj.vgg16(**VGG))
    pj.save(tmp_path / "m", model)
    with pytest.raises(InputError, match="exists already"):
        pj.save(tmp_path / "m", model)
    pj.save(tmp_path / "m", model, overwrite=True)


def test_backbones_and_models_are_told_apart(tmp_path):
    model = _model(pj.vgg16, VGG, {"function": "per_frame"})
    pj.save(tmp_path / "m", model)
    with pytest.raises(InputError, match=r"read it with prernn_jax\.load"):
        pretrained.load_pretrained(tmp_path / "m")
    with pytest.raises(InputError, match="no `sequence`"):
        saved_model.build_model({"architecture": "vgg16"})
    assert isinstance(pj.load(tmp_path / "m"), pj.SequenceModel)
    pj.save(tmp_path / "b", model.backbone)
    assert isinstance(pj.load(tmp_path / "b"), pj.vgg16)
    arrays, metadata = pretrained.read_parameters(tmp_path / "m")
    del arrays["backbone.fc6.bias"]
    pretrained.save_parameters(tmp_path / "c", arrays, metadata)
    with pytest.raises(InputError, match=r"missing: backbone\.fc6\.bias"):
        pj.load(tmp_path / "c")


def test_a_saved_model_is_what_was_trained(tmp_path):
    """Its arrays are written as they are, also those of batch statistics."""
    model = _model(*CASES[4])
    model.backbone.bn1.mean.set_value(jnp.full((4,), 3.0, jnp.float32))
    pj.save(tmp_path / "m", model)
    np.testing.assert_array_equal(
        jax.device_get(pj.load(tmp_path / "m").backbone.bn1.mean[...]), np.full(4, 3, np.float32)
    )


def test_sizes_that_numpy_counted(tmp_path):
    """`outputs=labels.max() + 1` is a number of numpy's, which JSON does not know."""
    network = random_model(lambda: pj.vgg16(**VGG | {"hidden": np.int64(5)}))
    model = random_model(
        lambda: pj.make_recurrent(
            network, "fc7", outputs=np.int64(4), extra=np.int32(1), dropout=np.float32(0.5)
        )
    )
    pj.save(tmp_path / "m", model)
    loaded = pj.load(tmp_path / "m")
    assert loaded.dropout == 0.5
    assert loaded.backbone.fc8.out_features == 4


def test_a_name_that_is_too_long_for_a_file(tmp_path):
    model = random_model(lambda: pj.vgg16(**VGG))
    with pytest.raises(InputError, match=r"cannot write .*: File name too long"):
        pj.save(tmp_path / ("a" * 300), model)
