"""UCF101: the official lists, the official layout with two real videos, and its faults."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from prernn_jax.data.action.datasets import ucf101
from prernn_jax.data.action.loader import eval_loader
from prernn_jax.data.action.ucf101 import read_classes, read_listing
from prernn_jax.errors import InputError

EYES, PITCH = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01", "BaseballPitch/v_BaseballPitch_g01_c01"
LATER = "BaseballPitch/v_BaseballPitch_g02_c01"


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An official layout with three empty videos and lists that name them."""
    source = tmp_path / "source"
    for name in (EYES, PITCH, LATER):
        video = source / "UCF-101" / f"{name}.avi"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.write_bytes(b"")
    lists = source / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_bytes(b"1 ApplyEyeMakeup\r\n2 BaseballPitch\r\n")
    (lists / "trainlist01.txt").write_bytes(f"{EYES}.avi 1\r\n{PITCH}.avi 2\r\n".encode())
    (lists / "testlist01.txt").write_bytes(f"{LATER}.avi\r\n".encode())
    return source


def test_lists_give_videos_labels_and_names(layout):
    assert read_classes(layout) == ("ApplyEyeMakeup", "BaseballPitch")
    train, test = read_listing(layout, 1).parts.values()
    assert [(item.label, item.name) for item in train] == [(0, EYES), (1, PITCH)]
    assert [(item.label, item.name) for item in test] == [(1, LATER)]
    assert train[0].video.is_file()


def test_the_official_lists_have_the_official_counts(shared_data, tmp_path):
    """With a file for each of the 13,320 names; the archive writes Handstand with a small s."""
    lists = shared_data / "ucf101" / "ucfTrainTestlist"
    shutil.copytree(lists, tmp_path / "ucfTrainTestlist")
    assert len(read_classes(tmp_path)) == 101
    for part in ("train", "test"):
        for line in (lists / f"{part}list01.txt").read_text().split("\n"):
            name = line.split(" ")[0].strip().replace("v_HandStand", "v_Handstand")
            if name:
                video = tmp_path / "UCF-101" / name
                video.parent.mkdir(parents=True, exist_ok=True)
                video.touch()
    counts = [(9537, 3783), (9586, 3734), (9624, 3696)]
    for split, (train, test) in enumerate(counts, start=1):
        listed = read_listing(tmp_path, split).parts
        assert not any(item.fault for part in listed.values() for item in part)
        assert (len(listed["train"]), len(listed["test"])) == (train, test)
        videos = {item.video for part in listed.values() for item in part}
        assert len(videos) == 13320
        assert {item.label for item in listed["test"]} == set(range(101))


def test_two_real_videos_become_batches(shared_data, tmp_path):
    real = shared_data / "ucf101"
    for name in (EYES, PITCH):
        video = tmp_path / "UCF-101" / f"{name}.avi"
        video.parent.mkdir(parents=True)
        for link in (video, video.with_name(video.name.replace("g01", "g02"))):
            link.symlink_to(real / "UCF-101" / f"{name}.avi")
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    shutil.copy(real / "ucfTrainTestlist" / "classInd.txt", lists)
    text = f"{EYES}.avi 1\n{PITCH}.avi 7\n"
    (lists / "trainlist01.txt").write_text(text)
    (lists / "testlist01.txt").write_text(text.replace("g01", "g02"))
    data = ucf101(tmp_path, tmp_path / "cache", stack=3, size=48, short_side=60, workers=1)
    assert len(data.classes) == 101
    assert (data.stack, data.size) == (3, 48)
    loader = eval_loader(
        data.splits["test"], stream="temporal", batch_size=2, steps=4, stack=3, crop=48
    )
    (batch,) = loader
    assert batch["clips"].shape == (2, 4, 48, 48, 6)
    np.testing.assert_array_equal(batch["labels"], [0, 6])
    deviation = batch["clips"].astype(np.float32).std(axis=(1, 2, 3, 4))
    assert np.all(deviation > 0.5)  # something moves
    again = ucf101(tmp_path, tmp_path / "cache", stack=3, size=48, short_side=60, workers=1)
    assert again.splits["train"][1]["name"] == PITCH


