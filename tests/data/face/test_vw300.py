"""300VW: an official layout made of a real moving face, real frames, and their faults."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import status_of
from moved_face import moved_face, write_300vw_video, write_pts

from prernn_jax.data.face.datasets import FaceData, vw300
from prernn_jax.data.face.files import FaceFiles, FaceRecipe, frame_report
from prernn_jax.data.face.landmarks import bounding_box, normalise_landmarks, square_around
from prernn_jax.data.face.loader import FaceAugmentation, face_eval_loader, face_train_loader
from prernn_jax.data.face.records import FaceBoxes, read_boxes
from prernn_jax.data.face.vw300 import FOLDER, PARTS, broken_frames, read_listing
from prernn_jax.data.prepare import main
from prernn_jax.data.prepared.folder import prepared_path
from prernn_jax.data.records import decode_picture
from prernn_jax.errors import InputError

pytest.importorskip("av")

VIDEOS = {"001": 12, "540": 10, "203": 8, "410": 8}  # one of each part


@pytest.fixture(scope="module")
def original(shared_data, tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("300vw")
    for seed, (name, frames) in enumerate(VIDEOS.items()):
        write_300vw_video(
            source / FOLDER / name, *moved_face(shared_data / "faces", frames, seed=seed)
        )
    return source


@pytest.fixture
def layout(original, tmp_path) -> Path:
    return shutil.copytree(original, tmp_path / "source")


def run(source: Path, *more: str) -> int:
    folder = str(source.parent / "data")
    return status_of(
        main, ["300vw", "--source", str(source), "--cache_dir", folder, "--workers", "1", *more]
    )


def open_faces(source: Path, boxes: FaceBoxes | None = None) -> FaceData:
    return vw300(source, source.parent / "data", boxes=boxes, size=48, workers=1)


def test_official_lists_and_broken_frames(shared_data):
    assert {part: len(names) for part, names in PARTS.items()} == {
        "train": 50,
        "category 1": 31,
        "category 2": 19,
        "category 3": 14,
    }
    assert len({name for names in PARTS.values() for name in names}) == 114
    original = json.loads((shared_data / "300vw/broken_frames.json").read_text())
    assert broken_frames() == {video: frozenset(frames) for video, frames in original.items()}
    assert sum(map(len, broken_frames().values())) == 2127


def test_prepared_faces_are_where_their_landmarks_are(layout, capsys):
    assert run(layout) == 1
    assert "train: 1 videos of 50 listed, official 50" in capsys.readouterr().out
    assert run(layout, "--allow-missing") == 0
    data = open_faces(layout)
    assert [len(data.splits[name]) for name in ("train", "test")] == [1, 3]
    assert [data.splits["test"][k]["category"] for k in range(3)] == ["1", "2", "3"]
    record = data.splits["train"][0]
    assert len(record["frames"]) == 12
    assert record["landmarks"].shape == (12, 68, 2)
    np.testing.assert_allclose(
        record["boxes"], square_around(bounding_box(record["landmarks"]), 1.3), rtol=1e-5
    )


def test_large_faces_are_scaled_with_their_landmarks(shared_data, tmp_path):
    _, landmarks = moved_face(shared_data / "faces", 6, size=(640, 960))
    pictures = []
    for points in landmarks:
        picture = np.full((640, 960, 3), 60, np.uint8)
        nose = [round(16 * float(value)) for value in points[30]]
        cv2.circle(picture, nose, 16 * 12, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
        pictures.append(picture)
    write_300vw_video(tmp_path / "001", pictures, landmarks)
    item = next(item for item in read_listing(tmp_path).parts["train"] if item.name == "001")
    FaceRecipe().write(item, prepared_path(tmp_path, item))
    record = FaceFiles(tmp_path, [item], FaceRecipe(), FaceBoxes())[0]
    faces = bounding_box(record["landmarks"])
    assert abs(np.median((faces[:, 2:] - faces[:, :2]).max(axis=1)) - 200) < 1
    for picture, points in zip(record["frames"], record["landmarks"], strict=True):
        light = decode_picture(picture)[..., 1].astype(float) - 60
        light *= light > 60
        rows, columns = np.indices(light.shape)
        middle = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        np.testing.assert_allclose(middle, points[30], atol=0.15)


def test_an_epoch_of_faces(layout):
    assert run(layout, "--allow-missing") == 0
    data = open_faces(layout)
    loader = face_train_loader(
        data.splits["train"], batch_size=2, steps=4, size=48, augment=FaceAugmentation(), seed=0
    )
    batch = next(loader)
    loader.close()
    assert batch["clips"].shape == (2, 4, 48, 48, 3)
    assert np.abs(batch["landmarks"]).max() < 0.6
    seen = list(face_eval_loader(data.splits["test"], batch_size=2, steps=4, size=48))
    assert sum(int(b["lengths"][b["mask"]].sum()) for b in seen) == 26


def test_badly_annotated_frames_are_left_out_of_the_test(layout, shared_data):
    """As extracted frames 743 to 747 of video 540, of which 744, 746 and 747 are bad."""
    folder = layout / FOLDER / "540"
    shutil.rmtree(folder)
    pictures, landmarks = moved_face(shared_data / "faces", 5)
    (folder / "imgs").mkdir(parents=True)
    for number, (picture, points) in enumerate(zip(pictures, landmarks, strict=True), start=743):
        cv2.imwrite(str(folder / "imgs" / f"{number:06d}.jpg"), picture)
        write_pts(folder / "annot" / f"{number:06d}.pts", points)
    assert run(layout, "--allow-missing") == 0
    assert len(open_faces(layout).splits["test"][0]["frames"]) == 2


def test_boxes_of_the_frame_before(layout):
    assert run(layout, "--allow-missing") == 0
    now = open_faces(layout).splits["train"][0]["boxes"]
    before = open_faces(layout, FaceBoxes("previous")).splits["train"][0]["boxes"]
    np.testing.assert_array_equal(before[1:], now[:-1])
    np.testing.assert_array_equal(before[0], now[0])
    wide = open_faces(layout, FaceBoxes(enlarge=2.6)).splits["train"][0]["boxes"]
    np.testing.assert_allclose(wide[:, 2] - wide[:, 0], 2 * (now[:, 2] - now[:, 0]), rtol=1e-4)


def test_boxes_from_a_file(layout, tmp_path):
    assert run(layout, "--allow-missing") == 0
    path = tmp_path / "boxes.json"
    truth = {name: {"000001": [60, 40, 260, 220]} for name in VIDEOS}
    truth["001"]["000005"] = [70, 50, 250, 230]
    path.write_text(json.dumps(truth))
    data = open_faces(layout, FaceBoxes(given=read_boxes(path)))
    boxes = data.splits["train"][0]["boxes"]
    assert np.all(boxes[:4] == boxes[0])
    np.testing.assert_allclose(boxes[4:, 2] - boxes[4:, 0], 180, rtol=1e-4)
    truth["410"]["000003"] = [900, 900, 950, 950]
    path.write_text(json.dumps(truth))
    with pytest.raises(InputError, match=r"'410': the box .* of frame 2 lies outside"):
        open_faces(layout, FaceBoxes(given=read_boxes(path)))
    del truth["410"]
    path.write_text(json.dumps(truth))
    with pytest.raises(InputError, match="has none for the video 410"):
        open_faces(layout, FaceBoxes(given=read_boxes(path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "is not of the form"),
        ('{"114": {"x": [1, 2, 3, 4]}}', "video 114 has the frame 'x'"),
        ('{"114": {"1": [1, 2, 3]}}', "video 114, frame 1: .* is no box"),
        ('{"114": {"1": [5, 2, 3, 4]}}', "is no box"),
        ('{"114": {"1": [1, 2, NaN, 4]}}', "is no box"),
        ('{"114": {"1": "wide"}}', "is no box"),
        ('{"114": {"1": [true, 2, 3, 4]}}', "is no box"),
        ('{"114": {"1": ["1", "2", "3", "4"]}}', "is no box"),
        ('{"114": {"1": [1, 2, 3, 1e39]}}', "is no box"),
        ('{"114": {"1": [1, 2, 3, 4], "01": [5, 6, 7, 8]}}', "'1' stands in it twice"),
        ('{"114": {"1": [1, 2, 3, 4]}, "114": {}}', "'114' stands in it twice"),
    ],
)
def test_faulty_files_of_boxes_are_explained(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_boxes(path)
    with pytest.raises(InputError, match="there is no file of face boxes"):
        read_boxes(tmp_path / "absent.json")


def test_faulty_frames_are_left_out_and_listed(layout, capsys):
    annot = layout / FOLDER / "001" / "annot"
    lines = (annot / "000002.pts").read_text().splitlines()
    (annot / "000002.pts").write_text("\n".join([*lines[:5], *lines[6:]]))  # 67 points
    (annot / "000003.pts").write_text("\n".join([*lines[:5], "nan 3", *lines[6:]]))
    (annot / "000004.pts").unlink()  # a frame without landmarks
    shutil.copy(annot / "000001.pts", annot / "000099.pts")  # landmarks without a frame
    far = [*lines[:3], *["900 900"] * 67, "980 980", "}"]
    (annot / "000005.pts").write_text("\n".join(far))
    assert run(layout) == 1
    report = json.loads(next((layout.parent / "data").rglob("report.json")).read_text())
    assert "134 numbers between" in report["faults"]["001, frames"]
    assert "(and 2 more files)" in report["faults"]["001, frames"]
    assert report["notes"]["001"] == (
        "1 landmark files have no frame, first 000099.pts; 1 frames have no landmarks, first 4"
    )
    assert run(layout, "--allow-missing") == 0
    assert len(open_faces(layout).splits["train"][0]["frames"]) == 8
    assert run(layout) == 0  # remembered


def test_faulty_videos_are_listed(layout, capsys):
    whole = (layout / FOLDER / "001/vid.avi").read_bytes()
    (layout / FOLDER / "001/vid.avi").write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(layout / FOLDER / "540/annot")
    for path in (layout / FOLDER / "203/annot").iterdir():
        path.write_text("no landmarks")
    assert run(layout) == 1
    report = json.loads(next((layout.parent / "data").rglob("report.json")).read_text())
    faults = report["faults"]
    assert "is truncated" in faults["001"] or "cannot be decoded" in faults["001"]
    assert "000001.pts is no landmark file" in faults["203"]
    why = {name: part["why"] for part in report["missing"] for name in part["videos"]}
    assert "there is no folder annot" in why["540"]
    assert "unpack" in why["114"]
    assert len(why) == 111
    assert len(faults) == 2


def test_a_video_without_any_face_is_missing(layout):
    annot = layout / FOLDER / "001" / "annot"
    far = ["version: 1", "{", *["900 900"] * 67, "980 980", "}"]
    for path in annot.iterdir():
        path.write_text("\n".join(far))
    shutil.copy(layout / FOLDER / "540/annot/000001.pts", annot / "000050.pts")  # has no frame
    assert run(layout) == 1
    report = json.loads(next((layout.parent / "data").rglob("report.json")).read_text())
    assert "has landmarks that can be used: the landmarks of frame 1" in report["faults"]["001"]


def test_real_frames(shared_data, tmp_path, capsys):
    """Two videos of 300VW as mmpose extracts them; frame 731 of 401 is badly annotated."""
    options = ["--cache_dir", str(tmp_path), "--workers", "1", "--allow-missing"]
    assert status_of(main, ["300vw", "--source", str(shared_data / "300vw"), *options]) == 0
    assert "401: 1 badly annotated frames are left out" in capsys.readouterr().out
    data = vw300(shared_data / "300vw", tmp_path)
    assert [len(data.splits[name][0]["frames"]) for name in ("train", "test")] == [2, 1]
    for source in data.splits.values():
        record = source[0]
        height, width = decode_picture(record["frames"][0]).shape[:2]
        points = record["landmarks"][0]
        assert np.all((points > 0) & (points < (width, height)))
        inside = normalise_landmarks(points, record["boxes"][0])
        assert np.abs(inside).max() < 0.5


def test_layouts_that_are_not_300vw(layout, tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*absent"):
        read_listing(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no video of 300VW in .*empty; expected SOURCE/300VW"):
        read_listing(tmp_path / "empty")
    with pytest.raises(InputError, match=rf"; give .*{FOLDER} as the source"):
        read_listing(tmp_path)
    inner = read_listing(layout / FOLDER)
    assert [item.fault for item in inner.parts["train"]].count(None) == 1


def test_the_report_of_frames_waits_for_prepared_files(layout):
    listed = read_listing(layout).parts["train"]
    assert frame_report(layout, listed) == ({}, {})
