"""Preparation by several processes, stopped and started again, and where nothing can be written."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import status_of
from small_videos import numbered_pictures, write_video

from prernn_jax.data.action.datasets import ucf101
from prernn_jax.data.prepare import main
from prernn_jax.data.prepared import clip_files, sources
from prernn_jax.data.prepared.clip_files import ClipFiles, Recipe
from prernn_jax.data.prepared.folder import prepare_files, prepared_path
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.prepared.lists import Listed, Listing
from prernn_jax.data.records import decode_picture
from prernn_jax.errors import InputError

pytest.importorskip("av")


def videos(folder: Path, count: int, frames: int = 6) -> list[Listed]:
    return [
        Listed(write_video(folder / f"{k}.avi", numbered_pictures(frames + k)), k, f"a/{k}")
        for k in range(count)
    ]


def prepare(folder: Path, listed: list[Listed], recipe: Recipe, workers: int = 1) -> None:
    prepare_files(folder, listed, recipe.write, recipe.facts, workers)


def make_ucf101(
    source: Path, count: int, size: tuple[int, int] = (48, 64), frames: int = 6
) -> Path:
    """An official layout whose videos are noise, which fills disks."""
    rng = np.random.default_rng(0)
    lists = source / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 Noise\n")
    names = [f"Noise/v_Noise_g01_c{k:02d}.avi" for k in range(count)]
    other = "Noise/v_Noise_g02_c00.avi"
    for name in [*names, other]:
        pictures = rng.integers(0, 256, (6, *size, 3), dtype=np.uint8)
        write_video(source / "UCF-101" / name, list(pictures))
    (lists / "trainlist01.txt").write_text("\n".join(names))
    (lists / "testlist01.txt").write_text(other)
    return source


def brightness(data) -> int:
    return round((float(np.mean(decode_picture(data["frames"][0]))) - 10) / 5)


def listed_files(folder: Path, items: list[Listed], **changes) -> ListedFiles:
    listing = Listing(("a",), {"train": items}, {})
    return ListedFiles("small", listing, folder, Recipe("none", 48, **changes))


def first_frames(folder: Path, items: list[Listed]) -> list[int]:
    """Prepares the videos and tells their first frames by their brightness."""
    files = listed_files(folder, items)
    files.prepare(workers=1)
    source = ClipFiles(files.folder, files.usable()["train"], files.recipe)
    return [brightness(source[k]) for k in range(len(source))]


def from_frame(folder: Path, firsts: list[int]) -> list[Listed]:
    return [
        Listed(write_video(folder / f"a/{k}.avi", numbered_pictures(6 + n)[n:]), 0, f"a/{k}")
        for k, n in enumerate(firsts)
    ]


def test_a_second_folder_of_the_same_names_is_not_served_by_the_first(tmp_path, capsys):
    one, two = from_frame(tmp_path / "one", [0, 3]), from_frame(tmp_path / "two", [20, 30])
    assert first_frames(tmp_path / "data", one) == [0, 3]
    assert first_frames(tmp_path / "data", two) == [20, 30]
    lines = [line for line in capsys.readouterr().err.splitlines() if "other files" in line]
    assert len(lines) == 1
    assert lines[0].startswith("2 of 2 prepared videos of small were made from other files")


def test_what_has_changed_is_prepared_again_and_nothing_else(tmp_path):
    items = from_frame(tmp_path / "one", [0, 3])
    assert first_frames(tmp_path / "data", items) == [0, 3]
    folder = tmp_path / "data" / "small" / "none-48px-q95"
    before = prepared_path(folder, items[0]).stat().st_mtime_ns
    clips = ClipFiles(folder, items, Recipe("none", 48))
    digest = clips.digest()  # of what is computed from them, such as features
    (folder / "sources.json").unlink()  # as after a kill: the prepared files say it themselves
    assert clips.digest() == digest
    write_video(items[1].video, numbered_pictures(40)[30:])
    for _ in range(2):
        assert first_frames(tmp_path / "data", items) == [0, 30]
        assert prepared_path(folder, items[0]).stat().st_mtime_ns == before
        assert clips.digest() != digest


def test_a_source_that_moved_or_was_copied_is_not_prepared_again(tmp_path, monkeypatch):
    items = from_frame(tmp_path / "one", [0, 3])
    first_frames(tmp_path / "data", items)
    (tmp_path / "one").rename(tmp_path / "other")
    moved = [replace(i, video=tmp_path / "other" / f"{i.name}.avi") for i in items]
    os.utime(moved[0].video, (1, 1))
    monkeypatch.setattr(Recipe, "write", None)
    assert first_frames(tmp_path / "data", moved) == [0, 3]
    monkeypatch.setattr(sources, "content_digest", None)  # remembered: not read a second time
    assert first_frames(tmp_path / "data", moved) == [0, 3]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a/0": 3}', '{"a/0": {"path": 1}}'])
def test_a_damaged_index_only_costs_time(tmp_path, content):
    items = from_frame(tmp_path / "one", [0])
    first_frames(tmp_path / "data", items)
    (tmp_path / "data/small/none-48px-q95/sources.json").write_text(content)
    assert first_frames(tmp_path / "data", items) == [0]


def test_a_video_that_was_left_out_is_tried_again_when_it_has_changed(tmp_path):
    items = from_frame(tmp_path / "one", [0, 3])
    whole = items[1].video.read_bytes()
    items[1].video.write_text("no video")
    files, faults = listed_files(tmp_path / "data", items), {}
    files.prepare(1, faults)
    files.leave_out(faults)
    assert list(files.left_out()) == ["a/1"]
    assert first_frames(tmp_path / "data", items) == [0]
    items[1].video.write_bytes(whole)
    assert first_frames(tmp_path / "data", items) == [0, 3]
    (files.folder / "left_out.json").write_text("{")
    with pytest.raises(InputError, match=r"left_out.json is damaged or of an older version"):
        first_frames(tmp_path / "data", items)


def kill_this_process(item: Listed, target: Path) -> None:
    os._exit(1)


def test_processes_write_what_one_writes(tmp_path):
    listed, recipe = videos(tmp_path, 3), Recipe("dis", 48)
    prepare(tmp_path / "one", listed, recipe)
    prepare(tmp_path / "two", listed, recipe, workers=2)
    for item in listed:
        one, two = (prepared_path(tmp_path / name, item).read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.slow
def test_a_process_that_dies_is_explained(tmp_path):
    listed = videos(tmp_path, 2)
    with pytest.raises(InputError, match="a process that prepares videos was killed"):
        prepare_files(tmp_path / "out", listed, kill_this_process, {}, workers=2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_preparation_goes_on(tmp_path, number):
    source, data = make_ucf101(tmp_path / "ucf", 30, (240, 320)), tmp_path / "data"
    options = ["ucf101", "--source", str(source), "--cache_dir", str(data)]
    command = [sys.executable, "-m", "prernn_jax.data.prepare", *options, "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    while not list(data.rglob("[!.]*.array_record")):
        assert process.poll() is None
        time.sleep(0.02)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.kill()
    error = process.communicate(timeout=30)[1].decode()  # ends when the workers have ended
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error.splitlines()[-1].startswith("stopped: nothing is left half-written; the same")
    before = {path: path.stat().st_mtime_ns for path in data.rglob("[!.]*.array_record")}
    assert 1 <= len(before) < 30
    assert status_of(main, [*options, "--limit", str(len(before) + 1), "--workers", "1"]) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert not list(data.rglob(".*.tmp*"))


def test_flow_of_two_versions_of_opencv_is_not_mixed(tmp_path, monkeypatch):
    listed = videos(tmp_path, 2)
    prepare(tmp_path / "out", listed[:1], Recipe("dis", 48))
    facts = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert facts["flow"] == "dis"
    assert facts["bound"] == 20.0
    assert facts["opencv"] == clip_files.OPENCV
    monkeypatch.setattr(clip_files, "OPENCV", "9.9")
    with pytest.raises(InputError, match=r"prepared with opencv .*, but opencv 9\.9 is wanted"):
        prepare(tmp_path / "out", listed, Recipe("dis", 48))
    ClipFiles(tmp_path / "out", listed[:1], Recipe("dis", 48))[0]  # can still be read
    prepare(tmp_path / "other", listed[1:], Recipe("dis", 48))
    other = prepared_path(tmp_path / "other", listed[1])
    other.rename(prepared_path(tmp_path / "out", listed[1]))
    with pytest.raises(InputError, match=r"a/1\.array_record was prepared with opencv 9\.9"):
        ClipFiles(tmp_path / "out", listed, Recipe("dis", 48))[1]


@pytest.mark.parametrize("content", [None, b"", b"no record", "half"])
def test_a_damaged_prepared_file_is_named(tmp_path, content):
    (item,), recipe = videos(tmp_path, 1), Recipe("none", 48)
    prepare(tmp_path / "out", [item], recipe)
    path = prepared_path(tmp_path / "out", item)
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(InputError, match=r"a/0\.array_record is absent or damaged; delete it"):
        ClipFiles(tmp_path / "out", [item], recipe)[0]


def test_a_full_disk_is_explained_and_leaves_no_half_file(tmp_path, small_disk, capsys):
    source = make_ucf101(tmp_path / "ucf", 3, (240, 320))
    options = ["--flow", "none", "--short-side", "240", "--workers", "1"]
    run = ["ucf101", "--source", str(source), "--cache_dir", str(small_disk), *options]
    assert status_of(main, run) == 2
    assert "the disk is full" in (error := capsys.readouterr().err)
    assert "what is finished stays" in error
    assert not list(small_disk.rglob(".*.tmp*"))
    done = [path.stem for path in small_disk.rglob("*.array_record")]
    assert done == ["v_Noise_g01_c00"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    source = make_ucf101(tmp_path / "ucf", 1)
    (tmp_path / "file").write_text("in the folder's place")
    run = ["ucf101", "--source", str(source), "--cache_dir", str(tmp_path / "file")]
    assert status_of(main, [*run, "--workers", "1"]) == 2
    assert f"ucf101 cannot be written to {tmp_path / 'file'}" in capsys.readouterr().err


def test_a_read_only_disk_is_named_and_can_be_read(tmp_path, small_disk, capsys):
    source = make_ucf101(tmp_path / "ucf", 2)
    options = ["--flow", "none", "--short-side", "48", "--workers", "1"]
    run = ["ucf101", "--source", str(source), "--cache_dir", str(small_disk), *options]
    assert status_of(main, [*run, "--limit", "1"]) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    capsys.readouterr()
    assert status_of(main, run) == 2
    assert "Read-only file system" in capsys.readouterr().err
    (source / "ucfTrainTestlist/trainlist01.txt").write_text("Noise/v_Noise_g01_c00.avi\n")
    data = ucf101(source, small_disk, flow="none", short_side=48)
    assert len(data.splits["train"][0]["frames"]) == 6


def test_prepared_data_may_lie_in_the_source(tmp_path):
    source = make_ucf101(tmp_path / "ucf101", 1)
    for _ in range(2):
        assert len(ucf101(source, source, short_side=48, workers=1).splits["test"]) == 1


def test_no_flipped_bit_of_a_prepared_file_is_served(tmp_path):
    items, rng = from_frame(tmp_path / "one", [0]), np.random.default_rng(0)
    first_frames(tmp_path / "data", items)
    path = prepared_path(tmp_path / "data/small/none-48px-q95", items[0])
    whole = path.read_bytes()

    def read() -> list[bytes]:
        record = ClipFiles(path.parent.parent, items, Recipe("none", 48))[0]
        return [record["frames"][k] for k in range(len(record["frames"]))]

    truth, messages = read(), []
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for place in rng.choice(used, 100, replace=False):
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            assert read() == truth  # what is altered is not read: an index, a spare copy
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(f"{path} is absent or damaged; delete it" in message for message in messages)
    assert not any("\n" in message for message in messages)
    path.unlink()
    with pytest.raises(InputError, match="absent or damaged"):
        read()
