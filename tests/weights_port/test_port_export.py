"""The way back to PyTorch: the same bits for backbones, the same outputs for sequence models."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_files as files
import torch
from flax import nnx
from random_model import random_model

from prernn_jax import surgery
from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.files import models as saved_model
from prernn_jax.files.backbones import read_parameters, save_parameters
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.export import export
from weights_port.torch_sequence import load

NETWORKS = {"vgg16": files.vgg16, "c3d": files.c3d, "resnet50": files.resnet50}


def _converted(folder, arch, **arguments):
    network = NETWORKS[arch](**arguments)
    torch.save(network.state_dict(), folder / "in.pth")
    wishes = Wishes("c3d-pytorch" if arch == "c3d" else "auto")
    convert(folder / "in.pth", arch, folder / "ours.safetensors", wishes=wishes)
    return network


@pytest.mark.parametrize("arch", NETWORKS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_there_and_back_is_the_same_to_the_bit(tmp_path, arch, suffix):
    variant = {"variant": "pytorch"} if arch == "c3d" else {}
    network = _converted(tmp_path, arch, **variant)
    out = tmp_path / f"back{suffix}"
    export(tmp_path / "ours.safetensors", out)
    if suffix == ".pth":
        state = {k: v.numpy() for k, v in torch.load(out, weights_only=True).items()}
        network.load_state_dict(torch.load(out, weights_only=True))
    else:
        state, metadata = read_parameters(out)
        assert "sequence" not in metadata
    expected = files.arrays_of(network)
    assert state.keys() == expected.keys()
    for key, array in expected.items():
        assert state[key].tobytes() == array.tobytes(), key


def test_a_port_without_classifier_comes_back_under_its_own_keys(tmp_path):
    state = files.c3d(variant="pytorch").state_dict()
    del state["fc8.weight"], state["fc8.bias"]
    torch.save(state, tmp_path / "in.pth")
    convert(tmp_path / "in.pth", "c3d", tmp_path / "ours", wishes=Wishes("c3d-pytorch"))
    export(tmp_path / "ours", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_caffe_weights_in_torch(tmp_path):
    network = files.resnet50(variant="caffe")
    layers = files.caffe_resnet50(network, factor=1.0)
    (tmp_path / "in.caffemodel").write_bytes(files.caffemodel(layers))
    convert(tmp_path / "in.caffemodel", "resnet50", tmp_path / "ours")
    lines = export(tmp_path / "ours", tmp_path / "back.pth")
    assert "caffe-in-torch" in lines[-1]
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    for key, array in files.arrays_of(network).items():
        np.testing.assert_array_equal(back[key].numpy(), array)
    _, plan = convert(tmp_path / "back.pth", "resnet50", tmp_path / "again")
    assert plan.layout.name == "caffe-in-torch"  # conv1 has a bias
    export(tmp_path / "ours", tmp_path / "back.safetensors")
    _, plan = convert(tmp_path / "back.safetensors", "resnet50", tmp_path / "third")
    assert plan.layout.name == "caffe-in-torch"  # the metadata say so
    first, _ = read_parameters(tmp_path / "ours")
    for path in ("again", "third"):
        second, _ = read_parameters(tmp_path / path)
        assert all(np.array_equal(first[key], second[key]) for key in first)


KEPT = [
    ("resnet50", Wishes(place="first", pool="end", scale=255, mean=(1.0, 2.0, 3.0))),
    ("vgg16", Wishes(pool="end", channels="bgr")),
    ("c3d", Wishes("c3d-pytorch", channels="bgr", mean=(4.0, 5.0, 6.0))),
]


@pytest.mark.parametrize(("arch", "wishes"), KEPT, ids=[arch for arch, _ in KEPT])
def test_an_exported_file_keeps_what_its_keys_do_not_say(tmp_path, arch, wishes):
    torch.save(NETWORKS[arch]().state_dict(), tmp_path / "in.pth")
    convert(tmp_path / "in.pth", arch, tmp_path / "ours", wishes=wishes)
    arrays, metadata = read_parameters(tmp_path / "ours")
    if arch == "resnet50":  # as Keras's weights have it
        metadata["arguments"] = json.dumps(json.loads(metadata["arguments"]) | {"epsilon": 1e-3})
        save_parameters(tmp_path / "ours", arrays, metadata, overwrite=True)
    export(tmp_path / "ours", tmp_path / "back.safetensors")
    convert(tmp_path / "back.safetensors", arch, tmp_path / "again")
    _, again = read_parameters(tmp_path / "again")
    for name in ("preprocessing", "variant"):
        assert again[name] == metadata[name]
    assert json.loads(again["arguments"]) == json.loads(metadata["arguments"])


MODELS = [
    ("vgg16", {"function": "make_recurrent", "cell": "gru", "outputs": 4}),
    ("vgg16", {"function": "make_recurrent", "layers": ["fc7"], "cell": "vrnn"}),
    ("vgg16", {"function": "make_recurrent", "layers": ["fc6"], "cell": "lstm", "shared": True}),
    ("vgg16", {"function": "stack_recurrent", "cell": "lstm", "hidden": 7, "depth": 2}),
    ("c3d", {"function": "make_recurrent", "cell": "gru_cho", "extra": 1, "readout": None}),
    ("resnet", {"function": "make_recurrent", "cell": "lstm", "outputs": 4}),
    ("resnet", {"function": "make_recurrent", "cell": "gru", "shared": True, "extra": 1}),
    ("resnet", {"function": "per_frame"}),
]


BACKBONES = {
    "vgg16": (VGG16, {"width": 2, "hidden": 16, "num_outputs": 8, "image_size": 32}, (32, 32)),
    "c3d": (
        C3D,
        {"width": 2, "hidden": 16, "num_outputs": 8, "image_size": 48, "clip_length": 8},
        (8, 48, 48),
    ),
    "resnet": (ResNet, {"width": 2, "num_outputs": 8, "stage_sizes": [2, 1, 1, 2]}, (48, 48)),
}


def _run_folder(folder, arch, call):
    """A model in the folder of a run."""
    cls, arguments, _ = BACKBONES[arch]
    function = getattr(surgery, call["function"])
    rest = {key: value for key, value in call.items() if key != "function"}
    model = random_model(
        lambda: function(cls(**arguments, rngs=nnx.Rngs(0)), **rest, rngs=nnx.Rngs(0))
    )
    saved_model.save(folder / "model.safetensors", model)
    return model


@pytest.mark.parametrize(("arch", "call"), MODELS)
def test_sequence_models_give_the_same_outputs(tmp_path, arch, call):
    model = _run_folder(tmp_path, arch, call)
    shape = BACKBONES[arch][2]
    clips = np.random.default_rng(1).normal(size=(2, 3, *shape, 3)).astype(np.float32)
    graph, state = nnx.split(model)
    with jax.default_matmul_precision("highest"):
        run = jax.jit(lambda state, clips: nnx.merge(graph, state)(clips))
        outputs, carry = run(state, jnp.asarray(clips))
    for name in ("x.pth", "x.safetensors"):
        export(tmp_path, tmp_path / name)
        reference = load(tmp_path / name)
        with torch.no_grad():
            theirs, states = reference(torch.from_numpy(np.moveaxis(clips, -1, 2).copy()))
        scale = float(np.abs(outputs).max())
        assert scale > 0.01
        np.testing.assert_allclose(theirs.numpy(), outputs, atol=1e-5 * scale, rtol=0)
    assert len(states) == len(carry)
    for ours, other in zip(carry, states, strict=True):
        for a, b in zip(ours, other, strict=True):
            np.testing.assert_allclose(b.numpy(), a, atol=1e-5 * float(np.abs(a).max()), rtol=0)
    with torch.no_grad():  # the carry continues the sequence
        torch_clips = torch.from_numpy(np.moveaxis(clips, -1, 2).copy())
        _, between = reference(torch_clips[:, :2])
        last, _ = reference(torch_clips[:, 2:], between)
    np.testing.assert_allclose(last[:, 0].numpy(), outputs[:, 2], atol=1e-5 * scale, rtol=0)


def test_the_documented_keys(tmp_path):
    _run_folder(tmp_path, "resnet", MODELS[6][1])
    export(tmp_path, tmp_path / "x.pth")
    loaded = torch.load(tmp_path / "x.pth", weights_only=True)
    shapes = {key: tuple(tensor.shape) for key, tensor in loaded["state_dict"].items()}
    assert shapes["backbone.layer4.1.conv3.weight_ih"] == (64, 16)
    assert shapes["backbone.layer4.1.conv3.weight_hh"] == (3 * 64, 64)
    assert shapes["backbone.layer4.1.conv3.norm.running_var"] == (64,)
    assert shapes["extra.0.weight_ih"] == (64, 64)
    assert shapes["extra.0.bias"] == (64,)
    assert shapes["backbone.fc.weight"] == (8, 64)
    assert json.loads(loaded["metadata"]["sequence"])["cell"] == "gru"


def test_bad_exports(tmp_path):
    _converted(tmp_path, "vgg16")
    ours = tmp_path / "ours.safetensors"
    (tmp_path / "there.pth").write_bytes(b"x")
    for path, out, message in [
        (ours, "x.npz", r"must end in \.pth"),
        (ours, "there.pth", "exists already"),
        (ours, "no/x.pth", "cannot write"),
        (tmp_path, "x.pth", r"model\.safetensors"),
    ]:
        with pytest.raises(InputError, match=message):
            export(path, tmp_path / out)
    arrays, metadata = read_parameters(ours)
    del arrays["fc7.bias"]
    save_parameters(tmp_path / "less", arrays, metadata)
    with pytest.raises(InputError, match=r"missing: fc7\.bias"):
        export(tmp_path / "less", tmp_path / "x.pth")
    export(ours, tmp_path / "x.pth")
    with pytest.raises(InputError, match="no sequence model"):
        load(tmp_path / "x.pth")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
