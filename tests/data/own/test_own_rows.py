"""Own videos: folders and lists of every form, the split, and what is wrong in one line."""

import shutil
from pathlib import Path

import pytest

from prernn_jax.data.own import leaks
from prernn_jax.data.own.rows import read_rows
from prernn_jax.data.own.split import group_of, listing_of, split_rows, table_of
from prernn_jax.errors import InputError


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)  # no two videos are the same
    return folder


def parts_of(rows, seed=1):
    return {p: sorted(r.name for r in found) for p, found in split_rows(rows, seed).items()}


def test_class_folders_are_split_by_groups(tmp_path):
    names = [f"{kind}/v_{kind}_g{g:02}_c{c}.avi" for kind in ("run", "jump")
             for g in range(8) for c in (1, 2)]  # fmt: skip
    rows = read_rows(make(tmp_path, *names, "run/notes.txt", "readme.md"))
    assert len(rows) == 32
    parts = split_rows(rows, 1)
    assert {name: len(found) for name, found in parts.items()} == {"train": 24, "test": 8}
    groups = {p: {group_of(r) for r in found} for p, found in parts.items()}
    assert not groups["train"] & groups["test"]
    assert parts_of(rows) == parts_of(read_rows(tmp_path))
    assert parts_of(rows, 2) != parts_of(rows, 1)
    listing = listing_of(parts)
    assert listing.classes == ("jump", "run")


def test_parts_as_folders(tmp_path):
    make(tmp_path, "train/a/1.mp4", "train/b/1.mov", "val/a/1.webm", "val/b/2.mkv", "test/a/1.gif")
    assert parts_of(read_rows(tmp_path)) == {
        "test": ["test/a/1"],
        "train": ["train/a/1", "train/b/1"],
        "validation": ["validation/a/1", "validation/b/2"],
    }


def test_nested_folders_are_groups(tmp_path):
    make(tmp_path, *(f"{kind}/{who}/{n}.mp4" for kind in "ab" for who in ("x", "y") for n in "12"))
    rows = read_rows(tmp_path)
    assert {row.group for row in rows} == {"x", "y"}
    assert {len(found) for found in split_rows(rows, 1).values()} == {4}


