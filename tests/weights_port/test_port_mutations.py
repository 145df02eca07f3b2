"""Mutated files of every format: no crash, no hang, and no memory beyond that of the file."""

import io
import json
import resource
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import other_formats as made
import pytest
import reference_files as files
import torch

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port.formats import hdf5_index, keras
from weights_port.formats.open import open_source

LAYERS = {
    "one": ("Convolution", [made.KERNEL, made.BIAS]),
    "two": ("InnerProduct", [made.MATRIX, made.OFFSET]),
}
STATE = {"a.weight": torch.from_numpy(made.KERNEL), "a.bias": torch.from_numpy(made.BIAS)}


def _torch(value=STATE, legacy=False):
    out = io.BytesIO()
    checkpoint = {"best": np.float64(3), "state_dict": value}
    torch.save(checkpoint, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def _npz(arrays, save=np.savez):
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def _tar(data, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        entry = tarfile.TarInfo("x.pth")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _zip(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _written(folder, write):
    write(folder / "seed")
    return (folder / "seed").read_bytes()


def _safetensors(path):
    arrays = {"a": made.KERNEL, "b": made.BIAS}
    safetensors.write_safely(path, arrays, {"k": "v"}, overwrite=True)


def _keras(version):
    return lambda folder: _written(folder, lambda path: made.write_keras(path, version))


FORMATS = {
    "caffe V2": lambda _: files.caffemodel(LAYERS),
    "caffe V1": lambda _: files.caffemodel(LAYERS, 1, dialect="legacy"),
    "caffe V0": lambda _: files.caffemodel(LAYERS, 0, data="unpacked"),
    "caffe C3D": lambda _: files.caffemodel(LAYERS, 1, dialect="fork"),
    "caffe blob": lambda _: files.blob(made.KERNEL, "fork"),
    "safetensors": lambda folder: _written(folder, _safetensors),
    "torch zip": lambda _: _torch(),
    "torch legacy": lambda _: _torch(legacy=True),
    "onnx": lambda _: made.small_onnx(),
    "npz": lambda _: _npz({"a": made.KERNEL, "b": made.BIAS}),
    "npz packed": lambda _: _npz({"a": made.KERNEL, "b": made.BIAS}, np.savez_compressed),
    "tar": lambda _: _tar(_torch(legacy=True), "w"),
    "tar.gz": lambda _: _tar(_torch(legacy=True), "w:gz"),
    "zip": lambda _: _zip({"x.pth": _torch(legacy=True)}),
    "keras 2": _keras(2),
    "keras 3": _keras(3),
    ".keras": lambda folder: _zip(
        {"config.json": made.keras_config(3), "model.weights.h5": _keras(3)(folder)}
    ),
}
_SLACK = 2**25  # what Python, numpy and torch take for themselves
_LONGEST = 30  # seconds of computing for one file; a process that lists HDF5 gives up after 20
_computed = []  # seconds that listed HDF5 files took in processes of `lister`


def _mutated(seed, rng):
    """Changed, inserted and removed bytes, counts made long, a cut, something behind."""
    data = bytearray(seed)
    for _ in range(rng.integers(0, 5)):
        at = int(rng.integers(len(data)))
        kind = rng.integers(5)
        if kind == 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:  # a length that is not true, in protobuf's form or in four bytes
            data[at : at + 4] = b"\xff\xff\xff\x7f"
        elif kind == 3:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
        else:
            del data[at : at + int(rng.integers(1, 9))]
    if rng.random() < 0.25:
        del data[int(rng.integers(len(data))) :]
    return bytes(data) + (rng.bytes(12) if rng.random() < 0.1 else b"")


def _clock():
    """Seconds of computing of this process and of those that it has started and ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(_computed)


def _try_all(folder, name, count):
    """Reads so many mutated files; says how many were read all the same, and the slowest."""
    seed = FORMATS[name](folder)
    path = folder / "mutated"
    path.write_bytes(seed)
    open_source(path)  # what is imported and kept counts before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good, slowest = 0, 0.0
    for number in range(count):
        data = _mutated(seed, np.random.default_rng(number))
        path.write_bytes(data)
        began = _clock()
        try:
            source = open_source(path)
        except InputError:
            pass
        else:
            good += 1
            held = sum(array.nbytes for array in source.arrays.values())
            assert held <= 2 * max(len(data), len(seed)), number
        slowest = max(slowest, _clock() - began)
        assert slowest < _LONGEST, number
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < _SLACK + 2 * len(seed)
    print(f"{name}: {count} files, {good} read, slowest {slowest:.2f} s, grown {grown >> 20} MiB")


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files(tmp_path, name):
    _try_all(tmp_path, name, 12 if "keras" in name else 200)


_LISTING = """
import json, os, sys
import h5py
from weights_port.formats import hdf5_index
hdf5_index._SECONDS = 3
for line in sys.stdin:
    *arguments, out = json.loads(line)
    child = os.fork()
    if not child:
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        sys.argv = [hdf5_index.__file__, *arguments]
        hdf5_index.main()
        sys.stdout.flush()
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    print(status, used.ru_utime + used.ru_stime, flush=True)
"""


@pytest.fixture
def lister(monkeypatch, tmp_path):
    """Lists each HDF5 file in a process of its own that has h5py already.

    The same program under the same limits, but for 3 seconds of computing in place of 20; only its
    start is left out, which takes 0.2 s.
    """
    out = tmp_path / "listed"

    def run(command, **_):
        assert command[2] == hdf5_index.__file__
        print(json.dumps([*command[3:], str(out)]), file=server.stdin, flush=True)
        status, seconds = server.stdout.readline().split()
        _computed.append(float(seconds))
        if int(status):
            raise subprocess.CalledProcessError(int(status), command)
        return subprocess.CompletedProcess(command, 0, out.read_bytes())

    program = [sys.executable, "-c", _LISTING]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, **pipes) as server:
        with monkeypatch.context() as patch:
            patch.setattr(keras.subprocess, "run", run)
            yield
        server.stdin.close()
    assert server.returncode == 0


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_mutated_files(tmp_path, name, request):
    if "keras" in name:
        request.getfixturevalue("lister")
    _try_all(tmp_path, name, 10_000)


BIG = {f"layer{number}": row for number, row in enumerate(np.ones((4, 2**19), np.float32))}
LARGE = {
    "caffe": lambda _: files.caffemodel({k: ("Scale", [a]) for k, a in BIG.items()}),
    "torch": lambda _: _torch({k: torch.from_numpy(a) for k, a in BIG.items()}),
    "onnx": lambda _: made.onnx_model([], BIG),
    "npz": lambda _: _npz(BIG),
    "tar": lambda _: _tar(_torch({k: torch.from_numpy(a) for k, a in BIG.items()}), "w"),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_file_is_mapped_and_not_copied(tmp_path, name):
    small = {"npz": "npz", "onnx": "onnx", "tar": "tar", "caffe": "caffe V2", "torch": "torch zip"}
    (tmp_path / "x").write_bytes(FORMATS[small[name]](tmp_path))
    open_source(tmp_path / "x")  # imports what it needs
    data = LARGE[name](tmp_path)
    (tmp_path / "x").write_bytes(data)
    tracemalloc.start()
    source = open_source(tmp_path / "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(array.nbytes for array in source.arrays.values()) == 2**23
    assert peak < len(data) // 2
