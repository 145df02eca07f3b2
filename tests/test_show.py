"""The contact sheet's command line."""

import shutil

from prernn_jax.data.records import decode_picture
from prernn_jax.data.show import main

CLIP = "BaseballPitch/v_BaseballPitch_g01_c01.avi"


def test_a_sheet_of_real_videos(shared_data, tmp_path, capsys):
    source = tmp_path / "ucf"
    (source / "UCF-101" / "BaseballPitch").mkdir(parents=True)
    shutil.copy(shared_data / "ucf101/UCF-101" / CLIP, source / "UCF-101" / CLIP)
    lists = source / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 BaseballPitch\n")
    for part in ("train", "test"):
        (lists / f"{part}list01.txt").write_text(f"{CLIP}\n")
    out = tmp_path / "sheet.png"
    where = ["--source", str(source), "--data-dir", str(tmp_path / "data"), "--out", str(out)]
    assert main(["ucf101", *where, "--columns", "5", "--flow", "none"]) == 0
    assert decode_picture(out.read_bytes()).shape == (16 + 64 + 4, 5 * 85, 3)
    assert main(["ucf101", *where, "--split", "validation", "--flow", "none"]) == 2
    assert "there are train, test" in capsys.readouterr().err


def test_the_layout_must_be_given(tmp_path, capsys):
    assert main(["hmdb51", "--out", str(tmp_path / "sheet.png")]) == 2
    assert "needs --source" in capsys.readouterr().err
