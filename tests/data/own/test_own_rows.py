"""Own videos: folders and lists of every form, the split, and what is wrong in one line."""

from pathlib import Path

import pytest
from small_videos import named_files

from prernn_jax.data.own.rows import read_rows
from prernn_jax.data.own.split import group_of, listing_of, split_rows, table_of
from prernn_jax.errors import InputError


def parts_of(rows, seed=1):
    return {p: sorted(r.name for r in found) for p, found in split_rows(rows, seed).items()}


def test_class_folders_are_split_by_groups(tmp_path):
    names = [f"{kind}/v_{kind}_g{g:02}_c{c}.avi" for kind in ("run", "jump")
             for g in range(8) for c in (1, 2)]  # fmt: skip
    rows = read_rows(named_files(tmp_path, *names, "run/notes.txt", "readme.md"))
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
    named_files(
        tmp_path, "train/a/1.mp4", "train/b/1.mov", "val/a/1.webm", "val/b/2.mkv", "test/a/1.gif"
    )
    assert parts_of(read_rows(tmp_path)) == {
        "test": ["test/a/1"],
        "train": ["train/a/1", "train/b/1"],
        "validation": ["validation/a/1", "validation/b/2"],
    }


def test_nested_folders_are_groups(tmp_path):
    named_files(
        tmp_path, *(f"{kind}/{who}/{n}.mp4" for kind in "ab" for who in ("x", "y") for n in "12")
    )
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
    named_files(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4")
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
    named_files(tmp_path / "videos", "some dir/a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "train.csv").write_text("/data/other/videos/some dir/a.mp4 10\nvideos/b.mp4 2\n")
    (tmp_path / "val.txt").write_text("videos/c.mp4 2\n")
    parts = split_rows(read_rows(tmp_path, tmp_path), 1)
    listing = listing_of(parts)
    assert listing.classes == ("2", "10")
    assert [item.label for item in listing.parts["train"]] == [1, 0]
    assert all(item.fault is None for items in listing.parts.values() for item in items)


def test_parts_of_one_video(tmp_path):
    named_files(tmp_path, "film.mp4")
    text = "path,label,split,start,end\nfilm.mp4,a,train,0,10\nfilm.mp4,b,test,10,\n"
    (tmp_path / "list.csv").write_text(text)
    first, second = read_rows(tmp_path / "list.csv")
    assert (first.start, first.stop, second.start, second.stop) == (0, 10, 10, None)
    assert first.name != second.name


def test_a_missing_file_is_a_fault_that_names_its_line(tmp_path):
    named_files(tmp_path, "1.mp4")
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
    source = named_files(tmp_path, *files)
    if text is not None:
        source = Path(tmp_path / "list.csv")
        source.write_text(text)
    with pytest.raises(InputError, match=message):
        split_rows(read_rows(source), 1)


def test_there_is_no_such_source(tmp_path):
    with pytest.raises(InputError, match="there is no such folder or list"):
        read_rows(tmp_path / "absent")


def test_one_film_of_a_class_is_divided_with_a_note(tmp_path, capsys):
    named_files(tmp_path, "a/v1_1.mp4", "a/v1_2.mp4", "b/v1_1.mp4", "b/v2_1.mp4")
    parts = split_rows(read_rows(tmp_path), 1)
    assert {len(found) for found in parts.values()} == {2}
    assert "all videos of a are of one film" in capsys.readouterr().err
