"""Own data whose test would show what was trained on: refused, or not divided at all."""

import shutil

import pytest
from moved_face import write_pts
from small_faces import five_points, write_csv, write_takes
from small_videos import named_files, write_video

from prernn_jax.data.face.datasets import own_faces
from prernn_jax.data.own import leaks
from prernn_jax.data.own.rows import read_rows
from prernn_jax.data.own.split import split_rows, table_of
from prernn_jax.errors import InputError


@pytest.fixture
def takes(tmp_path):
    return write_takes(tmp_path / "faces")


@pytest.mark.parametrize(
    "line",
    [
        "1.mp4,a,test,,",
        "./1.mp4,a,test,,",
        "1.mp4,b,test,,",
        "link.mp4,a,test,,",
        "1.mp4,a,val,3,9",
    ],
)
def test_frames_in_two_parts_are_refused(tmp_path, line):
    """Even under another name or label, or as a part of the video."""
    named_files(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "1.mp4")
    head = "path,label,split,start,end\n1.mp4,a,train,0,6\n2.mp4,b,train,,\n3.mp4,b,test,,\n"
    (tmp_path / "list.csv").write_text(head + line + "\n")
    with pytest.raises(InputError, match=r"is in .*, and frames of it are in .* too"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)


@pytest.mark.parametrize("name", ["2.mp4", "b/1.mp4", "other.avi"])
def test_a_copy_under_another_name_is_refused(tmp_path, name):
    named_files(tmp_path, *"1234")
    for number in "1234":
        (tmp_path / number).rename(tmp_path / f"film{number}.mp4")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / "film1.mp4", tmp_path / name)
    head = "path,label,split\nfilm1.mp4,a,train\nfilm2.mp4,b,train\nfilm3.mp4,b,test\n"
    (tmp_path / "list.csv").write_text(f"{head}film4.mp4,a,test\n")
    assert len(split_rows(read_rows(tmp_path / "list.csv"), 1)["test"]) == 2
    (tmp_path / "list.csv").write_text(f"{head}{name},a,test\n")
    with pytest.raises(InputError, match=r"is in train, and frames of it are in test too .*line 5"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)
    (tmp_path / "list.csv").write_text(f"{head}film4.mp4,a,test\n{name},a,train\n")
    split_rows(read_rows(tmp_path / "list.csv"), 1)  # both copies are trained on


def test_only_files_of_one_size_are_read(tmp_path, monkeypatch):
    named_files(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "test/a/333.mp4", "test/b/4.mp4")
    (tmp_path / "train/b/2.mp4").write_bytes(b"as long as 4.mp4")
    (tmp_path / "test/b/4.mp4").write_bytes(b"but other bytes!")
    read = []
    monkeypatch.setattr(leaks, "_digest", lambda files: read.extend(files) or str(files))
    split_rows(read_rows(tmp_path), 1)
    assert sorted(path.name for path in read) == ["2.mp4", "4.mp4"]


def test_one_group_in_two_parts_is_refused(tmp_path):
    named_files(tmp_path, *(f"{n}.mp4" for n in range(4)))
    head = "path,label,split,group\n0.mp4,a,train,ann\n1.mp4,b,train,bob\n2.mp4,a,test,cat\n"
    (tmp_path / "list.csv").write_text(f"{head}3.mp4,b,test,ann\n")
    with pytest.raises(InputError, match=r"line 2: the group 'ann' is in train, and in .*line 5"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)
    (tmp_path / "list.csv").write_text(f"{head}3.mp4,b,test,\n")
    assert len(split_rows(read_rows(tmp_path / "list.csv"), 1)["test"]) == 2


