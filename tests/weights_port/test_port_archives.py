"""numpy's .npz, and a checkpoint inside a tar or zip file."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import other_formats as made
import pytest
import reference_files as files
import torch

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port.__main__ import main
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.formats import archive
from weights_port.formats.open import open_source

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def _pth(value=STATE, legacy=False):
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def _pack(path, members):
    """Writes an archive, the kind of which the name tells."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in members.items():
                out.writestr(name, data)
        return path
    mode = {".tar": "w:", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    with tarfile.open(path, mode[path.suffix]) as out:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return path


ENDINGS = ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "zip"]
BESIDE = {"model/README.md": b"hello", "model/._x.pth": b"\0\5\x16\7", ".DS_Store": b"x"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("legacy", [False, True])
def test_one_checkpoint_in_an_archive(tmp_path, ending, legacy):
    path = _pack(tmp_path / f"x.{ending}", BESIDE | {"model/x.pth": _pth(legacy=legacy)})
    source = open_source(path)
    assert source.path == path
    assert source.format.endswith("in a zip file" if ending == "zip" else "in a tar file")
    assert source.notes[0] == "read from model/x.pth in the archive"
    assert list(source.arrays) == list(STATE)
    for key, tensor in STATE.items():
        np.testing.assert_array_equal(source.arrays[key], tensor.numpy())
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_every_other_format_in_an_archive(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made.write_keras(tmp_path / "y.h5", 2)
    arrays = {"k": made.KERNEL}
    np.savez(tmp_path / "y.npz", **arrays)
    safetensors.write_safely(tmp_path / "y.safetensors", arrays, {}, overwrite=True)
    layers = {"k": ("Convolution", [made.KERNEL])}
    contents = {
        "x.onnx": made.small_onnx(), "x.caffemodel": files.caffemodel(layers),
        **{f"x.{e}": (tmp_path / f"y.{e}").read_bytes() for e in ("h5", "npz", "safetensors")},
    }  # fmt: skip
    for name, data in contents.items():
        source = open_source(_pack(tmp_path / "x.tar.gz", {name: data}))
        assert any(np.array_equal(a, made.KERNEL) for a in source.arrays.values()) or name == "x.h5"


def test_a_conversion_from_an_archive(tmp_path):
    state = files.resnet50().state_dict()
    (tmp_path / "x.pth").write_bytes(_pth(state))
    _pack(tmp_path / "x.tgz", {"x.pth": _pth(state)})
    for name in ("x.pth", "x.tgz"):
        convert(tmp_path / name, "resnet50", tmp_path / f"{name}.out", wishes=Wishes("torchvision"))
    a, b = (safetensors.read(tmp_path / f"{name}.out")[0] for name in ("x.pth", "x.tgz"))
    assert all(a[key].tobytes() == b[key].tobytes() for key in a)


@pytest.mark.parametrize("ending", ["tar", "zip"])
@pytest.mark.parametrize("name", ["../../evil.pth", "/tmp/evil.pth", "a\nb.pth", "..\\evil.pth"])
def test_the_names_in_an_archive_are_no_paths(tmp_path, ending, name, monkeypatch):
    inner = tmp_path / "deep" / "folder"
    inner.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(inner))
    source = open_source(_pack(inner / f"x.{ending}", {name: _pth()}))
    assert list(source.arrays) == list(STATE)
    assert "\n" not in source.notes[0]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [f"x.{ending}"]


def test_links_in_a_tar_are_not_followed(tmp_path):
    (tmp_path / "secret.pth").write_bytes(_pth())
    with tarfile.open(tmp_path / "x.tar", "w") as out:
        for kind, name in ((tarfile.SYMTYPE, "a.pth"), (tarfile.LNKTYPE, "b.pth")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, str(tmp_path / "secret.pth")
            out.addfile(entry)
    with pytest.raises(InputError, match="without a file of weights"):
        open_source(tmp_path / "x.tar")


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_several_and_none(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    two = {"a/first.pth": _pth(), "a/second.caffemodel": b"x", "a/third": _pth()}
    listed = r"a/first\.pth, a/second\.caffemodel, a/third\. .*--member a/first\.pth"
    with pytest.raises(InputError, match=listed):
        open_source(_pack(path, two))
    with pytest.raises(InputError, match=r"without a file of weights \(notes\.txt\)"):
        open_source(_pack(path, {"notes.txt": b"hello"}))
    inner = _pack(tmp_path / "y.tar.gz", {"x.pth": _pth()}).read_bytes()
    with pytest.raises(InputError, match="archive in an archive"):
        open_source(_pack(path, {"inner.tar": inner}))
    with pytest.raises(InputError, match=r"member model\.pth,.*cannot be read"):
        open_source(_pack(path, {"model.pth": _pth()[:-40]}))
    many = {f"{number}.txt": b"x" for number in range(30)}
    with pytest.raises(InputError, match="and 18 more"):
        open_source(_pack(path, many))


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_one_of_several_is_named(tmp_path, ending, capsys):
    one, two = files.vgg16().state_dict(), files.vgg16(num_outputs=3).state_dict()
    members = {"notes.txt": b"hello"}
    for name, state in (("epoch1.pth", one), ("epochs/last one.pth", two)):
        torch.save(state, tmp_path / "member")
        members[name] = (tmp_path / "member").read_bytes()
    path = _pack(tmp_path / f"x.{ending}", members)
    command = ["convert", str(path), "--arch", "vgg16", "--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match=r"several files.*epoch1\.pth, epochs/last one\.pth"):
        main(command)
    named = [*command, "--layout", "torchvision", "--member", "epochs/last one.pth"]
    assert main(named) == 0
    arrays = safetensors.read(tmp_path / "out")[0]
    np.testing.assert_array_equal(arrays["fc8.bias"], two["classifier.6.bias"])
    verify = ["verify", str(tmp_path / "out"), "--against", str(path), "--arrays_only"]
    assert main(verify) == 0  # the converted file says which one it was
    assert main([*verify, "--member", "epoch1.pth"]) == 1
    assert main(["inspect", str(path), "--member", "epoch1.pth"]) == 0
    assert "read from epoch1.pth in the archive" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"no file 'last'; --member takes one of: .*epoch1\.pth"):
        open_source(path, member="last")
    with pytest.raises(InputError, match=r"notes\.txt.*"):
        open_source(path, member="notes.txt")
    torch.save(one, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"torch zip, no archive: leave out --member epoch1"):
        open_source(tmp_path / "x.pth", member="epoch1")


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_what_grows_beyond_all_measure(tmp_path, ending, monkeypatch):
    path = _pack(tmp_path / f"x.{ending}", {"x.pth": b"\x80\2" + b"\0" * 2**20})
    monkeypatch.setattr(archive, "most_unpacked", lambda path: 2**18)
    with pytest.raises(InputError, match="grows beyond 262,144 bytes"):
        open_source(path)


def test_damaged_archives(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(_pth(legacy=True)))
    with pytest.raises(InputError, match=r"no tar file.*gunzip"):
        open_source(tmp_path / "x.gz")
    for ending in ENDINGS:
        path = _pack(tmp_path / f"x.{ending}", BESIDE | {"x.pth": _pth()})
        data = path.read_bytes()
        for length in range(300, len(data) - 1, max(1, len(data) // 7)):
            path.write_bytes(data[:length])
            if ending == "tar" and not any(data[length:]):
                continue  # only the filling at the end was cut
            with pytest.raises(InputError) as caught:
                open_source(path)
            assert "\n" not in str(caught.value)


# numpy


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {"c/kernel": made.KERNEL, "turned": made.MATRIX.T, "half": made.BIAS.astype("f2")}
    save(tmp_path / "x.npz", **arrays, number=np.float64(3))
    source = open_source(tmp_path / "x.npz")
    assert (source.format, source.family) == ("numpy .npz", "torch")
    assert list(source.arrays) == [*arrays, "number"]
    for key, array in arrays.items():
        assert source.arrays[key].dtype == array.dtype
        np.testing.assert_array_equal(source.arrays[key], array)
    assert source.arrays["number"].shape == ()


def test_whose_axes_the_kernels_have(tmp_path):
    np.savez(tmp_path / "x.npz", conv1_1_W=made.KERNEL.transpose(2, 3, 1, 0), b=made.BIAS)
    source = open_source(tmp_path / "x.npz")
    assert source.family == "keras"
    assert "(H, W, I, O)" in source.notes[0]
    np.savez(tmp_path / "x.npz", **{"fc/kernel": made.MATRIX})
    assert open_source(tmp_path / "x.npz").family == "keras"
    np.savez(tmp_path / "x.npz", **{"fc.weight": made.MATRIX})
    assert open_source(tmp_path / "x.npz").family == "torch"


def test_a_conversion_from_npz(tmp_path):
    network = files.vgg16()
    torch.save(network.state_dict(), tmp_path / "x.pth")
    np.savez(tmp_path / "x.npz", **files.arrays_of(network))
    for name in ("x.pth", "x.npz"):
        convert(tmp_path / name, "vgg16", tmp_path / f"{name}.out", wishes=Wishes("torchvision"))
    a, b = (safetensors.read(tmp_path / f"{name}.out")[0] for name in ("x.pth", "x.npz"))
    assert all(a[key].tobytes() == b[key].tobytes() for key in a)


def _npy(header, data=b"1234" * 4):
    header = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_npy(HEADER % ("<f4", "(5,)")), "says shape"),
        (_npy(HEADER % ("<f4", "(1000000, 1000000, 1000000)")), "says shape"),
        (_npy(HEADER % ("<f4", "(-4,)")), "says shape"),
        (_npy(HEADER % ("|O", "(2,)")), "pickled objects"),
        (_npy(HEADER % ("<U4", "(1,)")), "pickled objects, texts"),
        (_npy("__import__('os').system('true')"), "cannot be read"),
        (_npy("(" * 5000), "cannot be read"),
        (b"\x93NUMPY\x09\0", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bad_npz(tmp_path, data, message, how):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", how) as out:
        out.writestr("a.npy", data)
    with pytest.raises(InputError, match=message) as caught:
        open_source(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)