@pytest.mark.parametrize(
    "text",
    [
        "path,label,split\na/1.mp4,run,train\na/2.mp4,jump,train\nb/1.mp4,run,val\n",
        "label,split,path\nrun,train,a/1.mp4\njump,training,a/2.mp4\nrun,test,b/1.mp4\n",
    ],
)
def test_a_csv_with_a_split(tmp_path, text):
    make(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4")
    (tmp_path / "list.csv").write_text(text)
    parts = split_rows(read_rows(tmp_path / "list.csv"), 1)
    assert {p: [r.label for r in found] for p, found in parts.items()} == {
        "train": ["run", "jump"], "test": ["run"]
    }  # fmt: skip
    listing = listing_of(parts)
    assert all(item.fault is None for items in listing.parts.values() for item in items)
    again = tmp_path / "split.csv"
    again.write_text(table_of(parts))
    same = split_rows(read_rows(again), 1)
    assert {p: [r.video for r in found] for p, found in same.items()} == {
        p: [r.video for r in found] for p, found in parts.items()
    }


def test_lists_of_pytorchvideo_and_mmaction2(tmp_path):
    make(tmp_path / "videos", "some dir/a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "train.csv").write_text("/data/other/videos/some dir/a.mp4 10\nvideos/b.mp4 2\n")
    (tmp_path / "val.txt").write_text("videos/c.mp4 2\n")
    parts = split_rows(read_rows(tmp_path, tmp_path), 1)
    listing = listing_of(parts)
    assert listing.classes == ("2", "10")
    assert [item.label for item in listing.parts["train"]] == [1, 0]
    assert all(item.fault is None for items in listing.parts.values() for item in items)


def test_parts_of_one_video(tmp_path):
    make(tmp_path, "film.mp4")
    text = "path,label,split,start,end\nfilm.mp4,a,train,0,10\nfilm.mp4,b,test,10,\n"
    (tmp_path / "list.csv").write_text(text)
    first, second = read_rows(tmp_path / "list.csv")
    assert (first.start, first.stop, second.start, second.stop) == (0, 10, 10, None)
    assert first.name != second.name


def test_a_missing_file_is_a_fault_that_names_its_line(tmp_path):
    make(tmp_path, "1.mp4")
    (tmp_path / "list.csv").write_text("path,label,split\n1.mp4,a,train\n/x/2.mp4,b,test\n")
    (item,) = listing_of(split_rows(read_rows(tmp_path / "list.csv"), 1)).parts["test"]
    assert item.fault == (
        f"{tmp_path / 'list.csv'} line 3 names /x/2.mp4, which is not there; mend the line, or "
        "give --root, its folder"
    )


@pytest.mark.parametrize(
    ("files", "text", "message"),
    [
        ([], None, "holds no videos; expected SOURCE/<class>/<video>"),
        (["a/1.mp4", "a/2.mp4"], None, "there is only the class 'a'"),
        (["UCF/a/1.mp4", "UCF/b/2.mp4"], None, "if the folders in UCF are the classes, give it"),
        (["a/1.mp4", "a/2.mp4", "b/1.mp4"], None, "the class 'b' has one video; give two or more"),
        (["a/1.mp4", "a/1.avi", "b/1.mp4"], None, "two videos have the name a/1"),
        (["train/a/1.mp4", "train/b/1.mp4"], None, "no video is of the part test"),
        ([], "path,label,split\n1.mp4,a,tarin\n", "the split is 'tarin'; expected train, val"),
        ([], "path,label,color\n1.mp4,a,red\n", "unknown column 'color'"),
        ([], "path,label\n1.mp4\n", "line 2 has 1 values; the header has 2"),
        ([], "path,label\n1.mp4,\n", "line 2 has no path or no label"),
        ([], "path,label,start,end\n1.mp4,a,x,2\n", "start is 'x'; expected the number"),
        ([], "path,label,start,end\n1.mp4,a,5,5\n", "the frames from 5 to before 5 are none"),
        ([], "1.mp4\n", "line 1 is '1.mp4'; expected a path and a label"),
        ([], "path,label,split\n1.mp4,a,train\n2.mp4,b,\n", "has no split, and others have one"),
    ],
)
def test_bad_input(tmp_path, files, text, message):
    source = make(tmp_path, *files)
    if text is not None:
        source = Path(tmp_path / "list.csv")
        source.write_text(text)
    with pytest.raises(InputError, match=message):
        split_rows(read_rows(source), 1)


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
    make(tmp_path, "1.mp4", "2.mp4", "3.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "1.mp4")
    head = "path,label,split,start,end\n1.mp4,a,train,0,6\n2.mp4,b,train,,\n3.mp4,b,test,,\n"
    (tmp_path / "list.csv").write_text(head + line + "\n")
    with pytest.raises(InputError, match=r"is in .*, and frames of it are in .* too"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)


@pytest.mark.parametrize("name", ["2.mp4", "b/1.mp4", "other.avi"])
def test_a_copy_under_another_name_is_refused(tmp_path, name):
    make(tmp_path, *"1234")
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
    make(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "test/a/333.mp4", "test/b/4.mp4")
    (tmp_path / "train/b/2.mp4").write_bytes(b"as long as 4.mp4")
    (tmp_path / "test/b/4.mp4").write_bytes(b"but other bytes!")
    read = []
    monkeypatch.setattr(leaks, "_digest", lambda files: read.extend(files) or str(files))
    split_rows(read_rows(tmp_path), 1)
    assert sorted(path.name for path in read) == ["2.mp4", "4.mp4"]


def test_one_group_in_two_parts_is_refused(tmp_path):
    make(tmp_path, *(f"{n}.mp4" for n in range(4)))
    head = "path,label,split,group\n0.mp4,a,train,ann\n1.mp4,b,train,bob\n2.mp4,a,test,cat\n"
    (tmp_path / "list.csv").write_text(f"{head}3.mp4,b,test,ann\n")
    with pytest.raises(InputError, match=r"line 2: the group 'ann' is in train, and in .*line 5"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)
    (tmp_path / "list.csv").write_text(f"{head}3.mp4,b,test,\n")
    assert len(split_rows(read_rows(tmp_path / "list.csv"), 1)["test"]) == 2


def test_a_person_of_several_classes_is_not_divided(tmp_path):
    """Said by a column or by folders; the split that was drawn can be given again."""
    make(tmp_path, *(f"{kind}/{who}/{n}.mp4" for kind in "abc" for who in ("ann", "bob", "cat")
                     for n in range(2)))  # fmt: skip
    for seed in range(9):
        parts = split_rows(read_rows(tmp_path), seed)
        people = {part: {row.group for row in rows} for part, rows in parts.items()}
        assert not people["train"] & people["test"]
        assert {row.label for row in parts["test"]} == set("abc")
        (tmp_path / "split.csv").write_text(table_of(parts))
        again = split_rows(read_rows(tmp_path / "split.csv"), 1)
        assert [row.video for row in again["test"]] == [row.video for row in parts["test"]]


def test_groups_that_leave_a_class_nothing_to_test(tmp_path):
    make(tmp_path, *(f"{n}.mp4" for n in range(6)))
    groups = ["a,ann", "a,bob", "b,bob", "b,cat", "c,ann", "c,cat"]
    lines = "\n".join(f"{number}.mp4,{text}" for number, text in enumerate(groups))
    (tmp_path / "list.csv").write_text(f"path,label,group\n{lines}\n")
    with pytest.raises(InputError, match=r"no group that can be tested on: .* path,label,split"):
        split_rows(read_rows(tmp_path / "list.csv"), 1)


def test_parts_of_one_film_are_one_group(tmp_path):
    make(tmp_path, *(f"film{n}.mp4" for n in range(4)))
    lines = [f"film{n}.mp4,{kind},{10 * k},{10 * k + 10}" for n in range(4)
             for k, kind in enumerate("abab")]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(["path,label,start,end", *lines]))
    parts = split_rows(read_rows(tmp_path / "list.csv"), 1)
    films = {part: {row.video.name for row in rows} for part, rows in parts.items()}
    assert not films["train"] & films["test"]
    assert len(parts["test"]) == 4


def test_a_class_unpacked_one_folder_too_deep_is_no_group(tmp_path):
    make(tmp_path, *(f"{kind}/{kind}/{n}.mp4" for kind in "ab" for n in range(4)))
    assert {len(rows) for rows in split_rows(read_rows(tmp_path), 1).values()} == {2, 6}


def test_there_is_no_such_source(tmp_path):
    with pytest.raises(InputError, match="there is no such folder or list"):
        read_rows(tmp_path / "absent")


def test_one_film_of_a_class_is_divided_with_a_note(tmp_path, capsys):
    make(tmp_path, "a/v1_1.mp4", "a/v1_2.mp4", "b/v1_1.mp4", "b/v2_1.mp4")
    parts = split_rows(read_rows(tmp_path), 1)
    assert {len(found) for found in parts.values()} == {2}
    assert "all videos of a are of one film" in capsys.readouterr().err
