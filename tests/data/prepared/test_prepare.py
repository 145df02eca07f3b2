"""The preparation's command line, and HMDB51's lists."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import status_of

from prernn_jax.data.action.datasets import hmdb51
from prernn_jax.data.action.hmdb51 import read_classes, read_listing
from prernn_jax.data.prepare import main
from prernn_jax.errors import InputError

av = pytest.importorskip("av")

ODD = "a!(b)#[c]&d;e~f@g_0.avi"  # characters that real HMDB51 names have


def write_video(path: Path, frames: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, k, axis=1))
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """HMDB51 with two actions of which one's name begins the other's."""
    source = tmp_path / "hmdb"
    lists = source / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for action, lines in {
        "climb": [f"{ODD} 1", "up.avi 2", "unused.avi 0"],
        "climb_stairs": ["stairs.avi 1", "down.avi 2"],
    }.items():
        text = "".join(f"{line} \n" for line in lines)  # a blank at the end, as in the originals
        (lists / f"{action}_test_split1.txt").write_text(text)
        for line in lines:
            write_video(source / "hmdb51_org" / action / line.rpartition(" ")[0])
    return source


def run(source: Path, *more: str) -> int:
    folder = str(source.parent / "data")
    options = ["--cache_dir", folder, "--short-side", "32", "--workers", "1"]
    return status_of(main, ["hmdb51", "--source", str(source), *options, *more])


def test_lists_know_train_test_and_unused(layout):
    assert read_classes(layout) == ("climb", "climb_stairs")
    train, test = read_listing(layout, 1).parts.values()
    assert [(i.label, i.name) for i in train] == [
        (0, f"climb/{ODD[:-4]}"),
        (1, "climb_stairs/stairs"),
    ]
    assert [(i.label, i.name) for i in test] == [(0, "climb/up"), (1, "climb_stairs/down")]


def test_the_official_lists_have_the_official_counts(shared_data, tmp_path):
    lists = shared_data / "hmdb51" / "testTrainMulti_7030_splits"
    shutil.copytree(lists, tmp_path / lists.name)
    for path in lists.iterdir():
        folder = tmp_path / "hmdb51_org" / path.name.rpartition("_test_split")[0]
        folder.mkdir(parents=True, exist_ok=True)
        for line in path.read_text().splitlines():
            (folder / line.split()[0]).touch()
    assert len(read_classes(tmp_path)) == 51
    for split in (1, 2, 3):
        listing = read_listing(tmp_path, split)
        assert listing.official == {"train": 3570, "test": 1530}
        for part, each in (("train", 70), ("test", 30)):
            labels = [item.label for item in listing.parts[part] if item.fault is None]
            assert np.bincount(labels).tolist() == [each] * 51


def test_preparation_reports_and_training_reads_it(layout, capsys):
    assert run(layout) == 0
    shown = capsys.readouterr().out
    assert "train: 2 videos of 2 listed, official 3570" in shown
    data = hmdb51(layout, layout.parent / "data", short_side=32, stack=2, size=32)
    record = data.splits["train"][0]
    assert record["name"] == f"climb/{ODD[:-4]}"
    assert (len(record["frames"]), len(record["flow_y"])) == (4, 3)


def test_missing_and_broken_videos_are_listed_and_may_be_left_out(layout, capsys):
    (layout / "hmdb51_org" / "climb" / "up.avi").unlink()
    (layout / "hmdb51_org" / "climb_stairs" / "stairs.avi").write_text("no video")
    assert run(layout, "--flow", "none") == 1
    shown = capsys.readouterr().out
    assert "1 video is missing: unpack all of climb.rar\n    climb/up\n" in shown
    assert "climb_stairs/stairs: cannot be decoded" in shown
    options = {"flow": "none", "short_side": 32}
    with pytest.raises(InputError, match=r"line 2 names up\.avi"):
        hmdb51(layout, layout.parent / "data", **options)
    assert run(layout, "--flow", "none", "--allow-missing") == 0
    data = hmdb51(layout, layout.parent / "data", **options)
    assert [len(data.splits[part]) for part in ("train", "test")] == [1, 1]
    capsys.readouterr()
    assert run(layout, "--flow", "none") == 0  # what was left out is remembered
    assert "left out by an earlier preparation: 2" in capsys.readouterr().out


def test_a_trial_takes_the_first_videos_only(layout, capsys):
    assert run(layout, "--flow", "none", "--limit", "1") == 0
    assert "train: 1 videos of 1 listed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: shutil.rmtree(s / "hmdb51_org"), "no folder .*hmdb51_org; expected SOURCE/"),
        (lambda s: shutil.rmtree(s / "testTrainMulti_7030_splits"), "no folder .*7030_splits"),
        (
            lambda s: (s / "testTrainMulti_7030_splits/climb_test_split1.txt").write_text("x 3\n"),
            "line 1 is 'x 3'; expected a video and 0, 1 or 2",
        ),
    ],
)
def test_bad_layouts_end_with_status_two(layout, capsys, change, message):
    change(layout)
    assert run(layout) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    with pytest.raises(InputError, match=message):
        read_listing(layout, 1)


def test_options_that_make_no_sense_are_refused(layout, capsys):
    assert run(layout, "--limit", "0") == 2
    assert "--limit 0: expected 1 or more" in capsys.readouterr().err
    assert run(layout, "--modality", "depth") == 2
    assert "belong to nvgesture, not to hmdb51" in capsys.readouterr().err
    assert status_of(main, ["nvgesture", "--source", str(layout), "--split", "2"]) == 2
    assert "nvgesture has one official split" in capsys.readouterr().err


def test_the_report_counts_classes(layout):
    (layout / "hmdb51_org" / "climb" / "up.avi").unlink()
    assert run(layout, "--flow", "none") == 1
    report = json.loads(next((layout.parent / "data").rglob("report.json")).read_text())
    test = report["parts"]["test"]
    assert (test["prepared"], test["listed"], test["official"]) == (1, 2, 1530)
    assert test["classes"]["climb"] == {"prepared": 0, "listed": 1}
    assert test["classes"]["climb_stairs"] == {"prepared": 1, "listed": 1}
    assert report["missing"] == [{"why": "unpack all of climb.rar", "videos": ["climb/up"]}]
    assert report["faults"] == {}


SIDE = b"\0\5\x16\7\0\2\0\0Mac OS X        \0\0\xff\xfe\xb0"
"""What macOS writes beside every file on foreign disks and into archives."""


def test_the_twins_of_macos_are_no_data(layout, capsys):
    for path in list(layout.rglob("*.*")):
        path.with_name(f"._{path.name}").write_bytes(SIDE)
    (layout / "hmdb51_org" / "._climb").write_bytes(SIDE)
    assert run(layout, "--flow", "none") == 0
    assert "hmdb51, 2 classes" in (shown := capsys.readouterr().out)
    assert "._" not in shown


def test_class_archives_in_folders_of_their_own_are_found(layout, capsys):
    for folder in list((layout / "hmdb51_org").iterdir()):
        folder.rename(layout / "moved")
        folder.mkdir()
        (layout / "moved").rename(folder / folder.name)
    assert run(layout, "--flow", "none") == 0
    assert "train: 2 videos of 2 listed" in capsys.readouterr().out


def test_videos_of_another_ending_are_found(layout, capsys):
    video = layout / "hmdb51_org" / "climb" / ODD
    video.rename(video.with_suffix(".AVI"))
    write_video(layout / "hmdb51_org" / "climb" / "up.mp4")
    (layout / "hmdb51_org" / "climb" / "up.avi").unlink()
    assert run(layout, "--flow", "none") == 0
    data = hmdb51(layout, layout.parent / "data", short_side=32, flow="none")
    assert data.splits["test"][0]["name"] == "climb/up"


def test_a_class_that_is_still_packed_is_named(layout, capsys):
    shutil.rmtree(layout / "hmdb51_org" / "climb")
    (layout / "hmdb51_org" / "climb.rar").touch()
    with pytest.raises(InputError, match=r"climb\.rar is there: unpack it"):
        hmdb51(layout, layout.parent / "data", short_side=32)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_lists_that_an_editor_has_saved_are_read(layout, encoding):
    for path in (layout / "testTrainMulti_7030_splits").iterdir():
        path.write_bytes(path.read_text().encode(encoding))
    assert len(read_listing(layout, 1).parts["train"]) == 2


def test_a_video_of_both_parts_is_refused(layout):
    path = layout / "testTrainMulti_7030_splits/climb_test_split1.txt"
    path.write_text("up.avi 1\nup.avi 2\n")
    with pytest.raises(InputError, match="climb/up, which the train list of split 1 lists too"):
        read_listing(layout, 1)


def test_flow_without_opencv_contrib_is_refused_before_any_decoding(layout, monkeypatch, capsys):
    monkeypatch.delattr(cv2, "optflow")
    assert run(layout, "--flow", "tvl1") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "opencv-contrib-python-headless" in error
    assert not list((layout.parent / "data").rglob("*.array_record"))


def test_a_missing_decoder_is_named_once(layout, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    assert run(layout, "--flow", "none") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "pip install 'prernn-jax[video]'" in error
