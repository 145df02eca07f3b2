"""A pickle that would run code, in the place of every file that is read: nothing is run.

The doors of the port are in tests/weights_port/test_port_hostile.py.
"""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

import prernn_jax as pj
from prernn_jax.data.action import hmdb51, ucf101
from prernn_jax.data.face.records import read_boxes
from prernn_jax.data.face.vw300 import read_annotations, read_pts
from prernn_jax.data.gesture import nvgesture
from prernn_jax.data.prepared.record_file import RecordFile
from prernn_jax.data.prepared.sources import read_index
from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained, read_metadata
from train.engine.log import MetricsLog
from train.finished import open_run, read_settings
from train.fuse import fused_top1
from train.run.folder import differences
from train.run.scores import read_scores


class _Hostile:
    """Unpickled, it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def _npz(bad):
    """Score files are npz files; numpy keeps an array of objects as a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("video", "scores", "labels", "classes", "data", "split", "set"):
            inner = io.BytesIO()
            np.save(inner, np.array([bad], object), allow_pickle=True)
            archive.writestr(f"{name}.npy", inner.getvalue())
    return out.getvalue()


FORMS = {
    "protocol 0": lambda bad: pickle.dumps(bad, 0),
    "protocol 5": lambda bad: pickle.dumps({"a": bad}, 5),
    "npz": _npz,
    "behind a length": lambda bad: (40).to_bytes(8, "little") + pickle.dumps(bad, 2),
}


def _log(folder):
    log = MetricsLog(folder)
    log.read("train")
    log.close()


SPLITS = "testTrainMulti_7030_splits"
DOORS = {
    "load": ("m", lambda folder: pj.load(folder / "m")),
    "load_pretrained": ("m", lambda folder: load_pretrained(folder / "m")),
    "read_metadata": ("m", lambda folder: read_metadata(folder / "m")),
    "scores": ("scores-test.npz", lambda folder: read_scores(folder, "test")),
    "fuse": ("scores-test.npz", lambda folder: fused_top1([folder, folder], [1, 1])),
    "records": ("r", lambda folder: RecordFile(folder / "r")),
    "settings": ("config.json", lambda folder: read_settings(folder / "config.json")),
    "--resume": ("config.json", lambda folder: differences(folder, {})),
    "finished run": ("config.json", lambda folder: open_run(folder)),
    "metrics": ("metrics.jsonl", _log),
    "sources": ("sources.json", read_index),
    "boxes": ("b.json", lambda folder: read_boxes(folder / "b.json")),
    "pts": ("1.pts", lambda folder: read_pts(folder / "1.pts")),
    "landmarks": ("1.pts", read_annotations),
    "ucf101": ("ucfTrainTestlist/classInd.txt", lambda folder: ucf101.read_listing(folder, 1)),
    "hmdb51": (
        f"{SPLITS}/a_test_split1.txt", lambda folder: hmdb51.read_listing(folder, 1),
    ),
    "nvgesture": (nvgesture.LISTS[0], lambda folder: nvgesture.read_listing(folder, "color")),
}  # fmt: skip
FOLDERS = (
    "UCF-101",
    "hmdb51_org/a",
    "Video_data",
    "ucfTrainTestlist",
    "testTrainMulti_7030_splits",
)
FORGIVING = ("metrics", "sources")  # what is no line of theirs is dropped


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("door", DOORS)
def test_nothing_in_a_file_is_run(tmp_path, door, form):
    proof, (name, read) = tmp_path / "proof", DOORS[door]
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    for other in ("model.safetensors", "summary.json"):
        (tmp_path / other).write_bytes(FORMS[form](_Hostile(proof)))
    (tmp_path / name).write_bytes(FORMS[form](_Hostile(proof)))
    if door in FORGIVING:
        read(tmp_path)
    else:
        with pytest.raises(InputError) as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
    assert not proof.exists()
