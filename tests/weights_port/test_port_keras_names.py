"""Keras's names of VGG16, ResNet50 and C3D: bit for bit what the plainly named file gives."""

import json
import re

import numpy as np
import pytest
import reference_files as files
import torch
from renamed_files import CAFFE_NAMES, assert_same, check_layers, converted, renamed

from prernn_jax.files.safetensors import write_safely
from weights_port.choice import Wishes
from weights_port.verify import verify_arrays


def _keras_vgg(state):
    """Keras's names and axes; its matrices' inputs are in H, W, C order."""
    arrays = {}
    for key, tensor in renamed(state, *CAFFE_NAMES).items():
        name, part = key.split(".")
        array = tensor.numpy()
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif name == "fc6" and array.ndim == 2:
            array = array.reshape(len(array), -1, 2, 2).transpose(2, 3, 1, 0)
            array = array.reshape(-1, array.shape[-1])
        elif array.ndim == 2:
            array = array.T
        name = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}.get(name, name)
        name = re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", name)
        arrays[f"{name}/{name}/{'kernel' if part == 'weight' else 'bias'}:0"] = array
    return arrays


def test_keras_names_of_vgg16(tmp_path):
    plain = files.vgg16().state_dict()
    torch.save(plain, tmp_path / "plain.pth")
    write_safely(tmp_path / "keras", _keras_vgg(plain), {})
    expected, _, _ = converted(tmp_path / "plain.pth", "vgg16")
    found, plan, out = converted(tmp_path / "keras", "vgg16")
    assert plan.layout.name == "keras"
    assert plan.preprocessing.channels == "bgr"
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
    verdict, source = verify_arrays(out, tmp_path / "keras")
    assert verdict.faults == []
    check_layers(out, source, (1, 64, 64, 3))


_KERAS_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
               "running_var": "moving_variance"}  # fmt: skip


def _keras_resnet(state, bias):
    arrays = {}
    for key, tensor in state.items():
        layer, _, part = key.rpartition(".")
        if part == "num_batches_tracked":
            continue
        array = tensor.numpy()
        if layer == "fc":
            name, part = "predictions", "kernel" if part == "weight" else "bias"
            array = array.T if array.ndim == 2 else array
        else:
            name = re.sub(
                r"layer(\d)\.(\d+)\.",
                lambda m: f"conv{int(m[1]) + 1}_block{int(m[2]) + 1}_",
                layer,
            )
            norm = "bn" in name or "downsample.1" in name
            name = name.replace("downsample.0", "conv0").replace("downsample.1", "bn0")
            name = re.sub(r"(conv|bn)(\d)$", r"\2_\1", name)
            name = {"1_conv": "conv1_conv", "1_bn": "conv1_bn"}.get(name, name)
            part = _KERAS_NORM[part] if norm else "kernel"
            if not norm:
                array = array.transpose(2, 3, 1, 0)
                arrays[f"{name}/bias:0"] = np.full(array.shape[-1], bias, np.float32)
        arrays[f"{name}/{part}:0"] = array
    return arrays


def _keras_2015(arrays):
    """The names of Keras's ResNet50 until 2018, after Caffe's: res2a_branch2a, bn2a_branch2a."""
    result = {}
    for key, array in arrays.items():
        name, _, part = key.partition("/")
        found = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", name)
        if found:
            branch = "1" if found[3] == "0" else "2" + "abc"[int(found[3]) - 1]
            kind = "res" if found[4] == "conv" else "bn"
            name = f"{kind}{found[1]}{'abcdef'[int(found[2]) - 1]}_branch{branch}"
        name = {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}.get(
            name, name
        )
        result[f"{name}/{name}/{part}"] = array
    return result


@pytest.mark.parametrize("bias", [0.0, 0.25])
@pytest.mark.parametrize(
    ("layout", "names", "epsilon"),
    [("keras", dict, 1.001e-5), ("keras-2015", _keras_2015, 1e-3)],
)
def test_keras_names_of_a_resnet(tmp_path, layout, names, epsilon, bias):
    detectron = {"variant": "caffe", "pool": "both", "stem_bias": False}
    plain = files.resnet50(**detectron, stage_sizes=files.SHORT).state_dict()
    torch.save(plain, tmp_path / "plain.pth")
    write_safely(tmp_path / "keras", names(_keras_resnet(plain, bias)), {})
    expected, _, _ = converted(tmp_path / "plain.pth", "resnet", wishes=Wishes("caffe-in-torch"))
    found, plan, out = converted(tmp_path / "keras", "resnet")
    assert (plan.layout.name, found.keys()) == (layout, expected.keys())
    assert json.loads(plan.metadata["arguments"])["epsilon"] == epsilon
    for name, array in expected.items():
        wanted = array - np.float32(bias) if name.endswith("mean") else array
        assert wanted.tobytes() == found[name].tobytes(), name
    verdict, source = verify_arrays(out, tmp_path / "keras")
    assert verdict.faults == []
    if bias:
        check_layers(out, source, (1, 63, 63, 3))


def test_keras_names_of_c3d(tmp_path):
    network = files.c3d(variant="pytorch")
    torch.save(network.state_dict(), tmp_path / "plain.pth")
    arrays = {}
    for key, array in files.arrays_of(network).items():
        name, part = key.split(".")
        if array.ndim == 5:
            array = array.transpose(2, 3, 4, 1, 0)  # (O, I, D, H, W) -> (D, H, W, I, O)
        elif name == "fc6" and array.ndim == 2:  # inputs in C, L, H, W order -> L, H, W, C
            array = array.reshape(len(array), -1, 1, 4, 4).transpose(2, 3, 4, 1, 0)
            array = array.reshape(-1, array.shape[-1])
        elif array.ndim == 2:
            array = array.T
        arrays[f"{name}/{name}/{'kernel' if part == 'weight' else 'bias'}:0"] = array
    write_safely(tmp_path / "keras", arrays, {})
    expected, _, _ = converted(tmp_path / "plain.pth", "c3d", wishes=Wishes("c3d-pytorch"))
    found, plan, out = converted(tmp_path / "keras", "c3d")
    assert (plan.layout.name, plan.metadata["variant"]) == ("keras", "pytorch")
    assert plan.preprocessing.channels == "bgr"
    assert_same(found, expected)
    verdict, source = verify_arrays(out, tmp_path / "keras")
    assert verdict.faults == []
    check_layers(out, source, (1, 16, 112, 112, 3))
