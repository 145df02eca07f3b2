"""Depths and widths of VGG and ResNet are read from the file."""

import json
import re

import numpy as np
import pytest
import reference_files as files
import torch
from renamed_files import assert_same, check_layers, converted, logits_of

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import read_parameters
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.verify import verify_arrays

pytestmark = pytest.mark.slow

DEPTHS = {
    "vgg11": (files.vgg16, {"stages": (1, 1, 2, 2, 2)}),
    "vgg13_bn": (files.vgg16, {"stages": (2, 2, 2, 2, 2), "batch_norm": True}),
    "vgg16_bn": (files.vgg16, {"batch_norm": True}),
    "vgg19": (files.vgg16, {"stages": (2, 2, 4, 4, 4)}),
    "resnet18": (files.resnet50, {"stage_sizes": (2, 2, 2, 2), "block": "basic"}),
    "resnet34": (files.resnet50, {"stage_sizes": (3, 4, 6, 3), "block": "basic", "width": 4}),
    "resnet101": (files.resnet50, {"stage_sizes": (3, 4, 23, 3), "width": 1}),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_other_depths_and_widths_are_read_from_the_file(tmp_path, name):
    build, arguments = DEPTHS[name]
    network = build(**arguments)
    path = tmp_path / "x.pth"
    torch.save(network.state_dict(), path)
    family = re.match(r"[a-z]+", name)[0]
    wishes = Wishes("torchvision")  # so few weights say little about their origin
    _, _, out = converted(path, name, wishes=wishes)
    verdict, source = verify_arrays(out, path)
    assert verdict.faults == []
    assert verdict.equal == len(files.arrays_of(network))
    if name != "resnet101":  # the nightly test of ResNet-152 runs a deep one
        check_layers(out, source, (1, 64, 64, 3))
    _, plan, _ = converted(path, family, wishes=wishes)
    assert plan.metadata.items() <= read_parameters(out)[1].items()
    wrong = "resnet50" if family == "resnet" else "vgg13"
    with pytest.raises(InputError, match=f"--arch {name}"):
        convert(path, wrong, tmp_path / "no")


def test_a_resnet_152_from_pytorch_and_from_caffe(tmp_path):
    """Caffe counts its long stages b1 ... b35."""
    sizes = (3, 8, 36, 3)
    network = files.resnet50(variant="caffe", stage_sizes=sizes, width=1)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    layers = files.caffe_resnet50(network, factor=1.0)
    assert {"res3b7_branch2c", "bn4b35_branch2a", "res4a_branch1"} <= layers.keys()
    (tmp_path / "x.caffemodel").write_bytes(files.caffemodel(layers))
    arrays, plan, out = converted(tmp_path / "x.pth", "resnet152")
    assert plan.layout.name == "caffe-in-torch"  # conv1.bias says so
    verdict, _ = verify_arrays(out, tmp_path / "x.pth")
    assert verdict.faults == []
    assert verdict.equal == len(files.arrays_of(network))
    found, plan, out = converted(tmp_path / "x.caffemodel", "resnet152")
    assert plan.layout.name == "caffe"
    assert_same(found, arrays)
    assert verify_arrays(out, tmp_path / "x.caffemodel")[0].faults == []
    arguments = json.loads(plan.metadata["arguments"])
    assert [arguments["stage_sizes"], plan.metadata["variant"]] == [list(sizes), "caffe"]
    with pytest.raises(InputError, match="--arch resnet152"):
        convert(tmp_path / "x.pth", "resnet101", tmp_path / "no")


@pytest.mark.nightly  # XLA takes ten seconds for 50 blocks; ResNet-34 has 16
def test_torchvisions_resnet_152_computes_the_same(tmp_path):
    network = files.resnet50(stage_sizes=(3, 8, 36, 3), width=1)
    torch.save(network.state_dict(), tmp_path / "x.pth")
    _, plan, out = converted(tmp_path / "x.pth", "resnet152")
    assert plan.layout.name == "torchvision"
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = logits_of(out, x)
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)
