"""Reading videos: real files, files that are no videos, and a missing PyAV."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prernn_jax.data.media.flow import compute_flow, dequantise
from prernn_jax.data.media.video import read_frames
from prernn_jax.data.prepared.clip_files import ClipFiles, Recipe
from prernn_jax.data.prepared.folder import prepare_files, prepared_path
from prernn_jax.data.prepared.lists import Listed
from prernn_jax.data.records import decode_picture
from prernn_jax.errors import InputError

av = pytest.importorskip("av")


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small MPEG-4 AVI of a bright square that moves 2 pixels a frame."""

    def write(name: str = "square.avi", frames: int = 8) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        ground = rng.integers(40, 90, (48, 64, 3), dtype=np.uint8)
        square = rng.integers(150, 250, (20, 20, 3), dtype=np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.bit_rate = 4_000_000
            for k in range(frames):
                picture = ground.copy()
                picture[14:34, 10 + 2 * k : 30 + 2 * k] = square
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture)):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return write


def test_frames_come_in_order_and_at_the_wanted_size(make_video):
    frames = np.stack(list(read_frames(make_video())))
    assert frames.shape == (8, 48, 64, 3)
    bright = (frames.mean(axis=-1) > 120).sum(axis=1)  # (8, W)
    middles = [np.average(np.arange(64), weights=row) for row in bright]
    np.testing.assert_allclose(np.diff(middles), 2.0, atol=0.3)
    small = list(read_frames(make_video(), short_side=24))
    assert small[0].shape == (24, 32, 3)


def test_a_real_video_is_read(shared_data):
    video = shared_data / "ucf101/UCF-101/BaseballPitch/v_BaseballPitch_g01_c01.avi"
    frames = list(read_frames(video, short_side=60))
    assert len(frames) == 107
    assert frames[0].shape == (60, 80, 3)


def prepare_clips(
    folder: Path, listed: list[Listed], recipe: Recipe, workers: int | None = 1
) -> None:
    prepare_files(folder, listed, recipe.write, recipe.facts, workers)


def test_prepared_video_holds_frames_and_flow(make_video, tmp_path):
    item = Listed(make_video(), 4, "Class/square")
    recipe = Recipe("dis", short_side=48)
    prepare_clips(tmp_path / "out", [item], recipe)
    record = ClipFiles(tmp_path / "out", [item], recipe)[0]
    assert record["label"] == record["spatial_label"] == 4
    assert [len(record[k]) for k in ("frames", "flow_x", "flow_y")] == [8, 7, 7]
    frames = np.stack(list(read_frames(item.video)))
    stored = np.stack([decode_picture(record["frames"][k]) for k in range(8)])
    assert np.abs(stored.astype(int) - frames.astype(int)).mean() < 12.0  # JPEG, coloured noise
    flow = compute_flow(frames)
    for kind, axis in (("flow_x", 0), ("flow_y", 1)):
        kept = np.stack([dequantise(decode_picture(record[kind][k], gray=True)) for k in range(7)])
        assert np.abs(kept - flow[..., axis]).mean() < 0.3


def test_preparation_goes_on_where_it_stopped(make_video, tmp_path, capsys):
    recipe = Recipe("none", short_side=48)
    first = Listed(make_video("one.avi"), 0, "a/one")
    second = Listed(make_video("two.avi", 5), 1, "a/two")
    prepare_clips(tmp_path / "out", [first], recipe)
    written = prepared_path(tmp_path / "out", first).stat().st_mtime_ns
    prepare_clips(tmp_path / "out", [first, second], recipe)
    assert prepared_path(tmp_path / "out", first).stat().st_mtime_ns == written
    assert "2 of 2 videos" in capsys.readouterr().err
    records = ClipFiles(tmp_path / "out", [first, second], recipe)
    assert [len(records[k]["frames"]) for k in range(2)] == [8, 5]
    assert len(records[0]["flow_x"]) == 0


def test_a_failure_leaves_no_file_and_keeps_the_finished_ones(make_video, tmp_path):
    good = Listed(make_video("good.avi"), 0, "a/good")
    short = Listed(make_video("short.avi", 1), 0, "a/short")
    with pytest.raises(InputError, match=r"short\.avi has 1 frame"):
        prepare_clips(tmp_path / "out", [good, short], Recipe("dis", 48), workers=1)
    assert [p.name for p in (tmp_path / "out" / "a").iterdir()] == ["good.array_record"]


def test_flow_of_two_algorithms_does_not_mix(make_video, tmp_path):
    item = Listed(make_video(), 0, "a/one")
    prepare_clips(tmp_path / "out", [item], Recipe("none", 48))
    with pytest.raises(InputError, match="prepared with flow none, but flow tvl1 is wanted"):
        ClipFiles(tmp_path / "out", [item], Recipe("tvl1", 48))[0]


def test_unreadable_videos_are_named(make_video, tmp_path):
    bad = tmp_path / "bad.avi"
    with pytest.raises(InputError, match=r"no video .*bad\.avi"):
        list(read_frames(bad))
    bad.write_bytes(b"")
    with pytest.raises(InputError, match=r"bad\.avi is empty"):
        list(read_frames(bad))
    bad.write_text("These are words and not a video.\n" * 20)
    with pytest.raises(InputError, match=r"bad\.avi cannot be decoded"):
        list(read_frames(bad))
    whole = make_video().read_bytes()
    bad.write_bytes(whole[:4000])  # the header and no whole frame
    with pytest.raises(InputError, match=r"bad\.avi"):
        list(read_frames(bad))


def test_a_truncated_video_is_not_a_sample(shared_data, tmp_path):
    whole = (shared_data / "ucf101/UCF-101/BaseballPitch/v_BaseballPitch_g01_c01.avi").read_bytes()
    bad = tmp_path / "half.avi"
    bad.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half\.avi is truncated after \d+ frames: it ends at"):
        list(read_frames(bad))
    with pytest.raises(InputError, match="truncated"):
        prepare_clips(tmp_path / "out", [Listed(bad, 0, "a/half")], Recipe("none", 48))
    assert not list((tmp_path / "out" / "a").iterdir())


def test_a_missing_decoder_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'prernn-jax\[video\]'"):
        list(read_frames(tmp_path / "any.avi"))
