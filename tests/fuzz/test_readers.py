"""Every reader on damaged files: the project's error in one line, or what was written; no hang.

The formats of other frameworks are in tests/weights_port/test_port_mutations.py.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import damage
import hypothesis
import numpy as np
import pytest
from random_model import random_model
from small_faces import write_coco, write_csv, write_take

import prernn_jax as pj
from prernn_jax.data.action import hmdb51, ucf101
from prernn_jax.data.face.records import read_boxes
from prernn_jax.data.face.vw300 import read_pts
from prernn_jax.data.gesture import nvgesture
from prernn_jax.data.own.faces import read_face_rows
from prernn_jax.data.own.landmark_file import read_landmarks
from prernn_jax.data.prepared.record_file import RecordFile, closing_record, record_writer
from prernn_jax.data.prepared.sources import read_index
from prernn_jax.files import backbones, safetensors
from prernn_jax.preprocess import Preprocessing
from train.engine.log import MetricsLog
from train.face.config import FaceConfig
from train.finished import read_settings
from train.run.config import settings_of
from train.run.folder import differences
from train.run.scores import Scores, read_scores, write_scores

VGG = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}


@dataclass(frozen=True)
class Reader:
    """How a kind of file is made and read.

    Attributes:
        file: Its name in the folder.
        make: Folder -> writes what is sound.
        read: Folder -> what is in the file, comparable.
        checked: Whether a checksum lets no other contents pass.
    """

    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    checked: bool = False


def _model(folder: Path) -> None:
    network = random_model(lambda: pj.vgg16(**VGG))
    network.preprocess = Preprocessing(mean=(1.0, 2.0, 3.0))
    pj.save(folder / "m", random_model(lambda: pj.make_recurrent(network, "fc7")))


def _arrays(folder: Path) -> None:
    safetensors.write(folder / "a", {"a": np.arange(6.0), "b": np.ones((2, 3), np.int8)}, {})


def _loaded(folder: Path) -> Any:
    model = pj.load(folder / "m")
    return {k: np.asarray(v).tobytes() for k, v in backbones.flat_parameters(model).items()}


def _scores(folder: Path) -> None:
    words = np.array(["one", "two"])
    rows = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    write_scores(Scores(folder, words, rows, np.array([0, 1]), words, "data", "1", "test"))


def _scores_of(folder: Path) -> Any:
    found = read_scores(folder, "test")
    fields = (found.video, found.scores, found.labels, found.classes)
    return [field.tolist() for field in fields], found.data, found.split


def _records(folder: Path) -> None:
    with record_writer(folder / "r.array_record") as write:
        for number in range(4):
            write(bytes([number]) * 40)
        write(closing_record({"frames": 4, "flow": "none"}))


def _records_of(folder: Path) -> Any:
    file = RecordFile(folder / "r.array_record")
    return [bytes(data) for data in file.pictures(0, 1, 4)], file.facts


def _text(name: str, text: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    return make


def _ucf101(folder: Path) -> None:
    for name, text in (("classInd", "1 A\n2 B\n"), ("testlist01", "B/v_B_g02_c01.avi\n")):
        _text(f"ucfTrainTestlist/{name}.txt", text)(folder)
    for name in "AB":
        (folder / "UCF-101" / name).mkdir(parents=True, exist_ok=True)
    _text("ucfTrainTestlist/trainlist01.txt", "A/v_A_g01_c01.avi 1\nB/v_B_g01_c01.avi 2\n")(folder)


def _hmdb51(folder: Path) -> None:
    for name in "ab":
        (folder / "hmdb51_org" / name).mkdir(parents=True, exist_ok=True)
        lists = "testTrainMulti_7030_splits"
        _text(f"{lists}/{name}_test_split1.txt", "one.avi 1 \ntwo.avi 2 \nthree.avi 0 \n")(folder)


def _nvgesture(folder: Path) -> None:
    (folder / "Video_data").mkdir(exist_ok=True)
    for number, name in enumerate(nvgesture.LISTS):
        line = f"path:./Video_data/class_01/subject{number}_r0 depth:sk_depth:146:226 "
        _text(name, f"{line}color:sk_color:146:226 label:1\n")(folder)


def _in_folder(listing: Any, folder: Path) -> None:
    """No video that a list names lies outside of the folder."""
    for items in listing.parts.values():
        for item in items:
            assert item.video.resolve().is_relative_to(folder.resolve()), item
            assert ".." not in Path(item.name).parts
            assert not Path(item.name).is_absolute()


def _metrics(folder: Path) -> None:
    lines = [{"step": step, "kind": "train", "loss": 0.5} for step in (2, 4)]
    _text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))(folder)


def _metrics_of(folder: Path) -> None:
    log = MetricsLog(folder, 4)
    log.write(6, "train", {"loss": 1.0})
    assert log.read("train")[-1]["step"] == 6
    log.close()


def _pts(folder: Path) -> None:
    points = "\n".join(f"{x}.5 {x + 1}.25" for x in range(68))
    _text("p.pts", f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")(folder)


def _pts_of(folder: Path) -> None:
    found = read_pts(folder / "p.pts")
    assert found.shape == (68, 2)
    assert np.isfinite(found).all()


def _own(folder: Path) -> None:
    takes = {name: write_take(folder / name, frames=2) for name in "ab"}
    write_csv(folder / "own.csv", takes)
    write_coco(folder / "own.json", takes)


def _own_of(table: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        for row in read_face_rows(folder / table):
            assert ".." not in Path(row.name).parts
            assert not Path(row.name).is_absolute()
            assert all(np.isfinite(points).all() for points in row.given.values())

    return read


def _menpo_of(folder: Path) -> None:
    found = read_landmarks(folder / "m.json")
    assert found.shape[1:] == (2,)
    assert np.isfinite(found).all()


READERS = {
    "model": Reader("m", _model, _loaded, checked=True),
    "safetensors": Reader("a", _arrays, lambda folder: safetensors.read(folder / "a")),
    "scores": Reader("scores-test.npz", _scores, _scores_of, checked=True),
    "records": Reader("r.array_record", _records, _records_of, checked=True),
    "ucf101": Reader(
        "ucfTrainTestlist/trainlist01.txt", _ucf101,
        lambda folder: _in_folder(ucf101.read_listing(folder, 1), folder),
    ),
    "ucf101 classes": Reader(
        "ucfTrainTestlist/classInd.txt", _ucf101,
        lambda folder: _in_folder(ucf101.read_listing(folder, 1), folder),
    ),
    "hmdb51": Reader(
        "testTrainMulti_7030_splits/a_test_split1.txt", _hmdb51,
        lambda folder: _in_folder(hmdb51.read_listing(folder, 1), folder),
    ),
    "nvgesture": Reader(
        nvgesture.LISTS[0], _nvgesture,
        lambda folder: _in_folder(nvgesture.read_listing(folder, "depth"), folder),
    ),
    "pts": Reader("p.pts", _pts, _pts_of),
    "own csv": Reader("own.csv", _own, _own_of("own.csv")),
    "own coco": Reader("own.json", _own, _own_of("own.json")),
    "menpo": Reader(
        "m.json", _text("m.json", '{"version": 2, "landmarks": {"points": [[1.5, 2], [30, 4e1]]}}'),
        _menpo_of,
    ),
    "boxes": Reader(
        "b.json", _text("b.json", '{"001": {"1": [10, 20, 110, 130], "2": [11, 20, 112, 130]}}'),
        lambda folder: read_boxes(folder / "b.json"),
    ),
    "settings": Reader(
        "config.json", _text("config.json", json.dumps(settings_of(FaceConfig()), indent=2)),
        lambda folder: read_settings(folder / "config.json"),
    ),
    "settings on --resume": Reader(
        "config.json", _text("config.json", json.dumps(settings_of(FaceConfig()), indent=2)),
        lambda folder: differences(folder, settings_of(FaceConfig())),
    ),
    "sources": Reader(
        "sources.json", _text("sources.json", '{"a": {"path": "/a", "stat": "1", "content": "2"}}'),
        read_index,
    ),
    "metrics": Reader("metrics.jsonl", _metrics, _metrics_of),
}  # fmt: skip


def _try_all(name: str, folder: Path, count: int) -> dict[str, int]:
    reader = READERS[name]
    reader.make(folder)
    path = folder / reader.file
    good = path.read_bytes()
    expected = reader.read(folder)
    counts = {"refused": 0, "read": 0}

    @damage.examples(count)
    @hypothesis.given(damage.damaged(good))
    def one(data: bytes) -> None:
        path.write_bytes(data)
        found = []
        refused = damage.refused(lambda: found.append(reader.read(folder)))
        counts["refused" if refused else "read"] += 1
        if reader.checked and not refused:
            assert found[0] == expected

    one()
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files(name, tmp_path):
    assert sum(_try_all(name, tmp_path, damage.FEW).values()) >= damage.FEW


@pytest.mark.nightly
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files(name, tmp_path, capsys):
    counts = _try_all(name, tmp_path, damage.MANY)
    with capsys.disabled():
        print(f"\n{name}: {counts}")
