"""Caffe's weights under other names: bit for bit what the plainly named file gives."""

import re

import numpy as np
import pytest
import reference_files as files
import torch
from renamed_files import assert_same, check_layers, check_same_bits, converted, renamed

from weights_port.choice import Wishes
from weights_port.verify import verify_arrays


def _caffe_named(network):
    """Caffe's layers in a state dict, as caffemodel2pytorch and MMdnn write them."""
    result = {}
    for name, (kind, arrays) in files.caffe_resnet50(network, factor=1.0).items():
        parts = {"BatchNorm": ("running_mean", "running_var"), "Scale": ("weight", "bias")}
        for part, array in zip(parts.get(kind, ("weight", "bias")), arrays, strict=False):
            result[f"{name}.{part}"] = torch.from_numpy(np.array(array))
    return result


def test_caffe_names_of_a_resnet_in_a_state_dict(tmp_path):
    network = files.resnet50(variant="caffe", stage_sizes=files.SHORT)
    plan, out, source = check_same_bits(
        tmp_path, "resnet", network.state_dict(), _caffe_named(network)
    )
    assert plan.layout.name == "caffe-names"
    assert plan.preprocessing.channels == "bgr"
    check_layers(out, source, (1, 63, 63, 3))


def _detectron():
    arguments = {"variant": "caffe", "pool": "both", "stem_bias": False}
    return files.resnet50(**arguments, stage_sizes=files.SHORT)


def test_detectrons_names_of_a_resnet(tmp_path):
    """Its batch-norms only scale and shift."""
    network = _detectron()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.zero_()
            module.running_var.fill_(1 - 1e-5)
    plain, other = network.state_dict(), {}
    for key, tensor in plain.items():
        key = re.sub(r"^conv1\.weight", "conv1_w", key)
        key = re.sub(r"^bn1\.", "res_conv1_bn.", key)
        key = re.sub(r"layer(\d)\.(\d+)\.", lambda m: f"res{int(m[1]) + 1}_{m[2]}_branch", key)
        key = re.sub(r"conv(\d)\.weight", lambda m: f"2{'_abc'[int(m[1])]}_w", key)
        key = re.sub(r"branchbn(\d)", lambda m: f"branch2{'_abc'[int(m[1])]}_bn", key)
        key = key.replace("downsample.0.weight", "1_w").replace("downsample.1", "1_bn")
        key = key.replace("bn.weight", "bn_s").replace("bn.bias", "bn_b")
        key = key.replace("fc.weight", "fc1000_w").replace("fc.bias", "fc1000_b")
        if "running" not in key and "num_batches" not in key:
            other[key] = tensor
    plan, out, source = check_same_bits(
        tmp_path, "resnet", plain, other, as_plain=Wishes("caffe-in-torch")
    )
    assert plan.layout.name == "caffe2"
    check_layers(out, source, (1, 63, 63, 3))


_MMLAB = [
    (r"(^|\.)conv(\d)\.weight", r"\1conv\2.conv.weight"), (r"(^|\.)bn(\d)\.", r"\1conv\2.bn."),
    (r"downsample\.0", "downsample.conv"), (r"downsample\.1", "downsample.bn"),
    ("^", "backbone."), (r"backbone\.fc", "cls_head.fc_cls"),
]  # fmt: skip
_DETECTRON2 = [
    (r"(^|\.)bn(\d)\.", r"\1conv\2.norm."), (r"downsample\.0", "shortcut"),
    (r"downsample\.1", "shortcut.norm"), (r"^conv1", "stem.conv1"),
    *((f"layer{n}", f"res{n + 1}") for n in range(1, 5)), ("^", "backbone.bottom_up."),
    (r".*\.fc\.", "backbone.bottom_up.stem.fc."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "rules"), [("mmlab-caffe", _MMLAB), ("detectron2", _DETECTRON2)]
)
def test_detectrons_weights_under_names_that_torchvisions_have_too(tmp_path, layout, rules):
    """The statistics of the first batch-norm tell them apart."""
    plain = _detectron().state_dict()
    plan, out, source = check_same_bits(tmp_path, "resnet", plain, renamed(plain, *rules))
    assert plan.layout.name == layout
    assert plan.preprocessing.channels == "bgr"
    assert "times what it gives in raw ones" in plan.notes[-2]
    check_layers(out, source, (1, 63, 63, 3))


@pytest.mark.parametrize("suffix", ["-1", "_1", ""])
def test_caffe_names_of_c3d_in_a_state_dict(tmp_path, suffix):
    network = files.c3d()
    other = {}
    for name, (_, arrays) in files.caffe_c3d(network, suffix).items():
        for part, array in zip(("weight", "bias"), arrays, strict=True):
            other[f"{name}.{part}"] = torch.from_numpy(np.array(array))
    plan, out, source = check_same_bits(
        tmp_path, "c3d", network.state_dict(), other, as_plain=Wishes("caffe-in-torch")
    )
    assert (plan.layout.name, plan.metadata["variant"]) == ("caffe-names", "caffe")
    assert plan.preprocessing.channels == "bgr"
    if suffix == "-1":  # the same network three times
        check_layers(out, source, (1, 16, 112, 112, 3))


@pytest.mark.parametrize(
    ("arch", "build", "layers", "dialect"),
    [
        ("vgg16", files.vgg16, files.caffe_vgg16, "legacy"),
        ("c3d", files.c3d, files.caffe_c3d, "fork"),
    ],
)
def test_caffes_weights_under_pytorchs_names(tmp_path, arch, build, layers, dialect):
    network = build(variant="caffe")
    (tmp_path / "a.caffemodel").write_bytes(files.caffemodel(layers(network), 1, dialect=dialect))
    torch.save(network.state_dict(), tmp_path / "b.pth")
    expected, caffe, _ = converted(tmp_path / "a.caffemodel", arch)
    wishes = Wishes("caffe-in-torch")
    found, plan, out = converted(tmp_path / "b.pth", arch, wishes=wishes)
    assert_same(found, expected)
    for name in ("architecture", "arguments", "variant"):
        assert plan.metadata[name] == caffe.metadata[name]
    assert plan.preprocessing.channels == caffe.preprocessing.channels == "bgr"
    assert verify_arrays(out, tmp_path / "b.pth")[0].faults == []
