"""Readers of lists, landmarks, boxes and notes beside prepared data take any bytes.

They return a value or raise an InputError of one line; nothing else, and no silent half.
"""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prernn_jax.data.action import hmdb51, ucf101
from prernn_jax.data.face.records import read_boxes
from prernn_jax.data.face.vw300 import read_annotations, read_pts
from prernn_jax.data.gesture import nvgesture
from prernn_jax.data.media.listing import frame_number, numbered_files
from prernn_jax.data.own.faces import read_face_rows
from prernn_jax.data.own.landmark_file import read_landmarks
from prernn_jax.data.own.rows import read_rows
from prernn_jax.data.prepared.folder import read_facts
from prernn_jax.data.prepared.sources import read_index
from prernn_jax.errors import InputError

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MANY = settings(QUICK, max_examples=10_000)

DIGITS = st.sampled_from(["0", "1", "2", "-1", "1_0", "9" * 5000, "1e400", "nan", "inf", "٣", "³"])
WORDS = st.one_of(
    DIGITS,
    st.sampled_from(["a.avi", "A/b.avi", "a/../b", "..", ".", "/etc/passwd", "\\", ":", "{", "}"]),
    st.text(max_size=8),
)
TEXTS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=5).map("\n".join)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
BYTES = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda text, how: text.encode(how, "replace"), TEXTS, ENCODINGS),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
DEEP, LONG = b"[" * 100_000, b'{"1": {"1": [0, 0, ' + b"9" * 5000 + b", 1]}}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Official layouts whose lists are to be overwritten."""
    folder = tmp_path_factory.mktemp("any")
    for name in ("UCF-101/A", "ucfTrainTestlist", "hmdb51_org/a", hmdb_lists(), "Video_data/x"):
        (folder / name).mkdir(parents=True)
    (folder / "UCF-101/A/b.avi").touch()
    return folder


def hmdb_lists() -> str:
    return "testTrainMulti_7030_splits"


def refused_or(read):
    """Calls a reader; what it refuses is one line."""
    message = ""
    try:
        return read()
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1000
    return None


def lists_of_actions(place: Path, data: bytes) -> None:
    ucf, hmdb = place / "ucfTrainTestlist", place / hmdb_lists()
    (ucf / "classInd.txt").write_bytes(data)
    refused_or(lambda: ucf101.read_classes(place))
    (ucf / "classInd.txt").write_text("1 A\n")
    (ucf / "trainlist01.txt").write_bytes(data)
    (ucf / "testlist01.txt").write_text("A/c.avi\n")
    (hmdb / "a_test_split1.txt").write_bytes(data)
    for read in (ucf101.read_listing, hmdb51.read_listing):
        found = refused_or(lambda read=read: read(place, 1))
        names = [item.name for item in itertools.chain(*found.parts.values())] if found else []
        assert len(set(names)) == len(names)
        assert not any(".." in Path(name).parts or Path(name).is_absolute() for name in names)


def gestures(place: Path, data: bytes) -> None:
    lists = str(place / "train.lst"), str(place / "test.lst")
    Path(lists[0]).write_bytes(data)
    Path(lists[1]).write_text("path:./Video_data/y color:c:0:80 label:1\n")
    found = refused_or(lambda: nvgesture.read_listing(place, "color", lists))
    for item in found.parts["train"] if found else []:
        assert 0 <= item.start < item.stop < 10**9
        assert 0 <= item.label < 25
        assert item.video.resolve().is_relative_to(place.resolve())


def landmarks(place: Path, data: bytes) -> None:
    (place / "000001.pts").write_bytes(data)
    points = refused_or(lambda: read_pts(place / "000001.pts", 2))
    assert points is None or (points.shape == (2, 2) and np.isfinite(points).all())
    refused_or(lambda: read_annotations(place))


def own(place: Path, data: bytes) -> None:
    """A person's own lists; the names that they give stay below the folder of prepared files."""
    (place / "own").mkdir(exist_ok=True)
    for name, read in (("a.csv", read_rows), ("a.csv", read_face_rows), ("a.json", read_face_rows)):
        (place / "own" / name).write_bytes(data)
        for row in refused_or(lambda read=read, name=name: read(place / "own" / name)) or ():
            assert ".." not in Path(row.name).parts
            assert not Path(row.name).is_absolute()
    (place / "own/1.json").write_bytes(data)
    points = refused_or(lambda: read_landmarks(place / "own/1.json"))
    assert points is None or (points.shape[1:] == (2,) and np.isfinite(points).all())


def notes(place: Path, data: bytes) -> None:
    (place / "boxes.json").write_bytes(data)
    for video, boxes in (refused_or(lambda: read_boxes(place / "boxes.json")) or {}).items():
        assert isinstance(video, str)
        assert all(np.isfinite(box).all() and box.shape == (4,) for box in boxes.values())
    (place / "recipe.json").write_bytes(data)
    refused_or(lambda: read_facts(place))
    (place / "sources.json").write_bytes(data)
    assert isinstance(read_index(place), dict)


def fields(place: Path, data: bytes) -> bytes:
    return b"path:./Video_data/x color:" + data.replace(b"\n", b" ")


READERS = {
    "lists": lambda place, data: lists_of_actions(place, data),
    "gestures": lambda place, data: (
        gestures(place, data),
        gestures(place, fields(place, data)),
    ),
    "landmarks": lambda place, data: (
        landmarks(place, data),
        landmarks(place, b"version: 1\nn_points: 2\n{\n" + data + b"\n}\n"),
    ),
    "notes": lambda place, data: notes(place, data),
    "own": lambda place, data: (
        own(place, data),
        own(place, b"path,label,split\n" + data.replace(b" ", b",")),
        own(place, b"path,x,y\n" + data.replace(b" ", b",")),
        own(
            place,
            b'{"images": [{"id": 1, "file_name": ' + data + b"}, "
            b'{"id": 2, "file_name": "a.png", "video_id": ' + data + b'}], "annotations": '
            b'[{"image_id": 1, "keypoints": [1, 2, 2]}, {"image_id": 2, "keypoints": '
            + data
            + b"}]}",
        ),
    ),
}


@pytest.mark.parametrize("reader", READERS)
@QUICK
@given(data=st.one_of(BYTES, JSON))
@example(data=DEEP)
@example(data=LONG)
@example(data=b"A/b.avi 1\nA/B.avi 1\n")
@example(data=b'"\\n"')
@example(data=b"path:. color:.:0:80 label:1\npath:./Video_data/../.. color:c:0:80 label:1")
def test_any_bytes(place, reader, data):
    READERS[reader](place, data)


@pytest.mark.nightly
@pytest.mark.parametrize("reader", READERS)
@MANY
@given(data=st.one_of(BYTES, JSON))
def test_ten_thousand_inputs(place, reader, data):
    READERS[reader](place, data)


@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=30)
)
@settings(deadline=None)
@example(name="9" * 200)
@example(name="frame٣")
def test_any_name_of_a_picture(name):
    number = refused_or(lambda: frame_number(Path(f"x{name}.jpg")))
    digits = re.search("[0-9]*$", Path(f"x{name}.jpg").stem)
    assert number is None or number == int(digits.group())


@given(numbers=st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=6, unique=True))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_of_any_width_are_found_in_order(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("numbers")
    for k, number in enumerate(numbers):
        (folder / f"{'frame' * (k % 2)}{number:0{k + 1}d}.{'JPG' if k % 3 else 'jpg'}").touch()
        (folder / f"._{number}.jpg").touch()
    found = refused_or(lambda: numbered_files(folder, (".jpg",)))
    assert list(found) == sorted(numbers)
