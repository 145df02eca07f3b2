"""ONNX files: initialisers of every form, the graph, data in a file of their own, bad files."""

import sys

import numpy as np
import onnx
import other_formats as made
import pytest
import reference_files as files
import torch
from onnx import TensorProto, helper, numpy_helper

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.formats.open import open_source


def _read(folder, data, name="x.onnx"):
    (folder / name).write_bytes(data)
    return open_source(folder / name)


def _conv(tensor):
    return made.onnx_model([helper.make_node("Conv", ["x", "k"], ["y"])], {"k": tensor})


def test_the_arrays_and_the_graph(tmp_path):
    source = _read(tmp_path, made.small_onnx(producer="pytorch", layout="torchvision"))
    assert source.format.startswith("ONNX, written by pytorch")
    assert source.family == "torch"
    assert source.metadata == {"layout": "torchvision"}
    expected = {"c.weight": made.KERNEL, "c.bias": made.BIAS, "fc.weight": made.MATRIX}
    for key, array in expected.items():
        np.testing.assert_array_equal(source.arrays[key], array)
    assert "shape" not in source.arrays
    assert any("shape" in note for note in source.notes)
    conv, norm, relu, add, pool, flatten, dense = source.graph
    kinds = [node.kind for node in source.graph]
    assert kinds == ["conv", "batch_norm", "relu", "add", "pool", "flatten", "dense"]
    assert conv.arrays == ("c.weight", "c.bias")
    assert conv.attributes["stride"] == (2, 2)
    assert conv.attributes["pad"] == (1, 1)
    assert conv.attributes["kernel"] == (3, 3)
    assert norm.inputs == conv.outputs
    assert norm.attributes["eps"] == 0.25
    assert add.inputs == (*relu.outputs, *conv.outputs)
    assert pool.attributes["ceil_mode"]
    assert pool.attributes["pad"] == (0, 0, 1, 1)  # only at the end
    assert flatten.inputs == pool.outputs
    assert dense.arrays == ("fc.weight", "fc.bias")


def test_matrices_in_the_other_order_and_a_bias_of_its_own(tmp_path):
    source = _read(tmp_path, made.small_onnx(turned=True))
    np.testing.assert_array_equal(source.arrays["fc.weight"], made.MATRIX)
    assert any("turned" in note and "fc.weight" in note for note in source.notes)
    dense = source.graph[-1]
    assert dense.arrays == ("fc.weight", "fc.bias")
    assert dense.outputs == ("out",)


@pytest.mark.parametrize("arch", ["vgg16", "c3d"])
def test_an_export_converts_to_the_same_bits(tmp_path, arch):
    """PyTorch's exporters keep the names; nodes are not needed for that."""
    network = {"vgg16": files.vgg16, "c3d": files.c3d}[arch]()
    torch.save(network.state_dict(), tmp_path / "x.pth")
    (tmp_path / "x.onnx").write_bytes(made.onnx_model([], files.arrays_of(network)))
    wishes = Wishes("torchvision" if arch == "vgg16" else "c3d-pytorch")
    convert(tmp_path / "x.pth", arch, tmp_path / "a", wishes=wishes)
    convert(tmp_path / "x.onnx", arch, tmp_path / "b", wishes=wishes)
    a, b = (safetensors.read(tmp_path / name)[0] for name in "ab")
    assert a.keys() == b.keys()
    assert all(a[key].tobytes() == b[key].tobytes() for key in a)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT, [1.5, -2, 3, 4]),
        (TensorProto.DOUBLE, [1.5, -2, 3, 4]),
        (TensorProto.FLOAT16, [1.5, -2, 3, 4]),
        (TensorProto.BFLOAT16, [1.5, -2, 3, 4]),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_types_and_forms(tmp_path, kind, values, raw):
    tensor = helper.make_tensor("k", kind, [2, 2], values)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "k")
        assert tensor.raw_data
    array = _read(tmp_path, _conv(tensor)).arrays["k"]
    assert array.shape == (2, 2)
    np.testing.assert_array_equal(array.astype(np.float32).reshape(-1), values)


def test_constants_and_identities(tmp_path):
    kernel = numpy_helper.from_array(made.KERNEL)
    nodes = [
        helper.make_node("Constant", [], ["k"], value=kernel),
        helper.make_node("Identity", ["k"], ["same"]),
        helper.make_node("Conv", ["x", "same"], ["y"]),
        helper.make_node("Add", ["y", "b"], ["z"]),
    ]
    model = made.onnx_model(nodes, {"b": made.BIAS.reshape(1, 4, 1, 1)})
    source = _read(tmp_path, model)
    np.testing.assert_array_equal(source.arrays["k"], made.KERNEL)
    (conv,) = source.graph
    assert (conv.arrays, conv.outputs) == (("k", "b"), ("z",))
    assert source.arrays["b"].shape == (4,)


def _external(location, offset=0, length=None):
    tensor = TensorProto(name="k", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    entries = {"location": location, "offset": offset, "length": length}
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return _conv(tensor)


def test_data_in_a_file_beside_it(tmp_path):
    (tmp_path / "x.data").write_bytes(b"12345678" + made.BIAS.tobytes())
    source = _read(tmp_path, _external("x.data", 8))
    np.testing.assert_array_equal(source.arrays["k"], made.BIAS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_external("../secret"), "outside the model's folder"),
        (_external("/etc/passwd"), "outside the model's folder"),
        (_external("link"), "outside the model's folder"),
        (_external(""), "outside the model's folder"),
        (_external("none.data"), "not beside it"),
        (_external("x.data", 4), "lies at bytes 4 to 20 of x.data"),
        (_external("x.data", "many"), "no valid place"),
        (_external("x.data", 0, 12), "holds 12 bytes"),
        (_external("x.data", -8), "lies at bytes -8"),
    ],
)
def test_data_elsewhere_are_not_read(tmp_path, data, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(made.BIAS.tobytes())
    (folder / "x.data").write_bytes(made.BIAS.tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=message):
        _read(folder, data)


def _tensor(**fields):
    return _conv(TensorProto(name="k", **fields))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (made.small_onnx()[:-9], "looks like an ONNX file|known here"),
        (made.onnx_model([], {}), "without weights"),
        (made.onnx_model([], {"n": np.arange(3)}), "without weights"),
        (_tensor(data_type=1, dims=[9], raw_data=b"1234"), "says shape"),
        (_tensor(data_type=1, dims=[2**62, 2**62], raw_data=b"1234"), "says shape"),
        (_tensor(data_type=1, dims=[-1], raw_data=b"1234"), "says shape"),
        (_tensor(data_type=10, dims=[2**40], int32_data=[1, 2]), "says shape"),
        (
            made.onnx_model([], {"a": numpy_helper.from_array(made.BIAS, "b"), "b": made.BIAS}),
            "two arrays named 'b'",
        ),
    ],
)
def test_bad_files(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as caught:
        _read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_without_onnx_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'prernn-jax\[onnx\]'"):
        _read(tmp_path, made.small_onnx())
    assert onnx.__version__
