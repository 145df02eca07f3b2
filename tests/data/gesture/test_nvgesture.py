"""NVGesture: labels and frames as the lists say, in an official layout and on real recordings."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import status_of
from small_videos import numbered_pictures, write_video

from prernn_jax.data.gesture.datasets import nvgesture
from prernn_jax.data.gesture.nvgesture import CLASSES, LISTS, read_listing
from prernn_jax.data.prepare import main
from prernn_jax.data.records import Record, decode_picture
from prernn_jax.errors import InputError

pytest.importorskip("av")

LINE = (
    "path:./Video_data/class_{folder:02d}/{take} depth:sk_depth:{depth}:{depth_end} "
    "color:sk_color:{color}:{color_end} duo_left:duo_left:9:99 label:{label} \n"
)


def line(folder: int, take: str, color: int, depth: int, label: int, frames: int = 20) -> str:
    ends = {"color_end": color + frames, "depth_end": depth + frames}
    return LINE.format(folder=folder, take=take, color=color, depth=depth, label=label, **ends)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """The official layout with two recordings; the first was relabelled from 1 to 3."""
    source = tmp_path / "source"
    for take in ("class_01/subject3_r0", "class_25/subject5_r1"):
        for sensor in ("sk_color", "sk_depth"):
            write_video(source / "Video_data" / take / f"{sensor}.avi", numbered_pictures(40))
    (source / LISTS[0]).write_text(line(1, "subject3_r0", 12, 11, 3))
    (source / LISTS[1]).write_text(line(25, "subject5_r1", 5, 5, 25))
    return source


def shown(record: Record) -> list[int]:
    """The numbers of the source's frames, told by the brightness of the prepared ones."""
    means = [float(np.mean(decode_picture(data))) for data in record["frames"]]
    return [round((mean - 10) / 5) for mean in means]


def test_labels_are_the_lists_and_ranges_exclude_their_end(layout):
    data = nvgesture(
        layout, layout.parent / "data", modality="color", flow="none", short_side=48, workers=1
    )
    assert data.classes == CLASSES
    record = data.splits["train"][0]
    assert (record["label"], record["name"]) == (2, "class_01/subject3_r0")
    assert shown(record) == list(range(12, 32))
    assert data.splits["test"][0]["label"] == 24


def test_depth_has_its_own_range_and_one_channel(layout):
    data = nvgesture(layout, layout.parent / "data", modality="depth", short_side=48, workers=1)
    record = data.splits["train"][0]
    assert shown(record) == list(range(11, 31))
    picture = decode_picture(record["frames"][0])
    assert picture.shape == (48, 64, 3)
    assert np.ptp(picture, axis=-1).max() == 0
    data = record["frames"][0]
    marker = data.index(b"\xff\xc0")  # the JPEG's frame header: ..., channels
    assert data[marker + 9] == 1


def test_flow_of_color_lies_beside_the_frames(layout):
    data = nvgesture(layout, layout.parent / "data", modality="flow", short_side=48, workers=1)
    record = data.splits["test"][0]
    assert [len(record[kind]) for kind in ("frames", "flow_x", "flow_y")] == [20, 19, 19]
    color = nvgesture(layout, layout.parent / "data", modality="color", short_side=48, workers=1)
    assert len(color.splits["test"][0]["flow_x"]) == 19  # the same files
    with pytest.raises(InputError, match="dis or tvl1"):
        nvgesture(layout, layout.parent / "data", modality="flow", flow="none")


def test_the_official_lists_have_the_official_counts(shared_data, tmp_path):
    (tmp_path / "Video_data").mkdir()
    for name in LISTS:
        shutil.copy(shared_data / "nvgesture" / name, tmp_path)
    listing = read_listing(tmp_path, "color")
    assert {part: len(items) for part, items in listing.parts.items()} == listing.official
    assert listing.official == {"train": 1050, "test": 482}
    folder_label = [
        int(item.name[6:8]) - 1 != item.label for part in listing.parts.values() for item in part
    ]
    assert sum(folder_label) == 23
    every = [item for part in listing.parts.values() for item in part]
    assert {item.stop - item.start for item in every} == {80}
    subjects = [
        {re.search(r"subject(\d+)_", item.name)[1] for item in part}
        for part in listing.parts.values()
    ]
    assert not subjects[0] & subjects[1]
    depth = read_listing(tmp_path, "depth").parts["train"]
    differ = [
        d.name for c, d in zip(listing.parts["train"], depth, strict=True) if c.start != d.start
    ]
    assert len(differ) == 4


