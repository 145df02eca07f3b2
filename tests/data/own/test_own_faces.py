"""Own faces: every form gives the same frames and landmarks; what is wrong is one line."""

import json
import shutil

import numpy as np
import pytest
from moved_face import write_pts
from small_faces import PAIRS, five_points, write_coco, write_csv, write_take, write_takes
from small_videos import write_video

from prernn_jax.data.face.datasets import own_faces
from prernn_jax.data.face.landmarks import FLIP
from prernn_jax.data.face.loader import FaceView, read_faces
from prernn_jax.data.face.metrics import landmark_metrics
from prernn_jax.data.face.point_set import IBUG, point_set
from prernn_jax.data.face.vw300 import read_pts
from prernn_jax.data.own.faces import read_face_rows
from prernn_jax.data.own.landmark_file import read_landmarks
from prernn_jax.data.own.split import divide
from prernn_jax.errors import InputError


@pytest.fixture
def takes(tmp_path):
    return write_takes(tmp_path / "faces")


def records(source, tmp_path, **options):
    data = own_faces(source, tmp_path / "cache", workers=1, **options)
    return data, {r["name"]: r for part in data.splits.values() for r in part}


def in_pixels(record):
    """The landmarks as the preparation moved them, less the first one's place."""
    return record["landmarks"] - record["landmarks"][:, :1]


def test_a_folder_of_pictures(takes, tmp_path):
    data, found = records(tmp_path / "faces", tmp_path)
    assert (data.points.count, data.points.mirrored, data.points.main) == (5, None, "box_diagonal")
    assert sorted(found) == ["ann_take1", "ann_take2", "bob_take1"]
    test = {record["name"].partition("_")[0] for record in data.splits["test"]}
    train = {record["name"].partition("_")[0] for record in data.splits["train"]}
    assert test
    assert not test & train  # nobody is in both
    for name, record in found.items():
        true = takes[name.replace("_", "/")]
        assert len(record["frames"]) == 6
        np.testing.assert_allclose(in_pixels(record), true - true[:, :1], atol=2e-3)
    clip, landmarks, _ = read_faces(data.splits["train"][0], 0, 4, 32, FaceView())
    assert clip.shape == (4, 32, 32, 3)
    assert landmarks.shape == (4, 5, 2)


def test_all_forms_say_the_same(takes, tmp_path):
    folder = tmp_path / "faces"
    write_coco(folder / "marks.json", takes)
    write_csv(folder / "marks.csv", takes)
    films = tmp_path / "films"
    for number, name in enumerate(takes):
        write_video(films / f"{name}.mp4", five_points(6, number)[0])
    write_csv(films / "marks.csv", takes, film=True)
    for name, landmarks in takes.items():
        for number, points in enumerate(landmarks, start=1):
            write_pts(films / name / f"{number:06d}.pts", points)
    rows = {
        "folder": read_face_rows(folder),
        "coco": read_face_rows(folder / "marks.json"),
        "csv": read_face_rows(folder / "marks.csv"),
        "csv of films": read_face_rows(films / "marks.csv"),
        "films": read_face_rows(films),
    }
    for form, found in rows.items():
        assert [row.name for row in found] == ["ann_take1", "ann_take2", "bob_take1"], form
        assert [row.group for row in found] == ["ann", "ann", "bob"], form
        assert {part: [r.name for r in got] for part, got in divide(found, 1).items()} == {
            part: [r.name for r in got] for part, got in divide(rows["folder"], 1).items()
        }
        for row in found:
            true = takes[row.name.replace("_", "/")]
            marks = dict(row.given) or {n: read_landmarks(p) for n, p in row.marks.items()}
            np.testing.assert_allclose(np.stack(list(marks.values())), true, atol=1e-3)
            assert list(marks) == [1, 2, 3, 4, 5, 6], form
    _, found = records(films, tmp_path)
    assert {len(record["frames"]) for record in found.values()} == {6}
    _, again = records(films / "marks.csv", tmp_path)
    for name, record in found.items():
        np.testing.assert_allclose(again[name]["landmarks"], record["landmarks"], atol=2e-3)


def test_the_split_can_be_given_again(takes, tmp_path):
    data, _ = records(tmp_path / "faces", tmp_path)
    (tmp_path / "split.csv").write_text(data.split_table)
    again, _ = records(tmp_path / "split.csv", tmp_path)
    for part in ("train", "test"):
        lengths = [[len(r["frames"]) for r in d.splits[part]] for d in (data, again)]
        assert lengths[0] == lengths[1]


