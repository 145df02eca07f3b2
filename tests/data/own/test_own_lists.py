"""Own lists as spreadsheets and other systems write them, and names that mislead."""

import os
import subprocess
import sys
import unicodedata

import pytest
from small_videos import named_files

from prernn_jax.data.own.rows import read_rows
from prernn_jax.data.own.split import listing_of, split_rows
from prernn_jax.errors import InputError

LINES = [("path", "label"), *((f"{kind}/{n}.mp4", kind) for kind in "ab" for n in range(2))]


@pytest.mark.parametrize(
    ("sign", "quote", "end"),
    [(";", "", "\n"), ("\t", "", "\r\n"), (",", '"', "\n"), (";", '"', "\r\n"), (",", "", "\r")],
)
def test_csv_files_of_other_programs(tmp_path, sign, quote, end):
    """Semicolons and tabs, quoted words, line ends of other systems, blank lines before all."""
    named_files(tmp_path, *(path for path, _ in LINES[1:]))
    text = end.join(sign.join(f"{quote}{word}{quote}" for word in line) for line in LINES)
    (tmp_path / "list.csv").write_bytes(f"{end}{end}{text}{end}".encode())
    rows = read_rows(tmp_path / "list.csv")
    assert [(row.label, row.video.is_file()) for row in rows] == [
        (kind, True) for kind in "ab" for _ in range(2)
    ]


@pytest.mark.parametrize("head", ["", ".\\", "C:\\Users\\x\\", "\\\\server\\share\\"])
def test_paths_of_windows(tmp_path, head):
    named_files(tmp_path, "a/1.mp4", "b/2.mp4", r"c\3.mp4")
    text = f"path,label\n{head}a\\1.mp4,a\n{head}b\\2.mp4,b\n"
    (tmp_path / "list.csv").write_text(text)
    rows = read_rows(tmp_path / "list.csv")
    assert [row.video.read_text() for row in rows] == ["a/1.mp4", "b/2.mp4"]
    (tmp_path / "list.csv").write_text(f"{text}c\\3.mp4,b\n")
    assert read_rows(tmp_path / "list.csv")[2].video == tmp_path / r"c\3.mp4"  # such a name exists


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_letters_that_macos_writes_as_two_signs(tmp_path, forms):
    here, there = (unicodedata.normalize(form, "caf\u00e9") for form in forms)
    named_files(tmp_path, f"{here}/1.mp4", f"{here}/2.mp4", "b/1.mp4", "b/2.mp4")
    text = f"path,label\n{there}/1.mp4,{here}\n{there}/2.mp4,{there}\nb/1.mp4,b\nb/2.mp4,b\n"
    (tmp_path / "list.csv").write_text(text)
    listing = listing_of(split_rows(read_rows(tmp_path / "list.csv"), 1))
    assert listing.classes == ("b", "caf\u00e9")
    assert all(item.fault is None for items in listing.parts.values() for item in items)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_labels_of_equal_value_keep_their_order(tmp_path, seed):
    """A set has another order in each process; the numbers of the classes must not."""
    named_files(tmp_path, *(f"{label}/{n}.mp4" for label in ("1", "01", "001") for n in range(2)))
    program = (
        "import sys; from pathlib import Path; from prernn_jax.data.own.rows import read_rows;"
        "from prernn_jax.data.own.split import listing_of, split_rows;"
        "print(*listing_of(split_rows(read_rows(Path(sys.argv[1])), 1)).classes)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    hashed = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, env=hashed, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["001", "01", "1"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("train/Run/1.mp4", "train/b/1.mp4", "test/run/2.mp4", "test/b/2.mp4"),
         "there are the classes 'Run' and 'run'; if they are one, give them one name"),
        (("a/1\n2.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"), "cannot be printed; rename the file"),
        (("a\x1b[2J/1.mp4", "a/2.mp4", "b/1.mp4"), "cannot be printed; rename the file"),
    ],
)  # fmt: skip
def test_names_that_cannot_be_told_apart_or_printed(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        read_rows(named_files(tmp_path, *files))


def test_folders_of_parts_by_other_names(tmp_path):
    named_files(
        tmp_path, "train_set/a/1.mp4", "train_set/b/1.mp4", "Test-Data/a/2.mp4", "Test-Data/b/2.mp4"
    )
    assert set(split_rows(read_rows(tmp_path), 1)) == {"train", "test"}


def test_a_folder_and_a_path_without_end_in_a_list(tmp_path):
    named_files(tmp_path, "a/1.mp4", "b/2.mp4")
    (tmp_path / "list.csv").write_text("path,label,split\na,a,train\nb/2.mp4,b,test\n")
    (item,) = listing_of(split_rows(read_rows(tmp_path / "list.csv"), 1)).parts["train"]
    assert item.fault is not None
    assert item.fault.endswith("/a, a folder; expected a video file")
    (tmp_path / "list.csv").write_text(f"path,label\n{'deep/' * 900}1.mp4,a\nb/2.mp4,b\n")
    with pytest.raises(InputError, match=r"line 2: 'deep/deep.* is no path of a file"):
        read_rows(tmp_path / "list.csv")