def test_an_absent_video_is_named_with_list_and_line(layout):
    (layout / "UCF-101" / f"{PITCH}.avi").unlink()
    with pytest.raises(InputError, match=rf"trainlist01\.txt line 2 names {PITCH}\.avi"):
        ucf101(layout, layout.parent / "cache")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("trainlist01.txt", f"{EYES}.avi 2\n", "line 1 gives .* the class 2, but .* says 1"),
        ("trainlist01.txt", f"{EYES}.avi 102\n", "the class 102"),
        ("trainlist01.txt", "Swimming/v_Swimming_g01_c01.avi 3\n", "'swimming' is no class"),
        ("trainlist01.txt", "\n", "is empty"),
        ("trainlist01.txt", f"{EYES}.avi 1\n" * 2, "lists .*g01_c01 twice"),
        ("trainlist01.txt", f"{LATER}.avi 2\n", r"testlist01\.txt lists .*, which trainlist01"),
        ("trainlist01.txt", "ApplyEyeMakeup/../x.avi 1\n", "expected <Class>/<video>"),
        ("trainlist01.txt", f"{EYES}.avi {'9' * 5000}\n", "line 1 has .* expected at most 1000"),
        ("classInd.txt", "2 ApplyEyeMakeup\n", "line 1 is '2 ApplyEyeMakeup'; expected 1"),
    ],
)
def test_faulty_lists_are_explained(layout, name, text, message):
    (layout / "ucfTrainTestlist" / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_listing(layout, 1)


def test_missing_folders_and_lists_are_explained(layout, tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nowhere; expected SOURCE/UCF-101"):
        ucf101(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match=r"no .*trainlist02\.txt"):
        read_listing(layout, 2)
    with pytest.raises(InputError, match="splits 1, 2 and 3, got 4"):
        read_listing(layout, 4)
    shutil.rmtree(layout / "UCF-101")
    with pytest.raises(InputError, match=r"no folder .*UCF-101"):
        read_listing(layout, 1)


def test_an_unreadable_video_is_named(layout, tmp_path):
    with pytest.raises(InputError, match=r"g01_c01\.avi is empty"):
        ucf101(layout, tmp_path / "cache")


def test_an_archive_in_a_folder_of_its_own_is_explained(layout):
    shutil.move(layout / "UCF-101", layout / "inner")
    (layout / "UCF-101").mkdir()
    shutil.move(layout / "inner", layout / "UCF-101" / "UCF-101")
    with pytest.raises(InputError, match=r"move what is in .*UCF-101/UCF-101 to .*UCF-101"):
        read_listing(layout, 1)
    with pytest.raises(InputError, match=rf"one folder too deep: give {layout} as the source"):
        read_listing(layout.parent, 1)


def test_lists_in_a_folder_of_their_own_are_explained(layout):
    shutil.move(layout / "ucfTrainTestlist", layout / "inner")
    (layout / "ucfTrainTestlist").mkdir()
    shutil.move(layout / "inner", layout / "ucfTrainTestlist" / "ucfTrainTestlist")
    with pytest.raises(InputError, match=r"one folder too deep; move what is in .*/ucfTrainTestl"):
        read_listing(layout, 1)


@pytest.mark.parametrize("ending", ["AVI", "mp4", "webm", "mkv", "mov"])
def test_videos_of_another_ending_are_found(layout, ending):
    for name in (EYES, PITCH, LATER):
        video = layout / "UCF-101" / f"{name}.avi"
        video.rename(video.with_suffix(f".{ending}"))
    train, test = read_listing(layout, 1).parts.values()
    assert [item.fault for item in [*train, *test]] == [None] * 3
    assert train[0].video.suffix == f".{ending}"


def test_class_archives_in_folders_of_their_own_are_found(layout):
    deep = layout / "UCF-101" / "BaseballPitch" / "BaseballPitch"
    deep.mkdir()
    for path in (layout / "UCF-101" / "BaseballPitch").glob("*.avi"):
        path.rename(deep / path.name)
    assert read_listing(layout, 1).parts["test"][0].video.parent == deep


def test_extracted_frames_in_place_of_a_video_are_named(layout):
    video = layout / "UCF-101" / f"{PITCH}.avi"
    video.unlink()
    video.with_suffix("").mkdir()
    fault = read_listing(layout, 1).parts["train"][1].fault
    assert "g01_c01, a folder" in fault