def test_parts_as_folders_and_as_a_column(takes, tmp_path):
    folder = tmp_path / "parts"
    shutil.copytree(tmp_path / "faces/ann", folder / "train")
    shutil.copytree(tmp_path / "faces/bob", folder / "val")
    parts = divide(read_face_rows(folder), 1)
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 2, "test": 1}
    lines = [f"{name},{'test' if name[0] == 'b' else 'train'}" for name in takes]
    (tmp_path / "list.csv").write_text("\n".join(["path,split", *lines]))
    parts = divide(read_face_rows(tmp_path / "list.csv", tmp_path / "faces"), 1)
    assert [row.name for row in parts["test"]] == ["test/bob_take1"]


def test_the_layout_of_300vw(takes, tmp_path):
    place = tmp_path / "vw/archive"
    for number in (1, 2):
        shutil.copytree(tmp_path / "faces/bob/take1", place / f"00{number}/imgs")
        (place / f"00{number}/annot").mkdir()
        for path in (place / f"00{number}/imgs").glob("*.pts"):
            path.rename(place / f"00{number}/annot" / path.name)
    rows = read_face_rows(tmp_path / "vw")
    assert [(row.name, row.group, len(row.marks)) for row in rows] == [
        ("001", "", 6), ("002", "", 6)
    ]  # fmt: skip


def test_what_cannot_be_used_is_told_and_left_out(takes, tmp_path, capsys):
    folder = tmp_path / "faces"
    (folder / "ann/take1/000002.pts").write_text("version: 1\n{\n1 2\n}\n")
    (folder / "ann/take1/000003.pts").unlink()
    for number in range(1, 7):
        (folder / f"ann/take2/{number:06d}.png").write_bytes(b"no picture")
    write_take(folder / "bob/take2", seed=8, pts=False)
    write_take(folder / "cat/take1", seed=7)
    _, found = records(folder, tmp_path)
    told = capsys.readouterr().err
    assert "ann_take2: " in told
    assert "000001.png is not a picture" in told
    assert "bob_take2: the video" in told
    assert "has no landmarks: expected 000001.pts beside 000001.jpg" in told
    assert "2 of 5 videos are left out" in told
    assert "ann_take1, frames: left out:" in told
    assert "2 numbers between { and }, expected 10" in told
    assert sorted(found) == ["ann_take1", "bob_take1", "cat_take1"]
    assert len(found["ann_take1"]["frames"]) == 4


def test_landmarks_that_are_not_there(takes, tmp_path):
    source = tmp_path / "faces/marks.json"
    write_coco(source, takes)
    content = json.loads(source.read_text())
    content["annotations"][0]["keypoints"][2] = 0  # not labelled
    content["annotations"][1]["keypoints"] = [1, 2, 2]
    content["annotations"].append({**content["annotations"][5], "id": 99})  # a second face
    source.write_text(json.dumps(content))
    row = read_face_rows(source)[0]
    assert list(row.given) == [3, 4, 5]
    assert len(row.faults) == 4
    text = tmp_path / "faces/marks.csv"
    write_csv(text, takes)
    lines = text.read_text().splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0] + ","
    text.write_text("\n".join(lines))
    row = read_face_rows(text)[0]
    assert list(row.given) == [2, 3, 4, 5, 6]
    assert row.faults[0].endswith("line 2 has an empty coordinate")


def test_ids_of_coco_that_mislead(takes, tmp_path):
    source = tmp_path / "faces/marks.json"
    write_coco(source, takes)
    content = json.loads(source.read_text())
    for image in content["images"]:
        image["video_id"] = None  # as programs write that know no videos
    content["annotations"][0]["keypoints"][3] = float("nan")
    source.write_text(json.dumps(content))
    rows = read_face_rows(source)
    assert [row.name for row in rows] == ["ann_take1", "ann_take2", "bob_take1"]
    assert "annotation 0: a coordinate is not a finite number of pixels" in rows[0].faults[0]
    content["images"][7]["id"] = content["images"][0]["id"]
    source.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"marks\.json: images has the id 0 twice"):
        read_face_rows(source)


