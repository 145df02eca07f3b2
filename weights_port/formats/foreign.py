"""Formats that are not read: what a file is, told by its contents, and how to convert it."""

import pickletools
import re
from collections.abc import Callable
from pathlib import Path

from weights_port.formats.protobuf_wire import fields

_TO_NPZ = "numpy.savez('weights.npz', **arrays)"
_TENSORFLOW = (
    "read it in TensorFlow (tf.train.load_checkpoint(PREFIX): get_variable_to_shape_map and "
    f"get_tensor give the arrays) and write {_TO_NPZ}, or save the Keras model as .h5"
)
_SAVED_MODEL = (
    "read it in TensorFlow (tf.saved_model.load(FOLDER).variables give the arrays) and write "
    f"{_TO_NPZ}, or convert it with tf2onnx to .onnx"
)
_STARTS: tuple[tuple[bytes, int, str, str], ...] = (
    (b"version https://git-lfs", 0, "a pointer of Git LFS, not the file itself",
     "run `git lfs pull` in its repository, or fetch the file from its page"),
    (b"TFL3", 4, "a TensorFlow Lite model (.tflite)",
     "take the model it was made from, or convert it with tflite2onnx to .onnx"),
    (b"GGUF", 0, "a GGUF file (llama.cpp)", "take the model it was made from, as .safetensors"),
    (b"\x12\x01\0\0\0\0\0\0", 0, "parameters of MXNet (.params)",
     "load them in MXNet (mx.nd.load) and write numpy.savez('weights.npz', "
     "**{name: array.asnumpy() for name, array in loaded.items()})"),
    (b"MATLAB 7.3 MAT-file", 0, "a MATLAB file, version 7.3 (.mat)",
     f"read it with h5py or MATLAB and write {_TO_NPZ}"),
    (b"MATLAB 5.0 MAT-file", 0, "a MATLAB file (.mat), of MatConvNet perhaps",
     f"read it with scipy.io.loadmat and write {_TO_NPZ}"),
    (b"\x93NUMPY", 0, "a single numpy array (.npy)",
     f"load it (a dictionary: numpy.load(FILE, allow_pickle=True).item(), which runs code if the "
     f"file is hostile) and write {_TO_NPZ}"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive", "unpack it first"),
    (b"Rar!", 0, "a RAR archive", "unpack it first"),
    (b"(\x04\0\0\0\x01\0\0\0", 0, "a Torch7 file of Lua", "convert it with torchfile to .npz"),
)  # fmt: skip
_TABLE_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # the last bytes of TensorFlow's tables
_PICKLES: tuple[tuple[str, str, str], ...] = (
    (r"theano|lasagne|pylearn2", "a pickle of Theano or Lasagne", "load it there"),
    (r"chainer", "a pickle of Chainer", "load it there (chainer.serializers)"),
    (r"paddle", "a pickle of PaddlePaddle (.pdparams)", "load it there (paddle.load)"),
    (r"sklearn|joblib", "a pickle of scikit-learn", "load it there (joblib.load)"),
    (r"numpy", "a pickle of numpy arrays (Detectron's .pkl, PaddlePaddle's .pdparams and others)",
     "load it in a Python that you trust it in (pickle.load runs code if the file is hostile)"),
)  # fmt: skip
_OLD_PICKLES = (b"(d", b"(l", b"cn", b"ct", b"cc")  # of protocol 0: their first two bytes
_LOOKED_AT = 2**20  # bytes of a pickle whose names are read


def name_foreign(path: Path, view: memoryview) -> str | None:
    """What a file is that is not read, and how to convert it; None where it is nothing known."""
    start = bytes(view[:512])
    for magic, place, what, way in _STARTS:
        if start[place : place + len(magic)] == magic:
            return f"{what}; {way}"
    tests: tuple[Callable[[Path, memoryview], str | None], ...] = (
        _pickle, _text, _tensorflow_table, _tensorflow_graph, _by_name,
    )  # fmt: skip
    return next((found for test in tests if (found := test(path, view))), None)


def name_folder(path: Path) -> str:
    """What a folder is that was given in place of a file."""
    names = sorted(entry.name for entry in path.iterdir())
    if "saved_model.pb" in names or "keras_metadata.pb" in names:
        return f"a SavedModel of TensorFlow, a folder; {_SAVED_MODEL}"
    if any(name.endswith(".index") for name in names):
        return f"a folder with a checkpoint of TensorFlow; {_TENSORFLOW}"
    if "data.pkl" in names or any((path / name / "data.pkl").exists() for name in names[:20]):
        return (
            "a PyTorch file that was unpacked (macOS does it to .pth files that it takes for zip "
            "files); give the file itself"
        )
    files = [name for name in names if (path / name).is_file()]
    return f"a folder, expected a file of weights; it holds {', '.join(files[:8]) or 'no files'}"


def _pickle(path: Path, view: memoryview) -> str | None:
    """Pickles that are not PyTorch's, judged by the names in them; nothing is loaded."""
    if view[:1] != b"\x80" and bytes(view[:2]) not in _OLD_PICKLES:
        return None
    names: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(bytes(view[:_LOOKED_AT])):
            if opcode.name == "GLOBAL" or "UNICODE" in opcode.name:
                names.append(str(argument))
                if opcode.name == "GLOBAL" and "torch" in str(argument):
                    return None
    except (ValueError, TypeError, IndexError, OverflowError, MemoryError):
        pass  # the rest of a large file, or damage: what was seen so far counts
    text = " ".join(names)
    if re.search(r"\btorch\b", text):
        return None
    for pattern, what, way in _PICKLES:
        if re.search(rf"\b({pattern})", text):
            return f"{what}; {way} and write {_TO_NPZ}"
    return None


def _text(path: Path, view: memoryview) -> str | None:
    start = bytes(view[:4096])
    if start.lstrip()[:1] == b"{" and b'"weight_map"' in bytes(view[: 2**20]):
        return (
            "the index of a model in several safetensors files; load and save it as one "
            "(safetensors.torch.save_file of all arrays together)"
        )
    if start.lstrip()[:1] == b"{":
        return "a JSON text, not weights; give the file of weights that belongs to it"
    if re.match(rb"\s*(#.*\s)*(name|layers?|input|force_backward)\s*[:{]", start):
        return "a Caffe definition (.prototxt), not weights; give the .caffemodel"
    return None


def _tensorflow_table(path: Path, view: memoryview) -> str | None:
    if bytes(view[-8:]) == _TABLE_MAGIC:
        return f"a checkpoint of TensorFlow (.ckpt, or the .index of one); {_TENSORFLOW}"
    return None


def _tensorflow_graph(path: Path, view: memoryview) -> str | None:
    """A GraphDef (nodes with a name and an operation) or a SavedModel (a version, then graphs)."""
    heads = fields(view, 4)
    marks = [(field.number, field.wire) for field in heads]
    if marks[:2] == [(1, 0), (2, 2)] and {1, 2} <= _parts(heads[1].content).keys():
        return f"a SavedModel of TensorFlow (saved_model.pb); {_SAVED_MODEL}"
    if marks[:1] != [(1, 2)]:
        return None
    node = _parts(heads[0].content)
    if re.fullmatch(rb"[A-Z]\w*", bytes(node.get(2, b"")[:64])):
        return (
            "a frozen graph of TensorFlow (.pb); convert it with tf2onnx to .onnx, or take the "
            "checkpoint it was made from"
        )
    if (2, 2) in marks and 5 in node:
        return f"a MetaGraph of TensorFlow (.meta); {_TENSORFLOW}"
    return None


def _parts(message: memoryview) -> dict[int, memoryview]:
    """The length-delimited fields among the first of a message, by number."""
    return {field.number: field.content for field in fields(message, 64) if field.wire == 2}


_NAMES: tuple[tuple[str, str], ...] = (
    (r".*\.data-\d{5}-of-\d{5}", f"the data of a TensorFlow checkpoint; {_TENSORFLOW}"),
    (r".*\.ckpt(-\d+)?", f"a checkpoint, of TensorFlow by its name; {_TENSORFLOW}"),
    (r".*\.pdparams", "parameters of PaddlePaddle; load them there (paddle.load) and write "
     + _TO_NPZ),
    (r".*\.pdiparams", "an inference model of PaddlePaddle; convert it with paddle2onnx to .onnx"),
    (r".*\.params", "parameters of MXNet by its name; load them there (mx.nd.load) and write "
     + _TO_NPZ),
    (r".*\.weights", "weights of Darknet by its name; convert them to .pth or .npz there"),
    (r".*\.mlmodel", "a Core ML model by its name; take the model it was made from"),
    (r".*\.msgpack", "parameters of Flax by its name; load them (flax.serialization."
     f"msgpack_restore) and write {_TO_NPZ}"),
    (r".*\.t7", "a Torch7 file of Lua by its name; convert it with torchfile to .npz"),
)  # fmt: skip


def _by_name(path: Path, view: memoryview) -> str | None:
    """The last resort, for formats without a mark of their own; pickles have one."""
    if view[:1] == b"\x80":
        return None
    for pattern, what in _NAMES:
        if re.fullmatch(pattern, path.name, re.IGNORECASE):
            return what
    return None
