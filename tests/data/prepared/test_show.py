"""The contact sheet's command line."""

import shutil

import numpy as np
from command_line import status_of
from moved_face import moved_face, write_300vw_video

from prernn_jax.data.prepare import main as prepare
from prernn_jax.data.records import decode_picture, encode_picture
from prernn_jax.data.show import GREEN, main, sample

CLIP = "BaseballPitch/v_BaseballPitch_g01_c01.avi"


def test_a_sheet_of_real_videos(shared_data, tmp_path, capsys):
    source = tmp_path / "ucf"
    (source / "UCF-101" / "BaseballPitch").mkdir(parents=True)
    for name in (CLIP, CLIP.replace("g01", "g02")):
        shutil.copy(shared_data / "ucf101/UCF-101" / CLIP, source / "UCF-101" / name)
    lists = source / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 BaseballPitch\n")
    (lists / "trainlist01.txt").write_text(f"{CLIP}\n")
    (lists / "testlist01.txt").write_text(f"{CLIP.replace('g01', 'g02')}\n")
    out = tmp_path / "sheet.png"
    where = ["--source", str(source), "--cache_dir", str(tmp_path / "data"), "--out", str(out)]
    assert status_of(main, ["ucf101", *where, "--columns", "5", "--flow", "none"]) == 0
    assert decode_picture(out.read_bytes()).shape == (16 + 64 + 4, 5 * 85, 3)
    assert status_of(main, ["ucf101", *where, "--part", "validation", "--flow", "none"]) == 2
    assert "there are train, test" in capsys.readouterr().err


def test_the_layout_must_be_given(tmp_path, capsys):
    assert status_of(main, ["hmdb51", "--out", str(tmp_path / "sheet.png")]) == 2
    assert "needs --source" in capsys.readouterr().err


def test_faces_have_their_landmarks_drawn(shared_data, tmp_path):
    source, out = tmp_path / "300vw", tmp_path / "sheet.png"
    for name in ("001", "401"):
        write_300vw_video(source / name, *moved_face(shared_data / "faces", 4))
    where = ["300vw", "--source", str(source), "--cache_dir", str(tmp_path / "data")]
    assert status_of(prepare, [*where, "--allow-missing", "--workers", "1"]) == 0
    assert status_of(main, [*where, "--part", "test", "--out", str(out), "--columns", "3"]) == 0
    sheet = decode_picture(out.read_bytes())
    assert sheet.shape == (16 + 128 + 4, 3 * 128, 3)
    assert np.all(np.abs(sheet.astype(int) - GREEN) < 30, axis=-1).sum() > 100


def test_gestures_of_the_users_lists(shared_data, tmp_path):
    source = shared_data / "nvgesture"
    first = (source / "nvgesture_train_correct_cvpr2016_v2_mini.lst").read_text().splitlines()
    for name, line in zip(("train.lst", "test.lst"), first, strict=False):
        (tmp_path / name).write_text(line)
    lists = ["--lists", str(tmp_path / "train.lst"), str(tmp_path / "test.lst")]
    out = tmp_path / "sheet.png"
    where = ["--source", str(source), "--cache_dir", str(tmp_path / "data"), "--out", str(out)]
    assert (
        status_of(main, ["nvgesture", *where, *lists, "--modality", "depth", "--columns", "4"]) == 0
    )
    assert decode_picture(out.read_bytes()).shape == (16 + 64 + 4, 4 * 86, 3)


def test_a_clip_that_stands_turned_in_its_set_is_shown_turned():
    picture = np.zeros((8, 8), np.uint8)
    picture[:, 6:] = 200  # at the right
    flow = [np.full((8, 8), value, np.uint8) for value in (168, 128)]  # to the right
    record = {
        "frames": [encode_picture(picture)] * 2,
        "flow_x": [encode_picture(flow[0])],
        "flow_y": [encode_picture(flow[1])],
        "symmetry": 1,  # a quarter, clockwise
    }
    _, pictures, flow_x, flow_y = sample(record, "a clip", 1, 8)
    assert pictures[0, 7].min() > 150
    assert pictures[0, :5].max() < 50
    assert np.abs(flow_x.astype(int) - 128).max() <= 1
    assert np.abs(flow_y.astype(int) - 168).max() <= 1  # downwards
