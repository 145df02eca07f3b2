"""The command line that decodes an official download once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import status_of
from moved_face import moved_face, write_300vw_video

from prernn_jax.data.check import main
from prernn_jax.data.records import encode_picture

pytest.importorskip("av")


def test_faulty_videos_are_listed(shared_data, tmp_path, capsys):
    real = shared_data / "ucf101/UCF-101/BaseballPitch/v_BaseballPitch_g01_c01.avi"
    folder = tmp_path / "videos" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(real, folder / "good.avi")
    (folder / "empty.avi").write_bytes(b"")
    (folder / "words.avi").write_text("no video\n" * 100)
    (folder / "notes.txt").write_text("not looked at")
    out = tmp_path / "check.json"
    assert status_of(main, ["--source", str(tmp_path / "videos"), "--out", str(out)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "3 videos, 107 frames, 2 with faults"
    assert shown[1] == "    deep: 3 videos, 107 frames, 2 with faults"
    assert shown[3].startswith("    deep/empty.avi is empty (0 bytes)")
    assert shown[4].startswith("    deep/words.avi cannot be decoded after 0 frames")
    found = json.loads(out.read_text())
    assert found["deep/good.avi"] == {"frames": 107, "height": 240, "width": 320, "fault": None}
    assert found["deep/empty.avi"]["frames"] == 0


def test_short_videos_and_clean_folders(shared_data, capsys):
    folder = str(shared_data / "ucf101" / "UCF-101" / "BaseballPitch")
    assert status_of(main, [folder]) == 0
    assert status_of(main, [folder, "--shortest", "200"]) == 1
    assert "is short: 107 frames, fewer than 200" in capsys.readouterr().out


def pictures(folder: Path, name: str, numbers: range | list[int], size=(24, 32)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        data = encode_picture(np.full((*size, 3), number, np.uint8))
        (folder / name.format(number)).write_bytes(data)


PATTERNS = ["{:06d}.jpg", "frame{:06d}.jpg", "img_{:05d}.jpg", "frame{:06d}.JPEG", "v_a.b-{}.jpg"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("first", [0, 1])
def test_extracted_frames_of_every_name_are_checked(tmp_path, pattern, first):
    place = tmp_path / "class" / "video"
    pictures(place, pattern, range(first, first + 20))
    (place / f"._{pattern.format(3)}").write_bytes(b"what macOS writes")
    out = tmp_path / "check.json"
    run = ["--source", str(tmp_path / "class"), "--out", str(out)]
    assert status_of(main, run) == 0
    prefix = pattern.partition("{")[0]
    assert json.loads(out.read_text()) == {
        f"video/{prefix}*": {"frames": 20, "height": 24, "width": 32, "fault": None}
    }


def test_pictures_and_flow_may_share_a_folder(tmp_path):
    pictures(tmp_path / "v", "img_{:05d}.jpg", range(1, 20))
    for name in ("flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"):
        pictures(tmp_path / "v", name, range(1, 19))
    assert status_of(main, ["--source", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "000007.jpg").unlink(), "1 frames are missing, first 7"),
        (
            lambda f: (f / "000007.jpg").write_bytes(b"x"),
            "1 pictures cannot be decoded",
        ),
        (lambda f: (f / "000007.jpg").write_bytes(b""), "1 pictures cannot be decoded"),
        (
            lambda f: pictures(f, "{:06d}.jpg", [9], (30, 32)),
            "size 32x24, first 000009",
        ),
        (lambda f: pictures(f, "{}.jpg", [9]), "000009.jpg and 9.jpg are two files for frame 9"),
        (lambda f: pictures(f, "{:06d}.png", [9]), "000009.jpg and 000009.png are two files"),
        (lambda f: pictures(f, "cover.jpg", [9]), "1 pictures have no number, first cover.jpg"),
        (lambda f: pictures(f, "9" * 200 + "{}.jpg", [9]), "(201 digits); expected a frame's numb"),
        (lambda f: [(f / f"{k:06d}.jpg").unlink() for k in range(1, 5)], "first frame is number 5"),
    ],
)
def test_faults_of_extracted_frames_are_named(tmp_path, capsys, spoil, message):
    folder = tmp_path / "video"
    pictures(folder, "{:06d}.jpg", range(1, 25))
    spoil(folder)
    assert status_of(main, ["--source", str(tmp_path)]) == 1
    assert message in capsys.readouterr().out


def test_landmarks_of_extracted_frames_are_checked(shared_data, tmp_path, capsys):
    shown, marks = moved_face(shared_data / "faces", 4)
    write_300vw_video(tmp_path / "001", shown, marks)
    (tmp_path / "001" / "vid.avi").unlink()
    (tmp_path / "001" / "imgs").mkdir()
    for number, picture in enumerate(shown, start=1):
        path = tmp_path / "001" / "imgs" / f"frame{number:06d}.jpg"
        path.write_bytes(encode_picture(picture))
    run = ["--source", str(tmp_path), "--shortest", "1"]
    assert status_of(main, run) == 0
    (tmp_path / "001" / "annot" / "000002.pts").write_text("no landmarks")
    assert status_of(main, run) == 1
    assert "000002.pts is no landmark file" in capsys.readouterr().out


def test_real_frames_out_of_the_middle_of_a_video_are_told(shared_data, capsys):
    assert status_of(main, ["--source", str(shared_data / "300vw"), "--shortest", "1"]) == 1
    shown = capsys.readouterr().out
    assert "401/imgs/* the first frame is number 731; expected 0 or 1" in shown


def test_a_folder_as_the_first_argument_is_the_old_spelling(tmp_path, capsys):
    pictures(tmp_path, "{:06d}.jpg", range(1, 21))
    assert status_of(main, [str(tmp_path)]) == 0
    assert "1 videos, 20 frames, 0 with faults" in capsys.readouterr().out


def test_a_check_is_short_unless_all_names_are_wanted(tmp_path, capsys):
    for k in range(60):
        (tmp_path / f"class{k % 30:02d}").mkdir(exist_ok=True)
        (tmp_path / f"class{k % 30:02d}" / f"video{k:02d}.avi").write_bytes(b"")
    assert status_of(main, ["--source", str(tmp_path)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1 + 21 + 1 + 21
    assert status_of(main, ["--source", str(tmp_path), "--all_names"]) == 1
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 1 + 30 + 1 + 60
    assert all(shown.count(f"/video{k:02d}.avi") == 1 for k in range(60))


def test_bad_folders_are_explained(tmp_path, capsys):
    assert status_of(main, [str(tmp_path / "nowhere")]) == 2
    assert status_of(main, [str(tmp_path)]) == 2
    assert "no folder" in (error := capsys.readouterr().err)
    assert "no video" in error


def test_landmarks_of_300vw_are_checked_too(shared_data, tmp_path):
    video = tmp_path / "300vw" / "001"
    write_300vw_video(video, *moved_face(shared_data / "faces", 6))
    run = [str(tmp_path / "300vw"), "--shortest", "2", "--out", str(tmp_path / "check.json")]
    assert status_of(main, run) == 0
    shutil.copy(video / "annot/000001.pts", video / "annot/000009.pts")
    (video / "annot/000002.pts").write_text("no landmarks")
    assert status_of(main, run) == 1
    fault = json.loads((tmp_path / "check.json").read_text())["001/vid.avi"]["fault"]
    assert "000002.pts is no landmark file" in fault
    assert "1 landmark files have no frame, first 000009.pts" in fault
    assert "1 of 6 frames have no landmarks" in fault
