"""ONNX files of converters that fold batch-norms or turn axes: arrays under numbers."""

import numpy as np
import other_formats as made
import pytest
import reference_files as files
import torch
from onnx import helper
from renamed_files import check_layers, logits_of
from torch.nn.utils import fuse_conv_bn_eval

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import read_parameters
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


def _folded(network, images):
    graph = _Graph()
    x = images(graph)
    x = graph.node("Relu", [graph.convolution(x, network.conv1, network.bn1)])
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


def _channels_first(_):
    return "input"


def _channels_last(graph):
    """From TensorFlow: the images come as (N, H, W, C)."""
    return graph.node("Transpose", ["input"], perm=[0, 3, 1, 2])


@pytest.mark.parametrize(
    ("arch", "arguments", "images"),
    [
        ("resnet18", {"block": "basic", "stage_sizes": (2, 2, 2, 2)}, _channels_first),
        (
            "resnet",
            {"variant": "caffe", "pool": "both", "stem_bias": False, "stage_sizes": files.SHORT},
            _channels_last,
        ),
    ],
)
def test_a_folded_resnet_computes_the_same(tmp_path, arch, arguments, images):
    network = files.resnet50(**arguments)
    graph = _folded(network, images)
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
    found = logits_of(out, x)
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("last", [True, False])
def test_a_flattened_map_may_have_its_channels_last(tmp_path, last):
    """TensorFlow flattens (H, W, C), as we do; PyTorch flattens (C, H, W)."""
    network = files.vgg16()
    torch.save(network.state_dict(), tmp_path / "plain.pth")
    convert(tmp_path / "plain.pth", "vgg16", tmp_path / "plain", wishes=Wishes("torchvision"))
    expected, metadata = read_parameters(tmp_path / "plain")
    graph = _Graph()
    x = _channels_last(graph)
    for layer in network.features:
        if isinstance(layer, torch.nn.Conv2d):
            names = [f"{len(graph.arrays)}w", f"{len(graph.arrays)}b"]
            pair = [tensor.detach().numpy() for tensor in (layer.weight, layer.bias)]
            graph.arrays |= dict(zip(names, pair, strict=True))
            x = graph.node("Conv", [x, *names], kernel_shape=[3, 3], pads=[1] * 4)
        elif isinstance(layer, torch.nn.MaxPool2d):
            x = graph.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        else:
            x = graph.node("Relu", [x])
    if last:
        x = graph.node("Transpose", [x], perm=[0, 2, 3, 1])
    x = graph.node("Flatten", [x])
    for place, name in ((0, "fc6"), (3, "fc7"), (6, "fc8")):
        layer = network.classifier[place]
        matrix = layer.weight.detach().numpy().T
        if place == 0 and last:
            matrix = expected["fc6.kernel"]
        graph.arrays |= {f"{name}w": matrix, f"{name}b": layer.bias.detach().numpy()}
        x = graph.node("Add", [graph.node("MatMul", [x, f"{name}w"]), f"{name}b"])
    path = tmp_path / "x.onnx"
    path.write_bytes(made.onnx_model(graph.nodes, graph.arrays))
    wishes = Wishes(channels="rgb")
    convert(path, "vgg16", tmp_path / "out", wishes=wishes)
    found, found_metadata = read_parameters(tmp_path / "out")
    assert found_metadata["arguments"] == metadata["arguments"]
    assert found.keys() == expected.keys()
    assert all(array.tobytes() == found[name].tobytes() for name, array in expected.items())
    verdict, source = verify_arrays(tmp_path / "out", path)
    assert verdict.faults == []
    check_layers(tmp_path / "out", source, (1, 64, 64, 3))
