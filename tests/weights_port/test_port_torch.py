"""Files of PyTorch: both formats, wrappers and prefixes, types, hostile and damaged files."""

import contextlib
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch

from prernn_jax.errors import InputError
from weights_port.formats.open import open_source
from weights_port.formats.source import nonfinite

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def _save(path, value, legacy=False):
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def _check(source):
    assert list(source.arrays) == list(STATE)
    for key, tensor in STATE.items():
        np.testing.assert_array_equal(source.arrays[key], tensor.numpy())


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats(tmp_path, legacy):
    source = open_source(_save(tmp_path / "x.pth", STATE, legacy))
    assert source.format == ("torch legacy" if legacy else "torch zip")
    _check(source)


@pytest.mark.parametrize(
    ("wrapped", "note"),
    [
        ({"state_dict": STATE, "epoch": 3}, "'state_dict'"),
        ({"model": STATE}, "'model'"),
        ([{"anything": (STATE,)}, 3], "'anything'"),
        ({"ema_state_dict": {"state_dict": STATE}}, "'ema_state_dict'"),
        ({**STATE, "epoch": 3}, "left out, no tensors: epoch"),
    ],
)
def test_wrappers(tmp_path, wrapped, note):
    source = open_source(_save(tmp_path / "x.pth", wrapped))
    _check(source)
    assert any(note in line for line in source.notes)


def test_parts_that_all_hold_tensors_keep_their_names(tmp_path):
    wrapped = {"model": STATE, "optimizer": {"state": {0: {"momentum": torch.ones(2)}}, "lr": 1}}
    source = open_source(_save(tmp_path / "x.pth", wrapped))
    assert list(source.arrays) == ["model.a.weight", "model.a.bias", "optimizer.state.0.momentum"]
    assert any("optimizer.lr" in note for note in source.notes)


def test_strides_and_types(tmp_path):
    state = {
        "strided": torch.arange(12.0).reshape(3, 4).T,
        "half": torch.ones(2, dtype=torch.float16),
        "brain": torch.full((2,), 1.5, dtype=torch.bfloat16),
        "double": torch.ones(2, dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "count": torch.tensor(3),
    }
    arrays = open_source(_save(tmp_path / "x.pth", state)).arrays
    np.testing.assert_array_equal(arrays["strided"], state["strided"].numpy())
    types = {key: array.dtype for key, array in arrays.items()}
    assert (types["half"], types["double"], types["brain"]) == (np.float16, np.float64, np.float32)
    assert arrays["brain"].tolist() == [1.5, 1.5]
    assert nonfinite({"x": np.array([1.0, np.nan]), "y": np.ones(3)}) == ["x"]
    large = np.ones((3000, 2000), np.float32)
    large[2999, 1999] = np.inf
    assert nonfinite({"large": large}) == ["large"]


class _Hostile:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_is_not_run(tmp_path, legacy):
    proof = tmp_path / "proof"
    path = _save(tmp_path / "x.pth", {"a": _Hostile(proof)}, legacy)
    with pytest.raises(InputError, match="run code") as caught:
        open_source(path)
    assert not proof.exists()
    assert "\n" not in str(caught.value)
    plain = tmp_path / "y.pickle"
    plain.write_bytes(pickle.dumps(_Hostile(proof), protocol=2))
    with pytest.raises(InputError):
        open_source(plain)
    assert not proof.exists()


def test_a_whole_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="state_dict"):
        open_source(_save(tmp_path / "x.pth", torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 1}, "no tensors under its 1 keys"),
        ({"a": torch.eye(2).to_sparse()}, "sparse"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "complex"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*[Ss]parse.*")
def test_no_state_dict(tmp_path, value, message):
    with pytest.raises(InputError, match=message):
        open_source(_save(tmp_path / "x.pth", value))


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_files(tmp_path, legacy):
    data = _save(tmp_path / "x.pth", STATE, legacy).read_bytes()
    path = tmp_path / "y.pth"
    for length in [*range(3, len(data) - 1, max(1, len(data) // 40)), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError) as caught:
            open_source(path)
        assert "\n" not in str(caught.value), length


def test_changed_bytes_never_crash(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "y.pth"
    for legacy in (False, True):
        data = np.frombuffer(_save(tmp_path / "x.pth", STATE, legacy).read_bytes(), np.uint8)
        for _ in range(60):
            changed = data.copy()
            changed[rng.integers(0, 200, 3)] = rng.integers(0, 256, 3)
            path.write_bytes(changed.tobytes())
            with contextlib.suppress(InputError):
                open_source(path)


def test_another_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match="archive without a file of weights"):
        open_source(tmp_path / "x.pth")


def test_without_torch_the_message_says_so(tmp_path, monkeypatch):
    path = _save(tmp_path / "x.pth", STATE)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'prernn-jax\[torch\]'"):
        open_source(path)


def test_a_container_that_is_held_many_times_is_looked_into_once(tmp_path):
    nested: object = STATE
    for _ in range(5):
        nested = [nested] * 40  # 40^5 places
    source = open_source(_save(tmp_path / "x.pth", {"many": nested, "a.weight": torch.ones(2)}))
    assert len(source.arrays) == 3
