"""ONNX files whose converter has folded each batch-norm into the convolution before it."""

import jax
import numpy as np
import other_formats as made
import pytest
import reference_files as files
import torch
from onnx import helper
from torch.nn.utils import fuse_conv_bn_eval

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained, read_parameters
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.verify import verify_arrays


class _Graph:
    """Nodes and initialisers under the numbers that exporters give to folded arrays."""

    def __init__(self):
        self.nodes, self.arrays, self.count = [], {}, 0

    def node(self, kind, inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(kind, inputs, [f"v{self.count}"], **attributes))
        return f"v{self.count}"

    def convolution(self, x, conv, norm):
        fused = fuse_conv_bn_eval(conv, norm)
        names = [f"onnx::Conv_{len(self.arrays) + number}" for number in (0, 1)]
        pair = (fused.weight.detach().numpy(), fused.bias.detach().numpy())
        self.arrays |= dict(zip(names, pair, strict=True))
        pads = list(conv.padding) * 2
        size = list(conv.kernel_size)
        return self.node(
            "Conv", [x, *names], kernel_shape=size, strides=list(conv.stride), pads=pads
        )


def _folded(network):
    graph = _Graph()
    x = graph.node("Relu", [graph.convolution("input", network.conv1, network.bn1)])
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for block in network.blocks():
        shortcut = x
        if block.downsample is not None:
            shortcut = graph.convolution(x, *block.downsample)
        for number in (1, 2, 3):
            if hasattr(block, f"conv{number}"):
                x = graph.node("Relu", [x]) if number > 1 else x
                pair = getattr(block, f"conv{number}"), getattr(block, f"bn{number}")
                x = graph.convolution(x, *pair)
        x = graph.node("Relu", [graph.node("Add", [x, shortcut])])
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    graph.arrays |= {
        "fc.weight": network.fc.weight.detach().numpy(),
        "fc.bias": network.fc.bias.detach().numpy(),
    }
    graph.node("Gemm", [x, "fc.weight", "fc.bias"], transB=1)
    return graph


@pytest.mark.parametrize(
    ("arch", "arguments"),
    [
        ("resnet18", {"block": "basic", "stage_sizes": (2, 2, 2, 2)}),
        ("resnet50", {"variant": "caffe", "pool": "both", "stem_bias": False}),
    ],
)
def test_a_folded_resnet_computes_the_same(tmp_path, arch, arguments):
    network = files.resnet50(**arguments)
    graph = _folded(network)
    path, out = tmp_path / "x.onnx", tmp_path / "out"
    path.write_bytes(made.onnx_model(graph.nodes, graph.arrays))
    with pytest.raises(InputError, match=r"--channels rgb\|bgr"):
        convert(path, arch, out)
    _, plan = convert(path, arch, out, wishes=Wishes(channels="rgb"))
    assert plan.layout.name == "graph"
    arrays, _ = read_parameters(out)
    first = arrays["conv1.kernel"].transpose(3, 2, 0, 1)
    assert first.tobytes() == graph.arrays["onnx::Conv_0"].tobytes()
    assert arrays["bn1.bias"].tobytes() == graph.arrays["onnx::Conv_1"].tobytes()
    assert {float(value) for value in arrays["bn1.scale"]} == {1.0}
    assert not arrays["bn1.mean"].any()
    assert verify_arrays(out, path)[0].faults == []
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = np.asarray(jax.jit(load_pretrained(out))(x))
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)