HEAD = "path,x0,y0,x1,y1"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "file,x0,y0\n", "has no column `path`"),
        ("t.csv", "path,x0,y0,colour\n", "unknown column 'colour'"),
        ("t.csv", "path,x0,y0,x1\n", "landmark 1 has a column of x or of y only"),
        ("t.csv", f"{HEAD}\na.png,1,2,3\n", "line 2 has 4 values; the header has 5"),
        ("t.csv", f"{HEAD}\na.png,1,2,3,four\n", "line 2: could not convert string to float"),
        ("t.csv", f"{HEAD}\na.png,1,2,3,nan\n", "line 2: a coordinate is not a finite number of"),
        ("t.csv", f"{HEAD}\na.mp4,1,2,3,4\n", "names a video; give its frame"),
        ("t.csv", f"{HEAD}\n/home/x/a.png,1,2,3,4\n", "which is not there; mend the line, or"),
        ("t.csv", f"split,{HEAD}\nearly,a.png,1,2,3,4\n", "the split is 'early'"),
        ("t.csv", f"split,{HEAD}\ntrain,a/1.png,1,2,3,4\ntest,a/2.png,1,2,3,4\n",
         "the frames of the video a have more than one split: test, train"),
        ("t.csv", f"{HEAD}\n", "holds no video of a face"),
        ("t.json", "[1]", "is no table of landmarks"),
        ("t.json", "{", "is no table of landmarks"),
        ("t.json", '{"images": [], "annotations": [{"image_id": 1, "keypoints": []}]}',
         "is of the image 1, which is not in the table"),
        ("t.txt", "", "is neither .csv nor .json"),
    ],
)  # fmt: skip
def test_faulty_tables_are_explained(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_face_rows(tmp_path / name)


def test_sources_that_cannot_be_used(takes, tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        read_face_rows(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no video of a face; expected SOURCE/"):
        read_face_rows(tmp_path / "empty")
    write_take(tmp_path / "bare/take", pts=False)
    with pytest.raises(InputError, match="has no landmarks"):
        read_face_rows(tmp_path / "bare")
    with pytest.raises(InputError, match="there is only one video; give two or more"):
        own_faces(tmp_path / "faces/bob", tmp_path / "cache")
    with pytest.raises(InputError, match="there is only one group"):
        divide([row for row in read_face_rows(tmp_path / "faces") if row.group == "ann"], 1)
    for ending in ("mp4", "avi"):
        (tmp_path / f"twice/a.{ending}").parent.mkdir(exist_ok=True)
        (tmp_path / f"twice/a.{ending}").write_bytes(b"")
    write_pts(tmp_path / "twice/a/000001.pts", np.zeros((5, 2)))
    with pytest.raises(InputError, match="two videos have the name a"):
        read_face_rows(tmp_path / "twice")


def test_a_set_of_points(tmp_path):
    assert point_set(68) == IBUG
    pairs = tmp_path / "pairs.txt"
    pairs.write_text(PAIRS)
    five = point_set(5, pairs, (0, 1))
    assert five.mirrored == (1, 0, 2, 4, 3)
    assert list(five.normalisers) == ["two_points", "box_diagonal"]
    pairs.write_text("\n".join(f"{i} {j}" for i, j in enumerate(FLIP.tolist()) if i < j))
    assert point_set(68, pairs).mirrored == IBUG.mirrored
    for text, message in (
        ("0 5\n", "line 1 is '0 5'; expected two numbers of landmarks, 0 to 4"),
        ("0 1\n1 2\n", "line 2: landmark 1 or 2 has a mirror image already"),
        ("\n", "names no pair"),
    ):
        pairs.write_text(text)
        with pytest.raises(InputError, match=message):
            point_set(5, pairs)
    with pytest.raises(InputError, match="--normalise_by 0 5: expected two different"):
        point_set(5, None, (0, 5))
    _, true = five_points(3, 0)
    found = landmark_metrics(true + np.array([3.0, 4.0]), true, five.normalisers)
    assert found["nme_two_points"] == pytest.approx(5 / 18)
    assert found["nme_box_diagonal"] == pytest.approx(5 / np.hypot(18, 14))


def test_faces_are_mirrored_by_the_table(takes, tmp_path):
    (tmp_path / "pairs.txt").write_text(PAIRS)
    data, _ = records(tmp_path / "faces", tmp_path, mirror_pairs=tmp_path / "pairs.txt")
    record = data.splits["train"][0]
    _, plain, _ = read_faces(record, 0, 2, 32, FaceView())
    _, mirrored, _ = read_faces(record, 0, 2, 32, FaceView(flip=True), data.points.mirrored)
    np.testing.assert_allclose(mirrored[:, [1, 0, 2, 4, 3]] * [-1, 1], plain, atol=1e-6)


def test_landmarks_that_menpo_writes(shared_data, tmp_path):
    """The same face as .ljson of version 3, which counts from 0, y first; and as version 2."""
    found = read_landmarks(shared_data / "faces/lenna.ljson")
    assert found.shape == (68, 2)
    assert 200 < found[0, 0] < 201  # x of the first point, which is second in the file
    again = {"version": 2, "landmarks": {"points": found[:, ::-1].tolist()}}
    (tmp_path / "a.json").write_text(json.dumps(again))
    np.testing.assert_array_equal(read_landmarks(tmp_path / "a.json", 68), found)
    real = read_pts(shared_data / "faces/breakingbad.pts", None)
    assert real.shape == (68, 2)
    with pytest.raises(InputError, match="has 68 points; expected 5"):
        read_landmarks(tmp_path / "a.json", 5)
    (tmp_path / "a.json").write_text('{"shapes": []}')
    with pytest.raises(InputError, match="is no landmark file; expected menpo's JSON"):
        read_landmarks(tmp_path / "a.json")
