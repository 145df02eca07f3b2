"""The graph that a Caffe file carries: layers, what they read and write, and their parameters."""

import struct

import numpy as np
import pytest
import reference_files as files
from reference_files import number, piece

from weights_port.formats.open import open_source

BLOB = files.blob(np.ones((2, 3, 1, 1), np.float32))


def _layer(name, kind, bottoms, tops, *parts):
    inside = piece(1, name) + piece(2, kind)
    inside += b"".join(piece(3, b) for b in bottoms) + b"".join(piece(4, t) for t in tops)
    return piece(100, inside + b"".join(parts))


def _graph(tmp_path, data):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(data)
    source = open_source(path)
    for node in source.graph:
        assert set(node.arrays) <= source.arrays.keys()
        assert node.attributes["type"]
    return source.graph


def test_the_real_lenet(shared_data):
    graph = open_source(shared_data / "caffe" / "lenet_iter_10000.caffemodel").graph
    kinds = [node.kind for node in graph]
    assert kinds == ["other", *["conv", "pool"] * 2, "dense", "relu", "dense", "other"]
    assert graph[1].arrays == ("conv1[0]", "conv1[1]")
    assert graph[1].attributes["kernel"] == (5, 5)
    assert graph[2].inputs == graph[1].outputs
    assert graph[2].attributes["stride"] == (2, 2)
    assert graph[7].inputs == graph[6].outputs == ("ip1@relu1",)  # relu1 works in place


def test_a_residual_block_with_layers_in_place(tmp_path):
    window = number(3, 1) + number(4, 3) + number(6, 2) + number(5, 4)
    graph = _graph(
        tmp_path,
        _layer("c", "Convolution", ["x"], ["y"], piece(7, BLOB), piece(106, window))
        + _layer("bn", "BatchNorm", ["y"], ["y"], piece(139, b"\x1d" + struct.pack("<f", 0.25)))
        + _layer("s", "Scale", ["y"], ["y"])
        + _layer("sum", "Eltwise", ["x", "y"], ["z"])
        + _layer("max", "Eltwise", ["x", "y"], ["w"], piece(110, number(1, 2)))
        + _layer("r", "ReLU", ["z"], ["z"])
        + _layer("p", "Pooling", ["z"], ["p"], piece(121, number(1, 1) + number(12, 1)))
        + _layer("q", "Pooling", ["z"], ["q"], piece(121, number(5, 3) + number(13, 1)))
        + _layer("cat", "Concat", ["p", "q"], ["cat"]),
    )
    kinds = [node.kind for node in graph]
    expected = ["conv", "batch_norm", "scale", "add", "other", "relu", "pool", "pool", "concat"]
    assert kinds == expected
    conv, norm, scale, add, _, relu, global_pool, pool, concat = graph
    assert conv.attributes["stride"] == (2, 2)
    assert (conv.attributes["pad"], conv.attributes["group"]) == ((1, 1), 4)
    assert norm.attributes["eps"] == 0.25
    assert norm.inputs == conv.outputs
    assert scale.inputs == norm.outputs != conv.outputs
    assert add.inputs == ("x", *scale.outputs)
    assert relu.inputs == add.outputs
    assert pool.inputs == relu.outputs
    assert global_pool.attributes["global"]
    assert global_pool.attributes["operation"] == "average"
    assert global_pool.attributes["ceil_mode"]
    assert not pool.attributes["ceil_mode"]
    assert pool.attributes["kernel"] == (3, 0)
    assert concat.inputs == ("p", "q")
    written = [value for node in graph for value in node.outputs]
    assert len(written) == len(set(written))


@pytest.mark.parametrize("version", [0, 1])
def test_the_older_forms(tmp_path, version):
    if version:
        inside = number(5, 4) + piece(6, BLOB) + piece(10, number(4, 7) + number(6, 2))
        data = piece(2, piece(2, "data") + piece(3, "c") + piece(4, "c") + inside)
        data += piece(2, piece(2, "c") + piece(3, "c") + piece(4, "r") + number(5, 18))
    else:
        inside = piece(1, "c") + piece(2, "conv") + piece(50, BLOB) + number(8, 7) + number(10, 2)
        data = piece(2, piece(1, inside) + piece(2, "data") + piece(3, "c"))
        inside = piece(1, "r") + piece(2, "relu")
        data += piece(2, piece(1, inside) + piece(2, "c") + piece(3, "c"))
    conv, relu = _graph(tmp_path, data)
    assert (conv.kind, conv.inputs, conv.arrays) == ("conv", ("data",), ("c[0]",))
    assert (conv.attributes["kernel"], conv.attributes["stride"]) == ((7, 7), (2, 2))
    assert (relu.kind, relu.inputs, relu.outputs) == ("relu", ("c",), ("c@r",))


def test_unreadable_parameters_leave_the_weights(tmp_path):
    data = _layer("c", "Convolution", ["x"], ["y"], piece(7, BLOB), piece(106, b"\x0a\xff"))
    (conv,) = _graph(tmp_path, data)
    assert dict(conv.attributes) == {"type": "Convolution"}