def test_real_depth_recordings_by_lists_of_the_users(shared_data, tmp_path, capsys):
    source = shared_data / "nvgesture"
    lines = (source / f"{LISTS[0][:-4]}_mini.lst").read_text().splitlines()
    for name, chosen in (("train.lst", lines[0:2]), ("test.lst", lines[48:50])):
        (tmp_path / name).write_text("\n".join(chosen))
    lists = (str(tmp_path / "train.lst"), str(tmp_path / "test.lst"))
    options = ["--modality", "depth", "--lists", *lists, "--short-side", "60", "--workers", "1"]
    run = ["nvgesture", "--source", str(source), "--cache_dir", str(tmp_path / "data"), *options]
    assert status_of(main, run) == 0
    assert "train: 2 videos of 2 listed\n" in capsys.readouterr().out
    data = nvgesture(source, tmp_path / "data", modality="depth", lists=lists, short_side=60)
    record = data.splits["test"][1]
    assert (len(record["frames"]), record["label"]) == (80, 24)
    assert decode_picture(record["frames"][0]).shape == (60, 80, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (line(1, "subject3_r0", 12, 11, 26), "line 1 has the label 26; expected 1 to 25"),
        (line(1, "subject3_r0", 12, 11, 0), "line 1 has the label 0"),
        ("path:./Video_data/class_01/subject3_r0 label:1", "line 1 is .* expected path:"),
        (line(1, "subject3_r0", 12, 11, 1, frames=0), "the range 12:12 of color holds no frame"),
        (line(1, "../../x", 12, 11, 1), "leads out of"),
        (line(1, "subject3_r0", 2, 2, 1) * 2, "line 2 lists .* a second time; the first is .* 1"),
        ("", "is empty"),
    ],
)
def test_faulty_lists_are_explained(layout, text, message):
    (layout / LISTS[0]).write_text(text)
    with pytest.raises(InputError, match=message):
        read_listing(layout, "color")


def test_absent_and_short_recordings_are_named(layout, capsys):
    (layout / "Video_data/class_25/subject5_r1/sk_color.avi").unlink()
    (layout / LISTS[0]).write_text(line(1, "subject3_r0", 30, 30, 1))
    folder = str(layout.parent / "data")
    run = ["nvgesture", "--source", str(layout), "--cache_dir", folder, "--workers", "1"]
    assert status_of(main, run) == 1
    report = capsys.readouterr().out
    assert (
        "1 video is missing: unpack all parts of nvGesture_v1.7z\n    class_25/subject5" in report
    )
    assert "has 40 frames; 30 to 49 are asked for" in report
    assert "train: 0 videos of 1 listed, official 1050" in report


def test_a_folder_too_deep_is_explained(layout, tmp_path):
    (tmp_path / "outer").mkdir()
    shutil.move(layout, tmp_path / "outer" / "nvGesture_v1")
    with pytest.raises(InputError, match=r"one folder too deep: give .*nvGesture_v1 as the source"):
        read_listing(tmp_path / "outer", "color")
    with pytest.raises(InputError, match=r"give .*nvGesture_v1 as the source"):
        read_listing(tmp_path / "outer" / "nvGesture_v1" / "Video_data", "color")
    videos = tmp_path / "outer" / "nvGesture_v1" / "Video_data"
    shutil.move(videos, tmp_path / "inner")
    shutil.move(tmp_path / "inner", videos / "Video_data")
    with pytest.raises(InputError, match="holds a second folder Video_data"):
        read_listing(videos.parent, "color")


def test_other_frames_of_a_prepared_recording_are_refused(layout):
    folder = layout.parent / "data"
    nvgesture(layout, folder, modality="depth", short_side=48, workers=1)
    (layout / "other.lst").write_text(line(1, "subject3_r0", 12, 3, 3))
    other = nvgesture(
        layout, folder, modality="depth", lists=("other.lst", LISTS[1]), short_side=48, workers=1
    )
    with pytest.raises(InputError, match="was prepared with start 11, stop 31, but start 3, stop"):
        other.splits["train"][0]


@pytest.mark.parametrize("file", ["/etc/passwd", "../sk_color", "..", ".", "a\\b", ".hidden", ""])
def test_a_file_name_that_leads_out_of_the_folder_is_refused(layout, file):
    text = line(1, "subject3_r0", 2, 2, 1).replace("color:sk_color", f"color:{file}")
    (layout / LISTS[0]).write_text(text)
    with pytest.raises(InputError, match="is no name of a file in the recording's folder"):
        read_listing(layout, "color")


@pytest.mark.parametrize("digits", [10, 5000])
def test_numbers_of_too_many_digits_are_one_line(layout, digits, capsys):
    (layout / LISTS[0]).write_text(line(1, "subject3_r0", 2, 2, 1).replace("color:2", "1" * digits))
    folder = str(layout.parent / "data")
    assert status_of(main, ["nvgesture", "--source", str(layout), "--cache_dir", folder]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert len(error) < 600


def test_a_recording_of_both_lists_is_refused(layout):
    (layout / LISTS[1]).write_text(line(1, "SUBJECT3_r0", 30, 30, 3))
    with pytest.raises(InputError, match="must be listed once, to train on or to test on"):
        read_listing(layout, "color")


def test_deeper_folders_other_endings_and_twins_of_macos(layout):
    videos = layout / "Video_data"
    shutil.move(videos / "class_01", layout / "moved")
    shutil.move(layout / "moved", videos / "class_01" / "class_01")
    take = videos / "class_25" / "subject5_r1"
    (take / "sk_color.avi").rename(take / "SK_color.MP4")
    (take / "._sk_color.avi").write_bytes(b"\0\5\x16\7")
    data = nvgesture(
        layout, layout.parent / "data", modality="color", flow="none", short_side=48, workers=1
    )
    assert shown(data.splits["train"][0]) == list(range(12, 32))
    assert shown(data.splits["test"][0]) == list(range(5, 25))
