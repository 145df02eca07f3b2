"""Formats that are not read are named by what is in the file, with the way to convert them."""

import json
import pickle

import numpy as np
import pytest
import reference_files as files
import torch
from reference_files import number, piece

from prernn_jax.errors import InputError
from weights_port.formats.open import open_source


class _Module(torch.nn.Module):
    def forward(self, x):
        return x * 2


def _call(module, name):
    """The pickle of a dictionary with a call of that name, as other programs write it."""
    return b"\x80\x02}q\x00U\x01ac" + f"{module}\n{name}\n".encode() + b"K\x01\x85Rs."


_SSTABLE = b"\0" * 40 + bytes.fromhex("57fb808b247547db")
_NODE = piece(1, "conv1/kernel") + piece(2, "Const")
_META_GRAPH = piece(1, piece(5, "1.15")) + piece(2, piece(1, _NODE))
CASES = {
    "x.ckpt": (_SSTABLE, "checkpoint of TensorFlow.*load_checkpoint.*savez"),
    "x.ckpt.index": (_SSTABLE, "checkpoint of TensorFlow"),
    "x.ckpt.data-00000-of-00001": (b"\0\1\2\3" * 9, "data of a TensorFlow checkpoint"),
    "frozen.pb": (piece(1, _NODE) + piece(4, number(1, 27)), "frozen graph of TensorFlow.*tf2onnx"),
    "saved_model.pb": (number(1, 1) + piece(2, _META_GRAPH), "SavedModel of TensorFlow"),
    "x.meta": (_META_GRAPH, "MetaGraph of TensorFlow"),
    "x.tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 40, "TensorFlow Lite.*tflite2onnx"),
    "x.params": (b"\x12\x01" + b"\0" * 30, "parameters of MXNet.*mx.nd.load"),
    "x.gguf": (b"GGUF\3\0\0\0" + b"\0" * 40, "GGUF"),
    "x.mat": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + b" " * 90, "MATLAB.*loadmat"),
    "y.mat": (b"MATLAB 7.3 MAT-file" + b" " * 493 + b"\x89HDF\r\n\x1a\n", "7.3.*h5py"),
    "x.npy": (b"\x93NUMPY\1\0v\0{}", "single numpy array.*savez"),
    "model.safetensors.index.json": (
        json.dumps({"metadata": {}, "weight_map": {"a": "1.safetensors"}}).encode(),
        "index of a model in several safetensors files",
    ),
    "config.json": (b'{"a": 1}', "JSON text"),
    "deploy.prototxt": (b"# VGG\nname: 'VGG'\nlayer { }", r"definition \(.prototxt\)"),
    "x.7z": (b"7z\xbc\xaf\x27\x1c" + b"\0" * 20, "7-Zip archive; unpack"),
    "x.rar": (b"Rar!\x1a\x07\0", "RAR archive; unpack"),
    "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS.*git lfs pull"),
    "detectron.pkl": (pickle.dumps({"blobs": {"conv1_w": np.ones(3)}}, 2), "numpy arrays"),
    "new.pkl": (pickle.dumps({"blobs": {"conv1_w": np.ones(3)}}), "numpy arrays"),
    "old.pkl": (pickle.dumps({"blobs": {"conv1_w": np.ones(3)}}, 0), "numpy arrays"),
    "x.pdparams": (_call("paddle.base.core.eager", "Tensor"), "PaddlePaddle.*paddle.load"),
    "lasagne.pkl": (_call("theano.compile.sharedvalue", "shared"), "Theano or Lasagne"),
    "yolo.weights": (b"\0\0\0\0\2\0\0\0" + b"\0" * 40, "Darknet"),
    "x.msgpack": (b"\x81\xa6params\x80" + b"\0" * 9, "Flax.*msgpack_restore"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_format_is_named(tmp_path, name):
    data, message = CASES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        open_source(tmp_path / name)
    text = str(caught.value)
    assert "\n" not in text
    assert "download it again" not in text
    assert "read here are PyTorch" in text


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_torchscript_archive(tmp_path):
    torch.jit.script(_Module()).save(str(tmp_path / "x.pt"))
    with pytest.raises(InputError, match=r"TorchScript archive.*nothing was run.*state_dict"):
        open_source(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["saved_model.pb", "variables/variables.index"], "SavedModel of TensorFlow"),
        (["model.ckpt.index", "model.ckpt.data-00000-of-00001"], "checkpoint of TensorFlow"),
        (["archive/data.pkl", "archive/version"], "PyTorch file that was unpacked"),
        (["a.txt", "b.pth"], r"a folder, expected a file.*a\.txt, b\.pth"),
        ([], "no files"),
    ],
)
def test_folders(tmp_path, names, message):
    for name in names:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_bytes(b"x")
    (tmp_path / "x").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "x")


def test_what_is_read_is_not_called_foreign(tmp_path, shared_data):
    """Files of Caffe begin as those of TensorFlow do, and names do not decide."""
    layers = {"conv1": ("Convolution", [np.ones((2, 3, 3, 3), np.float32)])}
    for version in (0, 1, 2):
        for name in ("x.pb", "x.ckpt.caffemodel", "x.params.caffemodel"):
            (tmp_path / name).write_bytes(files.caffemodel(layers, version))
            assert len(open_source(tmp_path / name).arrays) == 1
    torch.save({"a": torch.ones(2)}, tmp_path / "x.ckpt")
    torch.save({"a": torch.ones(2)}, tmp_path / "y.ckpt", _use_new_zipfile_serialization=False)
    for name in ("x.ckpt", "y.ckpt"):
        assert list(open_source(tmp_path / name).arrays) == ["a"]
    assert open_source(shared_data / "caffe" / "lenet_iter_10000.caffemodel").graph
