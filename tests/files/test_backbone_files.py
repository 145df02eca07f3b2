"""Files of parameters: round trip, the safetensors package as witness, bad files, rebuilding."""

import json
import os
import resource

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from random_model import random_model

from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.files import array_blocks
from prernn_jax.files import backbones as pretrained
from prernn_jax.files import safetensors as safetensors_file
from prernn_jax.preprocess import Preprocessing

TINY = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "a.kernel": rng.normal(size=(3, 4, 5)).astype(np.float32).transpose(2, 0, 1),
        "a.bias": rng.normal(size=(7,)).astype(np.float64),
        "half": rng.normal(size=(3,)).astype(np.float16),
        "brain": rng.normal(size=(3, 1)).astype(ml_dtypes.bfloat16),
        "count": np.array(3, np.int64),
        "empty": np.zeros((0, 4), np.float32),
        "ümlaut": np.array([True, False]),
    }


def test_round_trip(tmp_path, arrays):
    path = tmp_path / "x.safetensors"
    pretrained.save_parameters(path, arrays, {"k": "v"})
    read, metadata = pretrained.read_parameters(path)
    assert metadata == {"k": "v"}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array, err_msg=name)
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_safetensors_package_reads_and_writes_the_same(tmp_path, arrays):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    pretrained.save_parameters(ours, arrays, {"k": "v"})
    contiguous = {name: np.array(a, order="C") for name, a in arrays.items()}
    safetensors.numpy.save_file(contiguous, theirs, {"k": "v"})
    with safetensors.safe_open(ours, "numpy") as file:
        assert {"k": "v"}.items() < file.metadata().items()  # and the digest
        for name, array in arrays.items():
            if name != "brain":
                np.testing.assert_array_equal(file.get_tensor(name), array)
    read, metadata = pretrained.read_parameters(theirs)
    assert metadata == {"k": "v"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_large_transposed_arrays_are_written_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(array_blocks, "_BLOCK", 64)
    array = np.arange(7 * 11 * 3, dtype=np.float32).reshape(7, 11, 3).transpose(1, 2, 0)
    pretrained.save_parameters(tmp_path / "x", {"a": array}, {})
    np.testing.assert_array_equal(pretrained.read_parameters(tmp_path / "x")[0]["a"], array)


def test_arrays_are_reshaped_and_converted_while_they_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(array_blocks, "_BLOCK", 256)
    array = np.arange(70 * 6 * 5, dtype=np.float16).reshape(70, 6, 5)
    view = array.transpose(2, 1, 0)
    single = safetensors_file.Outgoing(view, (30, 70), np.dtype(np.float32))
    scalar = safetensors_file.Outgoing(np.array(2.5), (1,), np.dtype(np.float32))
    safetensors_file.write_safely(tmp_path / "x", {"a": single, "b": scalar}, {})
    read, _ = pretrained.read_parameters(tmp_path / "x")
    np.testing.assert_array_equal(read["a"], view.reshape(30, 70).astype(np.float32))
    assert read["b"].dtype == np.float32
    assert read["b"].tolist() == [2.5]


def test_a_checksum_may_come_late(tmp_path):
    text = {"sum": "000", "k": "v"}
    arrays = {"a": np.arange(3.0)}
    safetensors_file.write(tmp_path / "x", arrays, text, late=lambda: {"sum": "abc"})
    read, metadata = pretrained.read_parameters(tmp_path / "x")
    assert metadata == {"sum": "abc", "k": "v"}
    assert read["a"].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="as long as"):
        safetensors_file.write(tmp_path / "y", arrays, text, late=lambda: {"sum": "a" * 20})


