"""The command line that decodes an official download once."""

import json
import re
import shutil

import pytest
from moved_face import moved_face, write_300vw_video

from prernn_jax.data.check import main

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
    assert main([str(tmp_path / "videos"), "--out", str(out)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^video +frames +size +fault$", shown, re.M)
    assert re.search(r"^deep/empty\.avi +0 +0x0  the video .* is empty", shown, re.M)
    assert re.search(r"^deep/words\.avi +0 +0x0  the video .* cannot be decoded", shown, re.M)
    assert "3 videos, 107 frames, 2 with faults" in shown
    found = json.loads(out.read_text())
    assert found["deep/good.avi"] == {"frames": 107, "height": 240, "width": 320, "fault": None}
    assert found["deep/empty.avi"]["frames"] == 0


def test_short_videos_and_clean_folders(shared_data, capsys):
    folder = str(shared_data / "ucf101" / "UCF-101" / "BaseballPitch")
    assert main([folder]) == 0
    assert main([folder, "--shortest", "200"]) == 1
    assert "short: 107 frames, fewer than 200" in capsys.readouterr().out


def test_bad_folders_are_explained(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert main([str(tmp_path)]) == 2
    assert "no folder" in (error := capsys.readouterr().err)
    assert "no video" in error


def test_landmarks_of_300vw_are_checked_too(shared_data, tmp_path):
    video = tmp_path / "300vw" / "001"
    write_300vw_video(video, *moved_face(shared_data / "faces", 6))
    run = [str(tmp_path / "300vw"), "--shortest", "2", "--out", str(tmp_path / "check.json")]
    assert main(run) == 0
    shutil.copy(video / "annot/000001.pts", video / "annot/000009.pts")
    (video / "annot/000002.pts").write_text("no landmarks")
    assert main(run) == 1
    fault = json.loads((tmp_path / "check.json").read_text())["001/vid.avi"]["fault"]
    assert "000002.pts is no landmark file" in fault
    assert "1 landmark files have no frame, first 000009.pts" in fault
    assert "1 of 6 frames have no landmarks" in fault