def test_a_person_of_several_classes_is_not_divided(tmp_path):
    """Said by a column or by folders; the split that was drawn can be given again."""
    people = ("ann", "bob", "cat")
    names = [f"{kind}/{who}/{n}.mp4" for kind in "abc" for who in people for n in range(2)]
    named_files(tmp_path, *names)
    for seed in range(9):
        parts = split_rows(read_rows(tmp_path), seed)
        people = {part: {row.group for row in rows} for part, rows in parts.items()}
        assert not people["train"] & people["test"]
        assert {row.label for row in parts["test"]} == set("abc")
        (tmp_path / "split.csv").write_text(table_of(parts))
        again = split_rows(read_rows(tmp_path / "split.csv"), 1)
        assert [row.video for row in again["test"]] == [row.video for row in parts["test"]]


def test_groups_that_leave_a_class_nothing_to_test(tmp_path):
    named_files(tmp_path, *(f"{n}.mp4" for n in range(6)))
    groups = ["a,ann", "a,bob", "b,bob", "b,cat", "c,ann", "c,cat"]
    lines = "\n".join(f"{number}.mp4,{text}" for number, text in enumerate(groups))
    (tmp_path / "list.csv").write_text(f"path,label,group\n{lines}\n")
    with pytest.raises(InputError, match=r"no group that can be tested on: .* path,label,split"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)


def test_parts_of_one_film_are_one_group(tmp_path):
    named_files(tmp_path, *(f"film{n}.mp4" for n in range(4)))
    lines = [f"film{n}.mp4,{kind},{10 * k},{10 * k + 10}" for n in range(4)
             for k, kind in enumerate("abab")]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(["path,label,start,end", *lines]))
    parts = split_rows(read_rows(tmp_path / "list.csv"), 1)
    films = {part: {row.video.name for row in rows} for part, rows in parts.items()}
    assert not films["train"] & films["test"]
    assert len(parts["test"]) == 4


def test_a_class_unpacked_one_folder_too_deep_is_no_group(tmp_path):
    named_files(tmp_path, *(f"{kind}/{kind}/{n}.mp4" for kind in "ab" for n in range(4)))
    assert {len(rows) for rows in split_rows(read_rows(tmp_path), 1).values()} == {2, 6}


def test_a_video_in_two_parts(takes, tmp_path):
    lines = ["path,split", "ann/take1,train", "ann/take1,test", "bob/take1,test"]
    (tmp_path / "faces/list.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"line 2: take1 is in train, and frames of it are in"):
        own_faces(tmp_path / "faces/list.csv", tmp_path / "cache")


@pytest.mark.parametrize("film", [False, True])
def test_a_copied_face_in_two_parts(takes, tmp_path, film):
    folder = tmp_path / "parts"
    for name, part in (("ann/take1", "train"), ("bob/take1", "test")):
        shutil.copytree(tmp_path / "faces" / name, folder / part / "one")
        if film:
            shutil.rmtree(folder / part / "one")
            write_video(folder / part / "one.mp4", five_points(6, len(part))[0])
            write_pts(folder / part / "one/000001.pts", takes[name][0])
    own_faces(folder, tmp_path / "cache", workers=1)
    shutil.copytree(folder / "train/one", folder / "test/two")
    if film:
        shutil.copy(folder / "train/one.mp4", folder / "test/two.mp4")
    with pytest.raises(InputError, match=r"one.* is in train, and .* in test too .*two"):
        own_faces(folder, tmp_path / "cache", workers=1)


def test_a_person_in_two_parts(takes, tmp_path):
    folder = tmp_path / "faces"
    write_csv(folder / "marks.csv", takes)
    text = [line.split(",", 1) for line in (folder / "marks.csv").read_text().splitlines()]
    for people, message in (("abc", None), ("aba", "group 'a' is in train, and in test too")):
        lines = [f"path,split,group,{text[0][1]}"]
        for n, (path, rest) in enumerate(text[1:]):
            take = n * len(takes) // (len(text) - 1)
            lines.append(f"{path},{'test' if take == 2 else 'train'},{people[take]},{rest}")
        (folder / "marks2.csv").write_text("\n".join(lines))
        if message is None:
            own_faces(folder / "marks2.csv", tmp_path / "cache", workers=1)
            continue
        with pytest.raises(InputError, match=message):
            own_faces(folder / "marks2.csv", tmp_path / "cache", workers=1)
