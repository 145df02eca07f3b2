"""Remote places by fsspec's file systems in memory and on disk: followed both ways, or refused."""

import os
from pathlib import Path

import fsspec
import numpy as np
import pytest
from command_line import status_of
from small_videos import numbered_pictures, write_video

from prernn_jax import remote
from prernn_jax.data.check import main as check
from prernn_jax.data.prepare import main as prepare
from prernn_jax.errors import InputError
from prernn_jax.files import backbones, safetensors


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An empty file system in memory; the cache lies in a folder of the test."""
    monkeypatch.setenv("PRERNN_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_mirrors", {})
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def on_another_machine(monkeypatch, folder):
    monkeypatch.setenv("PRERNN_DATA_DIR", str(folder))
    monkeypatch.setattr(remote, "_mirrors", {})


def test_a_file_is_copied_once_and_again_when_it_has_changed(bucket, capsys):
    bucket.pipe_file("/b/w.bin", b"one")
    path = remote.fetch("memory://b/w.bin")
    assert (path.name, path.read_bytes()) == ("w.bin", b"one")
    assert "copying memory://b/w.bin: 1 files" in capsys.readouterr().err
    assert remote.fetch("memory://b/w.bin") == path
    assert capsys.readouterr().err == ""
    bucket.pipe_file("/b/w.bin", b"two")  # of the same size
    assert remote.fetch("memory://b/w.bin").read_bytes() == b"two"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert remote.shown(path) == "memory://b/w.bin"


def test_a_folder_is_followed_both_ways(bucket, tmp_path, monkeypatch):
    runs = remote.mirror("memory://b/runs")
    assert not remote.refresh(runs / "one")
    (runs / "one" / "3").mkdir(parents=True)
    (runs / "one" / "3" / "array").write_bytes(b"old")
    (runs / "one" / ".lock").write_bytes(b"")
    remote.publish(runs / "one")
    (runs / "one" / "4").mkdir()
    (runs / "one" / "4" / "array").write_bytes(b"new")
    (runs / "one" / "3" / "array").unlink()
    remote.publish(runs)
    assert list(bucket.find("/b")) == ["/b/runs/one/4/array"]

    on_another_machine(monkeypatch, tmp_path / "other")
    other = remote.mirror("memory://b/runs")
    assert other != runs
    assert remote.refresh(other / "one")
    assert (other / "one" / "4" / "array").read_bytes() == b"new"
    assert remote.shown(other / "one") == "memory://b/runs/one"
    (other / "one" / "4" / "array").write_bytes(b"newer")  # not published yet, as after a kill
    remote.refresh(other / "one")
    assert (other / "one" / "4" / "array").read_bytes() == b"newer"
    bucket.rm("/b/runs/one/4/array")
    assert not remote.refresh(other)
    assert not (other / "one" / "4" / "array").exists()


def test_files_arrive_in_the_order_in_which_they_were_written(bucket, monkeypatch):
    """A digest is written behind its checkpoint, so it must not be there before it."""
    runs = remote.mirror("memory://b/runs")
    runs.mkdir()
    for second, name in enumerate(["z", "a", "m"]):
        (runs / name).write_bytes(b"")
        os.utime(runs / name, (second, second))
    sent, put = [], type(bucket).put_file
    monkeypatch.setattr(
        type(bucket), "put_file",
        lambda self, here, there, **more: sent.append(Path(there).name) or put(self, here, there),
    )  # fmt: skip
    remote.publish(runs)
    assert sent == ["z", "a", "m"]


def test_weights_are_loaded_from_a_remote_place(bucket, tmp_path):
    safetensors.write(tmp_path / "w", {"a": np.arange(3.0)}, {"architecture": "vgg16"})
    bucket.put_file(str(tmp_path / "w"), "/b/w.safetensors")
    for given in ("memory://b/w.safetensors", Path("memory://b/w.safetensors")):  # a Path mangles
        arrays, _ = backbones.read_parameters(given)
        np.testing.assert_array_equal(arrays["a"], np.arange(3.0))


def test_prepared_data_may_lie_at_a_remote_place(bucket, tmp_path, monkeypatch, capsys):
    source = tmp_path / "ucf101"
    (source / "ucfTrainTestlist").mkdir(parents=True)
    texts = {"classInd": "1 A\n", "trainlist01": "A/a.avi\n", "testlist01": "A/b.avi\n"}
    for name, text in texts.items():
        (source / f"ucfTrainTestlist/{name}.txt").write_text(text)
    for name in "ab":
        write_video(source / f"UCF-101/A/{name}.avi", numbered_pictures(3))
    address = f"file://{tmp_path / 'bucket' / 'prepared'}"
    flags = ["ucf101", "--workers=1", "--flow=none", "--short_side=48", f"--cache_dir={address}"]
    assert status_of(prepare, [*flags, f"--source=file://{source}"]) == 0
    records = [path.name for path in (tmp_path / "bucket").rglob("*.array_record")]
    assert sorted(records) == ["a.array_record", "b.array_record"]
    on_another_machine(monkeypatch, tmp_path / "other")
    monkeypatch.setattr("prernn_jax.data.prepared.clip_files.Recipe.write", None)
    capsys.readouterr()
    assert status_of(prepare, [*flags, f"--source=file://{source}"]) == 0
    assert "copying file://" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://b/none", "error: there is nothing at memory://b/none"),
        ("https://host/videos", "error: https://host/videos: expected a local path, or a file"),
        ("memory://", "error: memory://: expected a local path"),
        ("memory://b/..", "error: memory://b/..: expected a local path"),
        (
            "s3://bucket/videos",
            "error: s3://bucket/videos needs the package s3fs: pip install s3fs",
        ),
    ],
)
def test_a_place_that_cannot_be_read_is_one_line(bucket, capsys, address, message):
    assert status_of(check, [address]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_a_place_that_fails_is_one_line(bucket, monkeypatch):
    def fails(self, *_, **__):
        raise RuntimeError("no credentials\nmore")

    monkeypatch.setattr(type(bucket), "isfile", fails)
    with pytest.raises(InputError, match=r"memory://b/w cannot be reached \(RuntimeError: no cred"):
        remote.fetch("memory://b/w")


def test_what_is_only_written_is_refused(bucket, capsys):
    assert status_of(check, ["videos", "--out=gs://bucket/report.csv"]) == 2
    assert "--out=gs://bucket/report.csv: this is written on a local disk only" in (
        capsys.readouterr().err
    )
    assert not Path("gs:").exists()


def test_names_that_lead_out_of_their_folder_are_refused(bucket, tmp_path):
    bucket.pipe_file("/b/runs/x", b"x")
    bucket.store["/b/runs/../../x"] = bucket.store["/b/runs/x"]
    with pytest.raises(InputError, match="leads out of its folder"):
        remote.fetch("memory://b/runs")