def test_refuses_to_overwrite_unless_asked(tmp_path):
    path = tmp_path / "x"
    pretrained.save_parameters(path, {"a": np.zeros(2)}, {})
    with pytest.raises(InputError, match="exists already"):
        pretrained.save_parameters(path, {"a": np.ones(2)}, {})
    assert pretrained.read_parameters(path)[0]["a"].sum() == 0
    pretrained.save_parameters(path, {"a": np.ones(2)}, {}, overwrite=True)
    assert pretrained.read_parameters(path)[0]["a"].sum() == 2


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        pretrained.save_parameters(tmp_path / "x", {"a": np.zeros(2)}, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="No such file"):
        pretrained.save_parameters(tmp_path / "no" / "x", {"a": np.zeros(2)}, {})
    with pytest.raises(InputError, match="dtype complex64"):
        pretrained.save_parameters(tmp_path / "x", {"a": np.zeros(2, np.complex64)}, {})
    with pytest.raises(InputError, match="text to text"):
        pretrained.save_parameters(tmp_path / "x", {}, {"a": 1})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match="cannot write"):
            pretrained.save_parameters(tmp_path / "x", {"a": np.zeros((99, 99)).T}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def _with_header(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
ENTRY = json.dumps(F32).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"abc", "truncated or no safetensors"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"\n <html><body>404</body></html>", "HTML"),
        (b"PK\x03\x04" + b"\0" * 60, "prernn port convert"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P", "prernn port convert"),
        ((2**62).to_bytes(8, "little") + b"{}", "truncated or no safetensors"),
        (_with_header(b"{nonsense"), "truncated or no safetensors"),
        (_with_header(b"[" * 10_000), "truncated or no safetensors"),
        (_with_header(b"[1, 2]"), "truncated or no safetensors"),
        (_with_header({"a": F32}, b"\0" * 7), "truncated: 'a'"),
        (_with_header({"a": 3}), "not a tensor"),
        (_with_header({"a": {**F32, "shape": [3]}}), "does not fit"),
        (_with_header({"a": {**F32, "shape": [-2]}}), "no valid sizes"),
        (_with_header({"a": {**F32, "shape": [2**40, 2**40]}}), "does not fit"),
        (_with_header({"a": {**F32, "shape": [2**70, 0], "data_offsets": [0, 0]}}), "impossible"),
        (_with_header({"a": {**F32, "dtype": "F99"}}), "F99"),
        (_with_header({"a": {**F32, "dtype": ["F32"]}}), "dtype"),
        (_with_header({"a": F32, "__metadata__": {"k": 1}}), "text to text"),
        (_with_header(b'{"a": %b, "a": %b}' % (ENTRY, ENTRY)), "names 'a' twice"),
        (_with_header(b'{"__metadata__": {"k": "1", "k": "2"}}', b""), "names 'k' twice"),
        (_with_header(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "names 'dtype' twice"),
        (_with_header(b' {"a": %b}' % ENTRY), "no safetensors"),
        (_with_header(json.dumps({"a": F32}).encode("utf-16")), "no safetensors"),
        (_with_header({"a": F32, "b": F32}), "an overlap with 'b'"),
        (_with_header({"a": {**F32, "data_offsets": [4, 12]}}, b"\0" * 12), "a hole before 'a'"),
        (_with_header({"a": F32}, b"\0" * 12), "last 4 bytes belong to no array"),
        (_with_header(b'{"\\ud800": %b}' % ENTRY), "no safetensors"),
        (_with_header({"a\nb": 3}), "not a tensor"),
        (_with_header(b'{"a": 1' + b"0" * 5000 + b"}"), "no safetensors"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        pretrained.read_parameters(path)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        pretrained.read_parameters(tmp_path / "none")
    with pytest.raises(InputError, match="directory"):
        pretrained.read_parameters(tmp_path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_mutated_files_never_crash_the_reader(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    good = bytearray(_with_header({"a": F32, "b": {**F32, "data_offsets": [8, 16]}}, b"\0" * 16))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    (folder / "x").write_bytes(good[:cut])
    try:
        read, _ = pretrained.read_parameters(folder / "x")
    except InputError:
        return
    assert sum(a.nbytes for a in read.values()) <= 10 * len(good)


def _save_tiny(path, **more):
    model = random_model(lambda: VGG16(**TINY, rngs=nnx.Rngs(0)))
    metadata = {"architecture": "vgg16", "arguments": json.dumps(TINY), **more}
    pretrained.save_parameters(path, pretrained.flat_parameters(model), metadata)
    return model


def test_load_pretrained_builds_the_same_network(tmp_path):
    path = tmp_path / "x"
    preprocessing = Preprocessing(channels="bgr", mean=(1.0, 2.0, 3.0))
    model = _save_tiny(path, variant="caffe", preprocessing=preprocessing.to_json())
    loaded = pretrained.load_pretrained(path)
    assert isinstance(loaded, VGG16)
    assert loaded.variant == "caffe"
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    expected = model(jnp.asarray(frames[..., ::-1] - np.array([1.0, 2.0, 3.0], np.float32)))
    np.testing.assert_array_equal(loaded(loaded.preprocess(frames)), expected)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(nnx.state(loaded)))
    merged = nnx.merge(*nnx.split(loaded))
    np.testing.assert_array_equal(merged(merged.preprocess(frames)), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "alexnet"}, "architecture 'alexnet'"),
        ({"arguments": "{"}, "not valid JSON"),
        ({"arguments": "[]"}, "JSON object"),
        ({"arguments": json.dumps({"height": 3})}, "give VGG16 an argument 'height'; it has num_"),
        ({"variant": "theano"}, "theano"),
        ({"arguments": json.dumps({**TINY, "hidden": 6})}, r"wrong shape: fc6.bias \(5,\) inst"),
    ],
)
def test_load_pretrained_says_what_is_wrong(tmp_path, change, message):
    _save_tiny(tmp_path / "x", **change)
    with pytest.raises(InputError, match=message):
        pretrained.load_pretrained(tmp_path / "x")


def test_all_faults_are_listed_together(tmp_path):
    model = random_model(lambda: VGG16(**TINY, rngs=nnx.Rngs(0)))
    parameters = pretrained.flat_parameters(model)
    parameters["fc9.kernel"] = parameters.pop("fc8.kernel")
    parameters["fc7.bias"] = jnp.zeros(2)
    metadata = {"architecture": "vgg16", "arguments": json.dumps(TINY)}
    pretrained.save_parameters(tmp_path / "x", parameters, metadata)
    with pytest.raises(InputError, match=r"missing: fc8\.kernel; unknown: fc9\.kernel; wrong") as e:
        pretrained.load_pretrained(tmp_path / "x")
    assert "fc7.bias (2,) instead of (5,)" in str(e.value)
