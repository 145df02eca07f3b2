"""A video with what the model sees in it, as an mp4."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prernn_jax.data.face.landmarks import POINTS, draw_landmarks
from prernn_jax.data.media.flow import dequantise, flow_to_color
from prernn_jax.data.media.video import require_decoder
from prernn_jax.data.records import Record, decode_picture
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import replacing
from prernn_jax.predict.outcome import VideoLandmarks, VideoScores

Picture = NDArray[np.uint8]
HEIGHT, PANEL = 288, 352  # pixels
_PAPER, _INK, _FAINT = (24, 26, 31), (240, 240, 240), (120, 124, 132)
_BAR, _FIRST = (0, 114, 178), (230, 159, 0)
_BARS = 5
_FULL_FLOW = 4.0  # pixels a frame that are drawn in full colour


def write_mp4(path: Path, pictures: Iterable[Picture], rate: Fraction) -> None:
    """Encodes pictures (H, W, 3) RGB with even sides as H.264, under a temporary name first.

    Raises:
        InputError: PyAV is not installed, has no H.264, or the file cannot be written.
    """
    require_decoder()
    import av
    import av.error

    try:
        with replacing(path) as temporary, av.open(str(temporary), "w") as container:
            stream: Any = None
            for picture in pictures:
                if stream is None:
                    stream = container.add_stream("libx264", rate=rate)
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"crf": "20", "preset": "veryfast"}
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (OSError, av.error.FFmpegError) as error:
        raise InputError(f"the film {path} cannot be written: {error}") from error


def write_gif(
    path: Path, frames: Sequence[Picture], milliseconds: int | Sequence[int] = 200
) -> None:
    """Writes frames (H, W, 3) as an animated GIF that repeats for ever.

    Args:
        path: The GIF.
        frames: One or more pictures of one size.
        milliseconds: How long each is shown; one number or one for each.
    """
    first, *rest = [Image.fromarray(frame).quantize(64) for frame in frames]
    times: Any = milliseconds if isinstance(milliseconds, int) else list(milliseconds)
    with replacing(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=rest, duration=times, loop=0)


def over_frames(found: VideoScores) -> NDArray[np.float64]:
    """The probabilities at each frame (N, K): of the last step of each sequence that has begun.

    Before the first step has begun they are those of the first.
    """
    total = np.zeros((found.frames, len(found.classes)))
    for rows, places in zip(found.windows, found.places, strict=True):
        last = np.searchsorted(places, np.arange(found.frames), side="right") - 1
        total += np.asarray(rows, np.float64)[np.maximum(last, 0)]
    return total / len(found.windows)


def scores_film(
    found: VideoScores, frames: Iterable[Picture], flow: Record | None = None
) -> Iterator[Picture]:
    """Beside each frame the likeliest classes as bars, and the probability of the first over time.

    Args:
        found: What the model sees.
        frames: The video's pictures (H, W, 3).
        flow: The prepared record of a model of flow; its flow is drawn into the picture.
    """
    over_time = over_frames(found)
    order = np.argsort(-found.scores, kind="stable")[:_BARS]
    for number, picture in enumerate(frames):
        left = _sized(picture)
        if flow is not None and number:
            _inset(left, flow, number - 1)
        panel = _panel(found, over_time, order, number)
        yield np.concatenate([left, panel], axis=1)


def landmarks_film(found: VideoLandmarks, frames: Iterable[Picture]) -> Iterator[Picture]:
    """The landmarks and the square that the network saw, drawn into each frame."""
    for number, picture in enumerate(frames):
        shown = _sized(picture)
        scale = np.array([shown.shape[1] / picture.shape[1], shown.shape[0] / picture.shape[0]])
        points = (found.landmarks[number] + 0.5) * scale - 0.5  # (P, 2)
        corners = np.rint((found.boxes[number].reshape(2, 2) + 0.5) * scale - 0.5).astype(int)
        cv2.rectangle(shown, corners[0].tolist(), corners[1].tolist(), _FAINT, 1)
        if len(points) == POINTS:
            draw_landmarks(shown, (points + 0.5) / len(shown) - 0.5, _FIRST)
        for x, y in np.rint(points).astype(int).tolist():
            cv2.circle(shown, (x, y), 2, _FIRST, -1, cv2.LINE_AA)
        yield shown


def _sized(picture: Picture) -> Picture:
    width = max(2 * round(picture.shape[1] * HEIGHT / picture.shape[0] / 2), 2)
    how = cv2.INTER_AREA if picture.shape[0] > HEIGHT else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, HEIGHT), interpolation=how), np.uint8)


def _inset(picture: Picture, record: Record, pair: int) -> None:
    field = [decode_picture(record[kind][pair], gray=True) for kind in ("flow_x", "flow_y")]
    drawn = flow_to_color(dequantise(np.stack(field, axis=-1)), full=_FULL_FLOW)
    height = HEIGHT // 3
    width = min(round(drawn.shape[1] * height / drawn.shape[0]), picture.shape[1])
    picture[-height:, :width] = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)


def _panel(
    found: VideoScores, over_time: NDArray[np.float64], order: NDArray[np.int64], number: int
) -> Picture:
    sheet = Image.new("RGB", (PANEL, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(sheet)
    write: Callable[..., None] = pen.text
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    row, best = over_time[number], int(found.scores.argmax())
    write((16, 12), f"{found.classes[best]}", _FIRST, large)
    share = f"{100 * found.scores[best]:.0f}% over the whole video"
    write((16, 32), share, _FAINT, small)
    for place, kind in enumerate(order.tolist()):
        top = 58 + 26 * place
        write((16, top), found.classes[kind][:40], _INK, small)
        width = (PANEL - 32) * float(row[kind])
        colour = _FIRST if kind == best else _BAR
        pen.rectangle((16, top + 16, 16 + max(width, 1), top + 20), fill=colour)
    left, right, low, high = 16, PANEL - 16, HEIGHT - 18, HEIGHT - 78
    pen.line((left, low, right, low), _FAINT)
    pen.line((left, high, right, high), (60, 63, 70))
    x = np.linspace(left, right, found.frames) if found.frames > 1 else np.array([left])
    y = low - (low - high) * over_time[:, best]
    curve = list(zip(x[: number + 1].tolist(), y[: number + 1].tolist(), strict=True))
    if len(curve) > 1:
        pen.line(curve, _FIRST, 2)
    write((left, low + 2), f"frame {number + 1} of {found.frames}", _FAINT, small)
    return np.asarray(sheet, np.uint8)
