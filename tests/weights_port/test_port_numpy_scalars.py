"""numpy's scalars beside a state dict are read, and nothing else of numpy's pickles."""

import pickle

import numpy as np
import pytest
import reference_files as files
import torch

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port.convert import convert
from weights_port.formats import numpy_scalars
from weights_port.formats.open import open_source
from weights_port.formats.torch import load_safely

STATE = {"a": torch.ones(2)}


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_with_its_best_score(tmp_path, legacy):
    state = files.resnet50().state_dict()
    torch.save(state, tmp_path / "plain.pth")
    checkpoint = {"epoch": 3, "best_prec1": np.float64(80.1), "state_dict": state}
    path = tmp_path / "best.pth.tar"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    convert(tmp_path / "plain.pth", "resnet50", tmp_path / "plain")
    convert(path, "resnet50", tmp_path / "best")
    plain, best = (safetensors.read(tmp_path / name)[0] for name in ("plain", "best"))
    assert plain.keys() == best.keys()
    for key, array in plain.items():
        assert best[key].tobytes() == array.tobytes(), key


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize(
    "value",
    [np.float64(80.1), np.float32(-2), np.int64(3), np.bool_(True), np.str_("né"), np.bytes_(b"x"),
     np.dtype(">f4").type(1.5), np.frombuffer(b"\x3f\xc0\0\0", ">f4")[0]],
)  # fmt: skip
def test_values(tmp_path, value, legacy, name, monkeypatch):
    path = tmp_path / "x.pth"
    torch.save({"v": value, **STATE}, path, _use_new_zipfile_serialization=not legacy)
    data = path.read_bytes()
    if legacy:  # as numpy 1 wrote it
        path.write_bytes(data.replace(b"numpy._core.multiarray\n", name.encode() + b"\n"))
    read = load_safely(path, zipped=not legacy)["v"]
    assert read == value
    assert read.dtype == value.dtype


def test_what_is_not_plain_becomes_none(tmp_path):
    record = np.array([(1, 2.0)], "i4,f8")[0]
    for value in (record, np.datetime64("2020-01-01"), np.void(b"ab")):
        torch.save({"v": value, **STATE}, tmp_path / "x.pth")
        assert load_safely(tmp_path / "x.pth", zipped=True)["v"] is None
        assert list(open_source(tmp_path / "x.pth").arrays) == ["a"]


@pytest.mark.parametrize("text", ["f8", "f80", "O8", "V8", "f8,f8", "(2,)f8", 8, None, "U9999"])
def test_forged_types_read_nothing_beyond_their_bytes(text):
    dtype = numpy_scalars.Dtype(text, False, True)
    for state in (
        (3, "<", None, None, None, -1, -1, 0),
        (3, "|", None, ("a",), {"a": ("f8", 10**9)}, 8, 1, 0),
        (3, "<", ("f8", (9,)), None, None, 72, 8, 0),
        (3, "nonsense", None, None, None, -1, -1, 0),
        "x",
        (),
    ):
        dtype.__setstate__(state)
        try:
            value = numpy_scalars.scalar(dtype, b"\0" * 8)
        except TypeError:  # a type that numpy does not know: torch's reader calls it damage
            continue
        assert value is None or (text == "f8" and value == 0)


@pytest.mark.parametrize(
    "value", [np.ones(3), np.dtype("f8"), np.random.default_rng(0), np.poly1d([1, 2])]
)
def test_nothing_else_of_numpy(tmp_path, value):
    torch.save({"v": value, **STATE}, tmp_path / "x.pth")
    if isinstance(value, np.dtype):  # a name and two flags: harmless, and left out
        assert list(open_source(tmp_path / "x.pth").arrays) == ["a"]
        return
    with pytest.raises(InputError, match="run code"):
        open_source(tmp_path / "x.pth")


def test_the_names_call_no_code_of_their_own(tmp_path):
    class Sneaky:
        def __reduce__(self):
            return np.dtype, ("f8", False, True), {"plain": "overwritten", "text": "O"}

    torch.save({"v": Sneaky(), **STATE}, tmp_path / "x.pth")
    assert list(open_source(tmp_path / "x.pth").arrays) == ["a"]
    (tmp_path / "y").write_bytes(pickle.dumps({"v": Sneaky()}, protocol=2))
    with pytest.raises(InputError):
        open_source(tmp_path / "y")
