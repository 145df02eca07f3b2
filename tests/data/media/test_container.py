"""Videos that are whole though their header says otherwise, and videos that are not."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from small_videos import numbered_pictures, write_video

from prernn_jax.data.media.video import read_frames
from prernn_jax.errors import InputError

av = pytest.importorskip("av")

CODECS = {"avi": "mpeg4", "mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx"}


def moving(count):
    """Noise that moves, so that a file is larger than its index."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return [np.roll(ground, k, axis=1) for k in range(count)]


def write_timed(path, times, codec, b_frames=0, gop=12, pixels="yuv420p"):
    """A video whose picture k is shown at times[k] / 25 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = b_frames, gop
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        for time, picture in zip(times, moving(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


def count(path):
    return len(list(read_frames(path)))


@pytest.mark.parametrize("seconds", [0.2, 1.2, 2.2])
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_frames_that_an_edit_list_hides_are_not_missed(tmp_path, ending, seconds):
    whole = write_timed(tmp_path / "whole.mp4", range(60), "libx264", b_frames=3, gop=12)
    cut = tmp_path / f"cut.{ending}"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        shift = int(seconds / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                target.mux(packet)
    assert count(cut) == 60 - round(25 * seconds)


@pytest.mark.parametrize("ending", CODECS)
@pytest.mark.parametrize("times", [range(0, 80, 2), [k * k // 8 for k in range(8, 48)]])
def test_variable_rates_are_whole(tmp_path, ending, times):
    times = sorted(set(times))
    assert count(write_timed(tmp_path / f"a.{ending}", times, CODECS[ending])) == len(times)


@pytest.mark.parametrize("written", [0, 7, 10**6])
def test_the_count_in_a_header_is_not_believed(tmp_path, written):
    path = write_timed(tmp_path / "a.avi", range(30), "mpeg4")
    data = bytearray(path.read_bytes())
    for tag, place in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        start = data.index(tag) + place
        assert struct.unpack("<I", data[start : start + 4]) == (30,)
        data[start : start + 4] = struct.pack("<I", written)
    path.write_bytes(data)
    assert count(path) == 30


@pytest.mark.parametrize("kept", [0.4, 0.6, 0.8])
@pytest.mark.parametrize("ending", CODECS)
def test_a_truncated_file_is_found_in_every_container(tmp_path, ending, kept):
    path = write_timed(tmp_path / f"a.{ending}", range(60), CODECS[ending])
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(InputError, match=r"truncated"):
        count(path)


WITHOUT_INDEX = {"mpg": "mpeg2video", "ts": "mpeg2video", "flv": "flv", "wmv": "wmv2", "gif": "gif"}


@pytest.mark.parametrize("ending", WITHOUT_INDEX)
def test_formats_without_an_index_are_whole_or_found_truncated(tmp_path, ending):
    pixels = "rgb8" if ending == "gif" else "yuv420p"
    path = write_timed(tmp_path / f"a.{ending}", range(40), WITHOUT_INDEX[ending], pixels=pixels)
    assert count(path) == 40
    data = path.read_bytes()
    for kept in (0.4, 0.6, 0.8):
        path.write_bytes(data[: int(kept * len(data)) | 1])
        with pytest.raises(InputError, match="truncated"):
            count(path)


def test_a_file_whose_rest_was_never_written_is_found(tmp_path):
    """As a download that reserved the space first leaves it."""
    path = write_timed(tmp_path / "a.avi", range(60), "mpeg4")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(InputError, match="nothing can be read behind byte"):
        count(path)


def test_a_recording_that_was_never_closed_is_read(tmp_path):
    path = write_timed(tmp_path / "a.avi", range(30), "mpeg4")
    data = bytearray(path.read_bytes())
    data[4:8] = bytes(4)
    movi = data.index(b"movi")
    data[movi - 4 : movi] = bytes(4)
    path.write_bytes(data[: data.index(b"idx1")])
    assert count(path) == 30


TURNS = {  # the container's matrix a, b, c, d -> what is done to the picture
    (1, 0, 0, 1): lambda p: p,
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),  # by 90 degrees clockwise, as telephones write
    (-1, 0, 0, -1): lambda p: np.rot90(p, 2),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
}


@pytest.mark.parametrize("matrix", TURNS)
def test_pictures_are_turned_as_the_container_says(tmp_path, matrix):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = 250
    path = turned(tmp_path, picture, matrix)
    (shown, *_) = read_frames(path)
    expected = TURNS[matrix](picture)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 8


def test_a_picture_turned_by_another_angle_is_refused(tmp_path):
    path = turned(tmp_path, numbered_pictures(1)[0], (0.7, 0.7, -0.7, 0.7))
    with pytest.raises(InputError, match="turned by -45 degrees; expected a multiple of 90"):
        count(path)


def turned(folder, picture, matrix):
    """An MP4 of one picture that is to be shown turned."""
    path = write_video(folder / "a.mp4", [picture] * 3, codec="libx264")
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    assert data[start : start + 4] == struct.pack(">i", 1 << 16)
    a, b, c, d = (round(value * (1 << 16)) for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def test_a_cover_picture_is_not_the_video(tmp_path):
    """Downloads carry their cover as a stream of one picture, which may stand first."""
    with av.open(str(tmp_path / "covered.mkv"), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        film = container.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        pictures = [(cover, np.zeros((16, 16, 3), np.uint8)), *((film, p) for p in moving(12))]
        for stream, picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        for stream in (cover, film):
            container.mux(stream.encode(None))
    assert {p.shape for p in read_frames(tmp_path / "covered.mkv")} == {(48, 64, 3)}
    assert count(tmp_path / "covered.mkv") == 12


@pytest.mark.parametrize("name", ["take:1.mp4", "concat:a.mp4", "data:b.mp4", "a%03d.mp4", "-.mp4"])
def test_a_name_is_no_protocol(tmp_path, monkeypatch, name):
    """FFmpeg takes what stands before a colon for a protocol."""
    write_video(tmp_path / "film.mp4", moving(5)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert count(Path(name)) == 5
