"""Conversion: every source and network, the tables' faults, and what the metadata say."""

import json

import numpy as np
import pytest
import reference_files as files
import torch

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained, read_parameters
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.networks import ARCHITECTURES
from weights_port.parity import parity
from weights_port.verify import verify_arrays

IMAGE, CLIP = (1, 64, 64, 3), (1, 16, 112, 112, 3)
C3D_PYTORCH = Wishes("c3d-pytorch")  # Caffe's weights may stand under the same keys


def _torch(path, network):
    torch.save(network.state_dict(), path)


def _caffe(path, layers, version, dialect):
    path.write_bytes(files.caffemodel(layers, version, dialect=dialect))


def write_source(path, case):
    """A small file of the real structure."""
    if case == "vgg16 torch":
        _torch(path, files.vgg16())
    elif case == "c3d torch":
        _torch(path, files.c3d(variant="pytorch"))
    elif case == "resnet50 torch":
        _torch(path, files.resnet50())
    elif case == "vgg16 caffe":
        network = files.vgg16(variant="caffe", image_size=96)
        _caffe(path, files.caffe_vgg16(network), 1, "legacy")
    elif case == "c3d caffe":
        _caffe(path, files.caffe_c3d(files.c3d()), 1, "fork")
    else:
        network = files.resnet50(variant="caffe")
        _caffe(path, files.caffe_resnet50(network), 2, "shape")


CASES = [
    ("vgg16 torch", IMAGE, "torch zip", "torchvision", 32, 0),
    ("vgg16 caffe", (1, 96, 96, 3), "BVLC Caffe, V1 layers", "caffe", 32, 0),
    ("c3d torch", CLIP, "torch zip", "c3d-pytorch", 22, 0),
    ("c3d caffe", CLIP, "C3D-v1.0 Caffe, V1 layers", "caffe", 22, 0),
    ("resnet50 torch", IMAGE, "torch zip", "torchvision", 267, 53),
    ("resnet50 caffe", IMAGE, "BVLC Caffe, V2 layers", "caffe", 268, 53),
]


