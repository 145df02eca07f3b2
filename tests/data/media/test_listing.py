"""Which files are data: hidden ones are not, other endings and deeper folders are."""

import pytest

from prernn_jax.data.media.listing import (
    VIDEOS,
    find_folder,
    find_video,
    frame_number,
    not_too_deep,
    numbered_files,
    videos_by_class,
    visible_below,
    why_absent,
    without_ending,
)
from prernn_jax.errors import InputError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hidden_files_and_the_twins_of_macos_are_never_listed(tmp_path):
    touch(tmp_path / "a/b.avi", tmp_path / "a/._b.avi", tmp_path / ".git/c.avi")
    touch(tmp_path / "@eaDir/d.avi", tmp_path / "a/Thumbs.db", tmp_path / "$RECYCLE.BIN/e.avi")
    touch(tmp_path / "._000001.pts", tmp_path / "000001.pts", tmp_path / ".DS_Store")
    assert [p.name for p in visible_below(tmp_path)] == ["000001.pts", "b.avi"]
    assert list(videos_by_class(tmp_path)) == ["a/b"]
    assert list(numbered_files(tmp_path, (".pts",))) == [1]
    assert find_video(tmp_path / "a", "._b.avi") is None


@pytest.mark.parametrize("ending", [*VIDEOS, ".AVI", ".Mp4"])
def test_videos_of_any_ending_are_found(tmp_path, ending):
    touch(tmp_path / "Walk" / f"v_a.b(c){ending}", tmp_path / "Walk" / "v_a.txt")
    (video,) = videos_by_class(tmp_path).values()
    assert videos_by_class(tmp_path) == {"walk/v_a.b(c)": video}
    assert find_video(tmp_path / "Walk", "V_a.b(c).avi") == video
    assert find_video(tmp_path / "Walk", "v_a.b(c)") == video


def test_of_several_files_the_named_one_and_the_least_deep_is_taken(tmp_path):
    touch(tmp_path / "walk/x.mkv", tmp_path / "walk/x.avi", tmp_path / "walk/walk/x.avi")
    assert videos_by_class(tmp_path)["walk/x"] == tmp_path / "walk/x.avi"
    assert find_video(tmp_path / "walk", "x.mkv").name == "x.mkv"
    assert find_video(tmp_path / "walk", "x.mp4").name == "x.avi"
    assert without_ending("a.b.MP4") == "a.b"
    assert without_ending("a.b") == "a.b"


def test_folders_one_too_deep(tmp_path):
    touch(tmp_path / "Video_data/class_01/class_01/s_r0/s_r0/sk.avi", tmp_path / "001/001/vid.avi")
    found = find_folder(tmp_path, ("Video_data", "class_01", "s_r0"))
    assert found == tmp_path / "Video_data/class_01/class_01/s_r0"
    assert find_folder(tmp_path, ("Video_data", "class_02")) is None
    assert not_too_deep(tmp_path / "001") == tmp_path / "001/001"
    touch(tmp_path / "001/other.txt")
    assert not_too_deep(tmp_path / "001") == tmp_path / "001"


def test_what_is_there_in_place_of_a_video_is_named(tmp_path):
    touch(tmp_path / "walk.rar", tmp_path / "wave/x.h264", tmp_path / "turn/y/000001.jpg")
    assert "walk.rar is there: unpack it" in why_absent(tmp_path, "walk", "x.avi")
    assert "x.h264, no video" in why_absent(tmp_path, "wave", "x.avi")
    assert "turn/y, a folder" in why_absent(tmp_path, "turn", "y.avi")
    assert why_absent(tmp_path, "jump", "x.avi") == ""


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("000001.jpg", 1),
        ("frame000001.jpg", 1),
        ("img_00012.png", 12),
        ("7.pts", 7),
        ("00000000000000000003.jpg", 3),
        ("0.jpg", 0),
        ("cover.jpg", None),
        ("1a.jpg", None),
        ("\u0663.jpg", None),
    ],
)
def test_numbers_of_frames(tmp_path, name, number):
    assert frame_number(tmp_path / name) == number


def test_pictures_are_sorted_by_number_and_no_number_comes_twice(tmp_path):
    touch(*(tmp_path / name for name in ("img10.jpg", "img9.jpg", "img8.JPEG", "notes.txt")))
    assert list(numbered_files(tmp_path, (".jpg", ".jpeg"))) == [8, 9, 10]
    touch(tmp_path / "frame0009.jpg")
    with pytest.raises(InputError, match=r"frame0009.jpg and img9.jpg, two files for frame 9"):
        numbered_files(tmp_path, (".jpg",))
    touch(tmp_path / "deep" / f"{'1' * 200}.jpg")
    with pytest.raises(InputError, match=r"numbered 111111111... \(200 digits\)"):
        numbered_files(tmp_path / "deep", (".jpg",))
