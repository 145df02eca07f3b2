"""Preparation in shards: by two processes at once, killed, merged when all are there."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import status_of
from small_videos import numbered_pictures, write_video

from prernn_jax.data.action.datasets import hmdb51
from prernn_jax.data.prepare import main
from prernn_jax.data.prepared.folder import locked

pytest.importorskip("av")

VIDEOS = 9


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """HMDB51 with one action, five videos to train and four to test on."""
    folder = tmp_path / "hmdb"
    lists = folder / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    names = [f"v{k}.avi" for k in range(VIDEOS)]
    for k, name in enumerate(names):
        write_video(folder / "hmdb51_org/wave" / name, numbered_pictures(3 + k))
    lines = [f"{name} {1 + k % 2} " for k, name in enumerate(names)]
    (lists / "wave_test_split1.txt").write_text("\n".join(lines))
    return folder


def flags(source: Path, *more: str) -> list[str]:
    cache = ["--cache_dir", str(source.parent / "cache"), "--short_side", "48", "--workers", "1"]
    return ["hmdb51", "--source", str(source), *cache, *more]


def run(source: Path, *more: str) -> int:
    return status_of(main, flags(source, *more))


def start(source: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "prernn_jax.data.prepare", *flags(source, *more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def prepared(source: Path) -> dict[str, bytes]:
    folder = source.parent / "cache"
    return {path.name: path.read_bytes() for path in folder.rglob("[!.]*.array_record")}


def test_two_processes_prepare_what_one_does(source, capsys):
    both = [start(source, "--shard", f"{k}/2") for k in range(2)]
    shown = [process.communicate(timeout=300)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], shown
    found = prepared(source)
    assert len(found) == VIDEOS
    assert run(source, "--merge", "2") == 0
    assert "all 1 classes are complete" in capsys.readouterr().out
    (index,) = source.parent.rglob("sources.json")
    assert len(json.loads(index.read_text())) == VIDEOS
    data = hmdb51(source, source.parent / "cache", short_side=48)
    assert [len(split) for split in data.splits.values()] == [5, 4]
    for path in source.parent.joinpath("cache").rglob("*.array_record"):
        path.unlink()
    assert run(source) == 0
    assert prepared(source) == found


def test_the_merge_waits_for_all_shards(source, capsys):
    assert run(source, "--shard", "0/3") == 0
    assert run(source, "--shard", "2/3") == 0
    assert run(source, "--merge", "3") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 3 shards of hmdb51 have not finished: 1; run them with --shard i/3" in error
    assert run(source, "--shard", "1/3") == 0
    assert run(source, "--merge", "3") == 0
    (folder,) = source.parent.rglob("shards")
    (folder / "1-of-3.json").write_text("{")  # what a damaged disk leaves
    assert run(source, "--merge", "3") == 2
    assert "have not finished: 1" in capsys.readouterr().err


def test_lists_or_files_that_change_between_the_steps_are_noticed(source, capsys):
    for shard in ("0/2", "1/2"):
        assert run(source, "--shard", shard) == 0
    (gone,) = source.parent.rglob("v3.array_record")
    gone.unlink()
    assert run(source, "--merge", "2") == 2
    assert "1 of 2 shards of hmdb51 have videos whose files are not prepared: 1" in (
        capsys.readouterr().err
    )
    assert run(source, "--shard", "1/2") == 0
    write_video(source / "hmdb51_org/wave/v4.avi", numbered_pictures(30)[20:])
    assert run(source, "--merge", "2") == 2
    assert "not prepared: 0" in capsys.readouterr().err
    assert run(source, "--shard", "0/2") == 0
    assert run(source, "--merge", "2") == 0
    path = source / "testTrainMulti_7030_splits/wave_test_split1.txt"
    path.write_text(path.read_text().replace("v8.avi 1", "v8.avi 0"))
    assert run(source, "--merge", "2") == 2
    assert "2 of 2 shards of hmdb51 have read other lists: 0, 1" in capsys.readouterr().err


def test_faults_are_told_by_the_shard_and_by_the_merge(source, capsys):
    (source / "hmdb51_org/wave/v1.avi").write_text("no video")
    (source / "hmdb51_org/wave/v2.avi").unlink()
    assert run(source, "--shard", "0/2") == 1
    assert "v2.avi, which is not in" in capsys.readouterr().out
    assert run(source, "--shard", "1/2") == 1
    assert run(source, "--merge", "2") == 1
    shown = capsys.readouterr().out
    assert "1 video is missing: unpack all of wave.rar\n    wave/v2" in shown
    assert "wave/v1: cannot be decoded" in shown
    assert run(source, "--merge", "2", "--allow_missing") == 0
    assert len(hmdb51(source, source.parent / "cache", short_side=48).splits["train"]) == 4


def test_a_shard_that_is_at_work_is_not_disturbed(source, capsys):
    assert run(source, "--shard", "0/2", "--limit", "1") == 0
    cache = source.parent / "cache"
    (recipe,) = cache.rglob("recipe.json")
    remains = [recipe.parent / f"wave/.{name}.1.tmp.array_record" for name in ("v0", "v1")]
    for path in remains:
        path.write_bytes(b"half")
    lock = cache / f".hmdb51-{recipe.parent.name}.shard-1-of-2.lock"
    with locked(lock):
        for options, message in (
            (["--shard", "1/2"], "shard 1/2 of hmdb51 is at work in another process"),
            (["--shard", "0/3"], "shards of another number than 3 of hmdb51 are at work"),
            ([], "1 shards of hmdb51 are at work"),
        ):
            assert run(source, *options) == 2
            assert message in capsys.readouterr().err
        assert run(source, "--shard", "0/2") == 0
        assert [path.exists() for path in remains] == [False, True]  # the other one's stays
    assert run(source) == 0
    assert not remains[1].exists()


@pytest.mark.slow
def test_a_killed_shard_goes_on(source):
    for k in range(20, 60):
        name = f"v{k}.avi"
        write_video(source / "hmdb51_org/wave" / name, numbered_pictures(40, 240, 320))
        with (source / "testTrainMulti_7030_splits/wave_test_split1.txt").open("a") as file:
            file.write(f"\n{name} 1 ")
    for _ in range(2):
        process = start(source, "--shard", "0/2")
        before = len(prepared(source))
        while len(prepared(source)) == before:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.communicate()
    done = {p: p.stat().st_mtime_ns for p in source.parent.rglob("[!.]*.array_record")}
    assert run(source, "--merge", "2") == 2
    for shard in ("0/2", "1/2"):
        assert run(source, "--shard", shard) == 0
    assert run(source, "--merge", "2") == 0
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert not list(source.parent.rglob(".*.tmp*"))


@pytest.mark.parametrize("text", ["2/2", "0", "0/0", "-1/2", "1/2/3", "a/b", "", "9" * 5000 + "/1"])
def test_impossible_shards_are_refused(source, capsys, text):
    assert run(source, f"--shard={text}") == 2
    error = capsys.readouterr().err
    assert "expected i/N with i from 0 to N - 1" in error
    assert len(error) < 400
    assert not os.path.exists(source.parent / "cache")
