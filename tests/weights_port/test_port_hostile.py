"""A pickle that would run code, through every door of the port: nothing is run."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from prernn_jax.errors import InputError
from weights_port.convert import convert
from weights_port.export import export
from weights_port.formats.mean_volume import read_mean_volume
from weights_port.formats.open import open_source
from weights_port.torch_sequence import load
from weights_port.verify import verify_arrays


class _Hostile:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def _tar(data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo("x.pth")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _zip(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def _torch(value, **how):
    out = io.BytesIO()
    torch.save(value, out, **how)
    return out.getvalue()


def _npy(value):
    out = io.BytesIO()
    np.save(out, np.array([value], object), allow_pickle=True)
    return out.getvalue()


FORMS = {
    "torch zip": lambda bad: _torch({"a": torch.ones(2), "b": bad}),
    "torch legacy": lambda bad: _torch({"b": bad}, _use_new_zipfile_serialization=False),
    "behind a numpy scalar": lambda bad: _torch({"best": np.float64(1), "b": bad}),
    "plain, protocol 0": lambda bad: pickle.dumps({"a": bad}, 0),
    "plain, protocol 2": lambda bad: pickle.dumps(bad, 2),
    "plain, protocol 5": lambda bad: pickle.dumps([np.ones(2), bad], 5),
    "npy": _npy,
    "npz": lambda bad: _zip(a__npy=_npy(bad)),
    "tar": lambda bad: _tar(_torch({"b": bad})),
    "zip": lambda bad: _zip(x__pth=_torch({"b": bad})),
}
DOORS = {
    "open_source": open_source,
    "convert": lambda path: convert(path, "vgg16", path.with_name("out")),
    "verify": lambda path: verify_arrays(path, path),
    "export": lambda path: export(path, path.with_name("out.pth")),
    "read_mean_volume": read_mean_volume,
    "torch_sequence.load": load,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_run(tmp_path, form, door):
    proof = tmp_path / "proof"
    path = tmp_path / ("x.npy" if form == "npy" else "x.pth")
    path.write_bytes(FORMS[form](_Hostile(proof)))
    with pytest.raises(InputError) as caught:
        DOORS[door](path)
    assert not proof.exists()
    assert "\n" not in str(caught.value)
    assert not path.with_name("out").exists()
    assert not path.with_name("out.pth").exists()
