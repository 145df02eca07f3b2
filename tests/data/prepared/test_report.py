"""What a preparation reports: counts first, each name once, short unless all names are wanted."""

import json
import re

import pytest
from command_line import status_of

from prernn_jax.data.prepare import main

pytest.importorskip("av")


@pytest.fixture
def subset(shared_data, tmp_path):
    """The real lists of UCF101, and folders in which 8 of the 13,320 videos lie."""
    source = tmp_path / "ucf"
    source.mkdir()
    (source / "ucfTrainTestlist").symlink_to(shared_data / "ucf101" / "ucfTrainTestlist")
    videos = sorted((shared_data / "ucf101_clips" / "UCF-101").glob("*/*.avi"))
    for video in videos[:8]:
        place = source / "UCF-101" / video.parent.name
        place.mkdir(parents=True, exist_ok=True)
        (place / video.name).symlink_to(video)
    return source, videos[:8]


@pytest.mark.slow
def test_a_subset_of_ucf101_is_reported_in_a_few_lines(subset, tmp_path, capsys):
    source, videos = subset
    run = ["ucf101", "--source", str(source), "--cache_dir", str(tmp_path / "cache")]
    run += ["--flow", "none", "--short_side", "64"]
    assert status_of(main, run) == 1
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert len(lines) < 20
    counts = [int(n) for n in re.findall(r"^  t\w+: (\d+) videos of \d+ listed", shown, re.M)]
    assert sum(counts) == len(videos)
    assert re.search(r"^  train: \d videos of 9537 listed, official 9537$", shown, re.M)
    assert re.search(r"of 101 classes 0 are complete, \d are in part, \d+ have no video", shown)
    for kind in {video.parent.name for video in videos}:
        assert re.search(rf"{kind} \d/\d+", shown)
    assert f"  {13320 - len(videos)} videos are missing: unpack all of UCF101.rar" in lines
    report = json.loads(next((tmp_path / "cache").rglob("report.json")).read_text())
    (missing,) = report["missing"]
    assert len(set(missing["videos"])) == len(missing["videos"]) == 13320 - len(videos)

    assert status_of(main, [*run, "--all_names"]) == 1
    everything = capsys.readouterr().out
    for name in missing["videos"][::500]:
        assert len(re.findall(rf"{name}$", everything, re.M)) == 1
    assert len(everything.splitlines()) < 13320 + 200


def test_each_fault_is_one_line_without_the_path(subset, tmp_path, capsys):
    source, _ = subset
    for video in sorted((source / "UCF-101").glob("*/*.avi"))[:3]:
        video.unlink()
        video.write_bytes(b"no video")
    run = ["ucf101", "--source", str(source), "--cache_dir", str(tmp_path / "cache")]
    assert status_of(main, [*run, "--flow", "none", "--short_side", "64"]) == 1
    shown = capsys.readouterr().out
    assert "3 videos cannot be used as listed" in shown
    faults = [line for line in shown.splitlines() if "cannot be decoded" in line]
    assert len(faults) == 3
    assert not any(str(source) in line for line in faults)


def test_the_old_name_of_the_cache_still_works(subset, tmp_path):
    source, _ = subset
    for name in ("--data_dir", "--data-dir"):
        run = ["ucf101", "--source", str(source), name, str(tmp_path / name), "--flow", "none"]
        assert status_of(main, [*run, "--limit", "1", "--allow_missing"]) == 0
        assert (tmp_path / name / "ucf101").is_dir()