@pytest.mark.parametrize(("case", "shape", "form", "layout", "arrays", "skipped"), CASES)
def test_every_network_gives_the_same_numbers(tmp_path, case, shape, form, layout, arrays, skipped):
    original, out = tmp_path / "original", tmp_path / "out.safetensors"
    write_source(original, case)
    wishes = C3D_PYTORCH if case == "c3d torch" else Wishes()
    source, plan = convert(original, case.split()[0], out, wishes=wishes)
    assert (source.format, plan.layout.name) == (form, layout)
    assert len(plan.assignment.moves) == arrays
    assert len(plan.assignment.skipped) == skipped
    verdict, again = verify_arrays(out, original)
    assert (verdict.equal, verdict.faults, verdict.notes) == (arrays, [], [])
    _, metadata = read_parameters(out)
    model = load_pretrained(out)
    x = model.preprocess.normalise(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    rows = parity(model, metadata, again, plan.assignment.moves, x)
    assert len(rows) == {"vgg16": 16, "c3d": 11, "resnet50": 107}[case.split()[0]]
    assert max(row.relative for row in rows) < 1e-5, rows


def test_metadata(tmp_path):
    original, out = tmp_path / "vgg.pth", tmp_path / "out.safetensors"
    write_source(original, "vgg16 torch")
    convert(original, "vgg16", out)
    _, metadata = read_parameters(out)
    assert metadata["architecture"] == "vgg16"
    assert metadata["variant"] == "torchvision"
    assert metadata["source_file"] == "vgg.pth"
    assert metadata["source_size"] == str(original.stat().st_size)
    assert len(metadata["source_sha256"]) == 64
    assert metadata["version"].startswith("prernn-jax ")
    assert metadata["date"].startswith("20")
    assert json.loads(metadata["arguments"]) == {**files.TINY_VGG, "in_channels": 3}
    preprocessing = json.loads(metadata["preprocessing"])
    assert preprocessing["mean"] == [0.485, 0.456, 0.406]
    assert (preprocessing["resize"], preprocessing["crop"]) == (73, [64, 64])


def test_the_user_never_thinks_of_bgr(tmp_path):
    """Caffe's model gets B, G, R minus its mean from RGB frames."""
    write_source(tmp_path / "x", "vgg16 caffe")
    convert(tmp_path / "x", "vgg16", tmp_path / "out")
    model = load_pretrained(tmp_path / "out")
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    expected = frames[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_allclose(model.preprocess.normalise(frames), expected, atol=1e-4)


CONVOLUTIONS = ["conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"]
FEATURES = [f"features.{index}" for index in (0, 3, 6, 8, 11, 13, 16, 18)]
RENAMED = {
    "mmaction2": {name: f"{name}.conv" for name in CONVOLUTIONS}
    | {"conv1": "conv1a.conv", "conv2": "conv2a.conv"},
    "pytorch-video-recognition": dict(zip(CONVOLUTIONS, FEATURES, strict=True))
    | {"fc6": "classifier.0", "fc7": "classifier.3"},
}


@pytest.mark.parametrize("layout", RENAMED)
def test_the_other_ports_of_c3d(tmp_path, layout):
    state = files.c3d(variant="pytorch").state_dict()
    names = RENAMED[layout]
    renamed = {
        f"{names.get(layer, layer)}.{part}": tensor
        for layer, part, tensor in ((*key.split("."), tensor) for key, tensor in state.items())
        if layer != "fc8"
    }
    renamed["neck.weight" if layout == "mmaction2" else "classifier.6.weight"] = torch.ones(4, 6)
    wrapped = {"state_dict": {f"backbone.{key}": tensor for key, tensor in renamed.items()}}
    torch.save(wrapped, tmp_path / "x.pth")
    _, plan = convert(tmp_path / "x.pth", "c3d", tmp_path / "x.safetensors")
    assert plan.layout.name == layout
    assert plan.fresh == ["fc8.bias", "fc8.kernel"]
    assert len(plan.assignment.skipped) == 1
    torch.save(state, tmp_path / "y.pth")
    convert(tmp_path / "y.pth", "c3d", tmp_path / "y.safetensors", wishes=C3D_PYTORCH)
    ours, _ = read_parameters(tmp_path / "x.safetensors")
    expected, _ = read_parameters(tmp_path / "y.safetensors")
    for name, array in expected.items():
        if not name.startswith("fc8"):
            np.testing.assert_array_equal(ours[name], array, err_msg=name)
    assert not ours["fc8.kernel"].any()
    assert ours["fc8.kernel"].shape == (16, 487)
    assert verify_arrays(tmp_path / "x.safetensors", tmp_path / "x.pth")[0].faults == []


def test_every_layout_says_why_it_leaves_arrays_out():
    for architecture in ARCHITECTURES.values():
        for layout in architecture.layouts:
            assert len(layout.rows) <= 15
            assert all(text for _, text in layout.rows.values())


def test_all_faults_are_told_together(tmp_path):
    state = files.vgg16().state_dict()
    state["features.0.gamma"] = torch.ones(2)
    del state["features.2.bias"]
    state["features.5.weight"] = torch.ones(3, 3, 3, 3)
    state["features.7.bias"] = torch.ones(4, dtype=torch.int32)
    state["classifier.3.weight"] = torch.ones(2, 3, 4)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError) as caught:
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")
    text = str(caught.value)
    for line in [
        "+ features.0.gamma: no row",
        "- conv1_2.bias (2,): nothing",
        "! features.5.weight (3, 3, 3, 3): gives (3, 3, 3, 3), conv2_1.kernel is (3, 3, 2, 4)",
        "! features.7.bias: int32",
        "! classifier.3.weight: shape (2, 3, 4), expected 2 axes",
    ]:
        assert line in text, text
    assert not (tmp_path / "out").exists()


def _keys(*names):
    return {name: torch.ones(2) for name in names}


@pytest.mark.parametrize(
    ("state", "arch", "message"),
    [
        (_keys("features.0.weight", "features.34.weight"), "vgg16", "looks like VGG19"),
        (_keys("conv1.weight", "layer3.22.conv3.weight"), "resnet50", "looks like ResNet101"),
        (_keys("layer1.0.conv1.weight", "layer4.1.conv2.weight"), "resnet50", "like ResNet18"),
        (_keys("conv5b.weight", "fc6.weight"), "vgg16", "looks like C3D"),
        (_keys("strange"), "c3d", r"\(0 of 1 keys known\).*; \+ only in the file"),
    ],
)
def test_other_networks_are_recognised(tmp_path, state, arch, message):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "x.pth", arch, tmp_path / "out")


def test_half_and_double_precision_are_converted_and_said(tmp_path):
    state = {key: tensor.half() for key, tensor in files.vgg16().state_dict().items()}
    state["classifier.6.bias"] = state["classifier.6.bias"].double()
    torch.save(state, tmp_path / "x.pth")
    _, plan = convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")
    assert "converted to float32 from float16, float64" in plan.notes
    arrays, _ = read_parameters(tmp_path / "out")
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    assert verify_arrays(tmp_path / "out", tmp_path / "x.pth")[0].faults == []


def test_nonfinite_numbers(tmp_path):
    state = files.vgg16().state_dict()
    state["features.0.bias"][1] = float("nan")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"NaN or infinity in features\.0\.bias.*--allow"):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")
    wishes = Wishes("torchvision")  # what such weights were trained on cannot be measured
    convert(tmp_path / "x.pth", "vgg16", tmp_path / "out", wishes=wishes, allow_nonfinite=True)
    assert verify_arrays(tmp_path / "out", tmp_path / "x.pth")[0].faults == []


def test_layouts_by_name(tmp_path):
    write_source(tmp_path / "x.pth", "vgg16 torch")
    convert(tmp_path / "x.pth", "vgg16", tmp_path / "out", wishes=Wishes("caffe-in-torch"))
    model = load_pretrained(tmp_path / "out")
    assert (model.variant, model.preprocess.channels) == ("caffe", "bgr")
    for layout, message in [("tensor", "no layout 'tensor'"), ("caffe", "leave --layout at auto")]:
        with pytest.raises(InputError, match=message):
            convert(tmp_path / "x.pth", "vgg16", tmp_path / "y", wishes=Wishes(layout))
    with pytest.raises(InputError, match="exists already"):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")
