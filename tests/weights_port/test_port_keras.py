"""Keras: the files of three versions, whole and weights only; damaged files crash nothing."""

import importlib.util
import json
import zipfile

import h5py
import numpy as np
import other_formats as made
import pytest

from prernn_jax.errors import InputError
from weights_port.formats import hdf5_index
from weights_port.formats import keras as reader
from weights_port.formats.open import open_source


def _write_zip(path, config, hdf5):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.9.0"}))
        archive.writestr("config.json", config)
        archive.write(hdf5, "model.weights.h5")


def _check(source, suffix=""):
    assert source.family == "keras"
    assert list(source.arrays) == [key + suffix for key in made.KEYS]
    for layer, (_, arrays) in made.LAYERS.items():
        for name, array in arrays.items():
            found = source.arrays[f"{layer}/{name}{suffix}"]
            np.testing.assert_array_equal(found, array)
            assert found.dtype == np.float32


def _check_graph(source, suffix=""):
    conv, norm, pool, dense = source.graph
    assert [node.kind for node in source.graph] == ["conv", "batch_norm", "pool", "dense"]
    assert conv.attributes["stride"] == (2, 2)
    assert conv.attributes["activation"] == "relu"
    assert conv.attributes["auto_pad"] == "same"
    assert norm.inputs == conv.outputs
    assert norm.attributes["eps"] == 0.25
    assert pool.attributes["operation"] == "max"
    assert dense.arrays == (f"fc1/kernel{suffix}", f"fc1/bias{suffix}")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}, {"chunks": True}])
def test_version_2(tmp_path, whole, how):
    made.write_keras(tmp_path / "x.h5", 2, whole=whole, **how)
    source = open_source(tmp_path / "x.h5")
    assert source.format == "Keras 2.2, .h5"
    _check(source, ":0")
    if whole:
        _check_graph(source, ":0")
        assert source.notes == ["left out, no weights: 1 arrays of the optimizer"]
    else:
        assert source.graph is None


def test_version_1(tmp_path):
    made.write_keras(tmp_path / "x.h5", 1, whole=False)
    arrays = open_source(tmp_path / "x.h5").arrays
    assert list(arrays)[:3] == [
        "block1_conv1_kernel_1:0", "block1_conv1_bias_1:0", "bn_x_gamma_1:0"
    ]  # fmt: skip
    assert list(arrays)[-1] == "fc1_bias_1:0"
    np.testing.assert_array_equal(arrays["fc1_bias_1:0"], made.OFFSET)


def test_version_3(tmp_path):
    made.write_keras(tmp_path / "x.weights.h5", 3)
    source = open_source(tmp_path / "x.weights.h5")
    assert set(source.arrays) == set(made.KEYS)
    np.testing.assert_array_equal(source.arrays["bn_x/moving_mean"], made.NORM["mean"])
    _write_zip(tmp_path / "x.keras", made.keras_config(3), tmp_path / "x.weights.h5")
    source = open_source(tmp_path / "x.keras")
    assert source.format == "Keras 3.9.0, .keras"
    _check(source)
    _check_graph(source)


def test_version_3_without_names_in_the_groups(tmp_path):
    """Early files of version 3: the configuration's order says which layer is which."""
    made.write_keras(tmp_path / "x.h5", 3)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        for group in file["layers"].values():
            del group["vars"].attrs["name"]
    _write_zip(tmp_path / "x.keras", made.keras_config(3), tmp_path / "x.h5")
    _check(open_source(tmp_path / "x.keras"))


@pytest.mark.parametrize("config", ["", "{", "[]", '{"config": 3}', '{"config": {"layers": [1]}}'])
def test_a_configuration_that_says_nothing(tmp_path, config):
    made.write_keras(tmp_path / "x.h5", 3)
    _write_zip(tmp_path / "x.keras", config, tmp_path / "x.h5")
    source = open_source(tmp_path / "x.keras")
    assert source.graph is None
    assert set(source.arrays) == set(made.KEYS)


def test_a_lambda_layer_is_not_run(tmp_path):
    proof = tmp_path / "proof"
    config = json.loads(made.keras_config(3))
    lines = f"__import__('os').system('touch {proof}')"
    config["config"]["layers"].append({"class_name": "Lambda", "config": {"function": lines}})
    made.write_keras(tmp_path / "x.h5", 3)
    _write_zip(tmp_path / "x.keras", json.dumps(config), tmp_path / "x.h5")
    assert len(open_source(tmp_path / "x.keras").arrays) == len(made.KEYS)
    assert not proof.exists()


def test_data_in_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(made.BIAS.tobytes())
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["a"] = made.BIAS
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "y.h5", "a", (4,))
    made.write_keras(tmp_path / "x.h5", 2)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        outside = [(str(tmp_path / "secret"), 0, 16)]
        file.create_dataset("model_weights/e/e/kernel:0", (4,), "f4", external=outside)
        file.create_virtual_dataset("model_weights/v/v/kernel:0", layout)
        file["model_weights/l"] = h5py.ExternalLink(str(tmp_path / "y.h5"), "a")
    _check(open_source(tmp_path / "x.h5"), ":0")


def test_bad_files(tmp_path):
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["text"] = "hello"
    with pytest.raises(InputError, match="without weights of Keras"):
        open_source(tmp_path / "none.h5")
    made.write_keras(tmp_path / "x.h5", 2)
    data = (tmp_path / "x.h5").read_bytes()
    for length in (10, 100, 600, len(data) - 1):
        (tmp_path / "y.h5").write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated or damaged") as caught:
            open_source(tmp_path / "y.h5")
        assert "\n" not in str(caught.value)
    _write_zip(tmp_path / "x.keras", "{}", tmp_path / "x.h5")
    data = (tmp_path / "x.keras").read_bytes()
    at = data.index(b"\x89HDF")
    (tmp_path / "y.keras").write_bytes(data[:at] + b"\0" * 600 + data[at + 600 :])
    with pytest.raises(InputError, match="truncated or damaged"):
        open_source(tmp_path / "y.keras")


def test_what_grows_beyond_all_measure(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a/a/kernel:0", (2**17,), "f4", compression="gzip")
    monkeypatch.setattr(reader, "most_unpacked", lambda path: 2**18)
    with pytest.raises(InputError, match="larger than 262144 bytes when unpacked"):
        open_source(tmp_path / "x.h5")


def test_a_crash_of_the_library_is_a_message(tmp_path, monkeypatch):
    made.write_keras(tmp_path / "x.h5", 2)
    program = tmp_path / "crash.py"
    program.write_text("import os\nos.abort()\n", encoding="utf-8")
    monkeypatch.setattr(hdf5_index, "__file__", str(program))
    with pytest.raises(InputError, match="it crashed in the HDF5 library"):
        open_source(tmp_path / "x.h5")
    program.write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    monkeypatch.setattr(reader, "_TIMEOUT", 0.5)
    with pytest.raises(InputError, match="takes too long"):
        open_source(tmp_path / "x.h5")


def test_without_h5py_the_message_says_so(tmp_path, monkeypatch):
    made.write_keras(tmp_path / "x.h5", 2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'prernn-jax\[keras\]'"):
        open_source(tmp_path / "x.h5")
