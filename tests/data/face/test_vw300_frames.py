"""300VW: extracted frames of any naming, numbering, hidden landmarks, hidden files."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import status_of
from moved_face import moved_face, write_300vw_video, write_pts

from prernn_jax.data.check import main as check
from prernn_jax.data.face.datasets import vw300
from prernn_jax.data.face.vw300 import FOLDER, numbering_fault
from prernn_jax.data.prepare import main

pytest.importorskip("av")


def write_frames(
    source: Path, shared: Path, pattern: str, first: int = 1, landmarks_from: int = 1
) -> Path:
    """Eight frames of one training video and one of a test video, extracted."""
    pictures, landmarks = moved_face(shared / "faces", 8)
    for name in ("001", "114"):
        for k, (picture, points) in enumerate(zip(pictures, landmarks, strict=True)):
            path = source / FOLDER / name / "imgs" / pattern.format(k + first)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
            write_pts(source / FOLDER / name / "annot" / f"{k + landmarks_from:06d}.pts", points)
    return source / FOLDER / "001"


def run(source: Path, *more: str) -> tuple[int, dict]:
    options = ["--cache_dir", str(source.parent / "data"), "--workers", "1"]
    status = status_of(main, ["300vw", "--source", str(source), *options, *more])
    return status, json.loads(next((source.parent / "data").rglob("report.json")).read_text())


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("frame{:06d}.jpg", 1),
        ("img_{:05d}.jpg", 1),
        ("{:06d}.png", 1),
        ("{:06d}.jpeg", 1),
        ("{}.JPG", 95),
    ],
)
def test_frames_of_any_naming_are_found(shared_data, tmp_path, pattern, first):
    write_frames(tmp_path / "s", shared_data, pattern, first, landmarks_from=first)
    _, report = run(tmp_path / "s", "--allow-missing")
    assert report["parts"]["train"]["prepared"] == 1
    assert report["notes"] == {}
    data = vw300(tmp_path / "s", tmp_path / "data")
    assert len(data.splits["train"][0]["frames"]) == 8


@pytest.mark.parametrize(("first", "landmarks_from"), [(0, 1), (1, 0), (2, 1), (5, 1)])
def test_frames_numbered_otherwise_than_landmarks_are_refused(
    shared_data, tmp_path, first, landmarks_from
):
    write_frames(tmp_path / "s", shared_data, "{:06d}.jpg", first, landmarks_from)
    status, report = run(tmp_path / "s")
    assert status == 1
    assert f"frames are numbered from {first} to" in report["faults"]["001"]
    assert report["parts"]["train"]["prepared"] == 0


def test_landmarks_of_a_video_file_count_from_one(shared_data, tmp_path):
    folder = tmp_path / "s" / FOLDER / "001"
    write_300vw_video(folder, *moved_face(shared_data / "faces", 8))
    for number in range(8):
        (folder / f"annot/{number + 1:06d}.pts").rename(folder / f"annot/{number:06d}.pts")
    _, report = run(tmp_path / "s")
    assert "frames are numbered from 1 to 8 and landmark files from 0" in report["faults"]["001"]
    assert (
        status_of(
            check, [str(tmp_path / "s"), "--shortest", "1", "--out", str(tmp_path / "c.json")]
        )
        == 1
    )
    assert "landmark files from 0" in (tmp_path / "c.json").read_text()


def test_numbers_that_fit_or_only_miss_some_are_accepted():
    assert numbering_fault(range(1, 9), range(1, 9)) is None
    assert numbering_fault(range(0, 8), range(0, 8)) is None
    assert numbering_fault(range(1, 9), [1, 2, 4, 99]) is None
    assert numbering_fault(range(1, 9), range(2, 9)) is None
    assert numbering_fault([6, 9], [6, 9]) is None
    assert numbering_fault(range(0, 9), [3, 5]) is not None
    assert numbering_fault([], [3, 5]) is None


@pytest.mark.parametrize("mark", ["-1 -1", "0 0", "-1.0 40", "900 40", "40 900.5"])
def test_hidden_points_and_points_outside_are_counted_and_not_trained_on(
    shared_data, tmp_path, mark
):
    folder = write_frames(tmp_path / "s", shared_data, "{:06d}.jpg")
    for number in (2, 5):
        path = folder / f"annot/{number:06d}.pts"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:7], mark, *lines[8:]]))
    status, report = run(tmp_path / "s")
    assert status == 1
    assert "2 frames of" in report["faults"]["001, frames"]
    assert "outside of the picture or marked as hidden, first frame 2" in str(report["faults"])
    run(tmp_path / "s", "--allow-missing")
    record = vw300(tmp_path / "s", tmp_path / "data").splits["train"][0]
    assert len(record["frames"]) == 6
    assert np.abs(record["landmarks"]).max() < 320


def test_twins_of_macos_and_folders_too_deep(shared_data, tmp_path):
    folder = write_frames(tmp_path / "s", shared_data, "{:06d}.jpg")
    for path in [*folder.rglob("*.jpg"), *folder.rglob("*.pts")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (folder / "imgs/.DS_Store").write_bytes(b"\0")
    shutil.move(folder, folder.parent / "moved")
    shutil.move(folder.parent / "moved", folder / "001")
    _, report = run(tmp_path / "s", "--allow-missing")
    assert report["parts"]["train"]["prepared"] == 1
    assert "._" not in json.dumps(report)


def test_a_folder_without_numbered_pictures_is_not_blamed_on_landmarks(shared_data, tmp_path):
    folder = write_frames(tmp_path / "s", shared_data, "{:06d}.jpg")
    for path in (folder / "imgs").iterdir():
        path.rename(path.with_name(f"{path.stem}x.jpg"))
    _, report = run(tmp_path / "s")
    assert "holds no numbered picture" in report["faults"]["001"]
