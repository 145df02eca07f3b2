"""The published sizes: every network from every source, layer by layer, float32 on CPU."""

import gc

import numpy as np
import pytest
import reference_files as files
import torch

from prernn_jax.files.backbones import load_pretrained, read_parameters
from weights_port import torch_networks
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.export import export
from weights_port.parity import example_inputs, parity
from weights_port.verify import recorded_moves, verify_arrays

pytestmark = pytest.mark.nightly

CASES = {
    "vgg16 torch": (torch_networks.build_vgg16, {}, None),
    "vgg16 caffe": (torch_networks.build_vgg16, {"variant": "caffe"}, (1, "legacy")),
    "c3d torch": (torch_networks.build_c3d, {"variant": "pytorch"}, None),
    "c3d caffe": (torch_networks.build_c3d, {}, (1, "fork")),
    "resnet50 torch": (torch_networks.build_resnet, {}, None),
    "resnet50 caffe": (torch_networks.build_resnet, {"variant": "caffe"}, (2, "shape")),
}
LAYERS = {
    "vgg16": files.caffe_vgg16,
    "c3d": files.caffe_c3d,
    "resnet50": files.caffe_resnet50,
}


@pytest.mark.parametrize("case", CASES)
def test_full_size(tmp_path, case):
    build, arguments, form = CASES[case]
    arch = case.split()[0]
    network = files.alive(build(**arguments))
    original, out = tmp_path / "original", tmp_path / "out.safetensors"
    if form is None:
        torch.save(network.state_dict(), original)
    else:
        original.write_bytes(files.caffemodel(LAYERS[arch](network), form[0], dialect=form[1]))
    # Random weights say nothing of the colours that they were trained on.
    layout = {"c3d": "c3d-pytorch"}.get(arch, "torchvision") if form is None else "auto"
    convert(original, arch, out, wishes=Wishes(layout))
    verdict, source = verify_arrays(out, original)
    assert verdict.faults == []
    _, metadata = read_parameters(out)
    published = {"vgg16": 138_357_544, "c3d": 79_991_015, "resnet50": 25_610_152}[arch]
    if case != "resnet50 caffe":  # whose conv1 has a bias
        assert sum(a.size for a in read_parameters(out)[0].values()) == published
    moves = recorded_moves(out, metadata)
    for name, x in example_inputs(load_pretrained(out), metadata, None).items():
        rows = parity(load_pretrained(out), metadata, source, moves, x)
        worst = max(row.relative for row in rows)
        print(f"{case}, {name}: {len(rows)} layers, largest relative difference {worst:.2g}")
        assert worst < 1e-5, rows
        gc.collect()
    if form is None:
        export(out, tmp_path / "back.pth")
        back = torch.load(tmp_path / "back.pth", weights_only=True)
        for key, array in files.arrays_of(network).items():
            assert np.array_equal(back[key].numpy(), array), key
