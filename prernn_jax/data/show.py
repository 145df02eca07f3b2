"""Draws a contact sheet of samples as a network is given them.

prernn show embedded --out sheet.png
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray

from prernn_jax.command import parse, run_command
from prernn_jax.data.action.datasets import (
    embedded_actions,
    hmdb51,
    ucf101,
)
from prernn_jax.data.drawn.gesture_builder import embedded_gestures
from prernn_jax.data.face.datasets import embedded_faces, vw300
from prernn_jax.data.face.landmarks import draw_landmarks
from prernn_jax.data.face.loader import FaceView, read_faces
from prernn_jax.data.face.records import FaceBoxes, read_boxes
from prernn_jax.data.gesture.datasets import Modality, nvgesture
from prernn_jax.data.media.flow import dequantise, flow_to_color
from prernn_jax.data.media.square import turn_flow, turn_pictures
from prernn_jax.data.prepared.clip_files import Flow
from prernn_jax.data.prepared.folder import RENAMED, writable
from prernn_jax.data.records import RandomAccessSource, Record, decode_picture
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_bytes

Shown = tuple[str, NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.uint8] | None]
"""Title, frames (N, H, W, 3), and the flow in x and in y (N - 1, H, W), or None."""


def contact_sheet(samples: Sequence[Shown], path: Path, columns: int = 13) -> None:
    """Writes a PNG with a title, a row of frames and a row of coloured flow for each sample.

    Args:
        samples: What to show; see `Shown`.
        path: The PNG to write.
        columns: Pictures in a row, evenly placed over the clip.
    """
    rows = []
    for title, frames, flow_x, flow_y in samples:
        take = np.linspace(0, len(frames) - 1, columns).round().astype(int)
        height, width = frames.shape[1:3]
        head = np.full((16, columns * width, 3), 255, np.uint8)
        cv2.putText(head, title, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        rows += [head, np.concatenate(list(frames[take]), axis=1)]
        if flow_x is not None and flow_y is not None:
            pairs = np.minimum(take, len(flow_x) - 1)
            flow = np.stack([dequantise(flow_x[pairs]), dequantise(flow_y[pairs])], axis=-1)
            rows.append(np.concatenate(list(flow_to_color(flow, full=4.0)), axis=1))
        rows.append(np.full((4, columns * width, 3), height % 2 + 200, np.uint8))
    wide = max(row.shape[1] for row in rows)  # videos may differ in shape
    margins = [((0, 0), (0, wide - row.shape[1]), (0, 0)) for row in rows]
    sheet = np.concatenate(
        [np.pad(row, m, constant_values=255) for row, m in zip(rows, margins, strict=True)]
    )
    ok, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not ok:
        raise RuntimeError("OpenCV could not write the contact sheet as PNG")
    write_bytes(path, png.tobytes())


DrawnName = Literal["embedded", "stills", "gestures", "poses", "faces", "face_stills"]
OfficialName = Literal["ucf101", "hmdb51", "300vw", "nvgesture"]
GREEN = (90, 220, 90)


@dataclass(frozen=True)
class Show:
    """The flags of `prernn show`.

    Attributes:
        dataset: The data set. embedded, gestures and faces are the drawn ones; stills, poses and
            face_stills are what their stage one trains on.
        out: PNG file to write.
        part: train, test or, for the drawn ones, validation.
        split: Official split of UCF101 or HMDB51.
        count: Number of samples.
        columns: Pictures of each sample, evenly placed over the clip.
        height: Height of a picture on the sheet; by default 64, for faces 128.
        seed: Seed of the choice of samples.
        source: Folder with the official files of UCF101, HMDB51, 300VW or NVGesture.
        cache_dir: Folder for prepared data; $PRERNN_DATA_DIR or ~/.cache/prernn_jax by default.
        flow: Algorithm of the optical flow of UCF101, HMDB51 and NVGesture, or none.
        modality: Sensor of NVGesture; color and flow show both.
        lists: NVGesture: a list to train on and one to test on, in place of the official ones.
        boxes: 300VW: a file of face boxes (prernn_jax.data.face.records).
    """

    dataset: tyro.conf.Positional[DrawnName | OfficialName]
    out: Path = Path("sheet.png")
    part: str = "train"
    split: Literal[1, 2, 3] = 1
    count: int = 10
    columns: int = 13
    height: int | None = None
    seed: int = 0
    source: Path | None = None
    cache_dir: Path | None = None
    flow: Flow = "dis"
    modality: Modality = "color"
    lists: tuple[str, str] | None = None
    boxes: Path | None = None


def open_data(
    config: Show,
) -> tuple[Mapping[str, RandomAccessSource], tuple[str, ...] | None]:
    """Opens the data set; draws or prepares what is not in the cache yet.

    Returns:
        The splits by name, and the names of the classes, None for faces.
    """
    if config.dataset in ("faces", "face_stills"):
        stills = config.dataset == "face_stills"
        return embedded_faces(config.cache_dir, pretraining=stills).splits, None
    if config.dataset in ("gestures", "poses"):
        hands = embedded_gestures(config.cache_dir, pretraining=config.dataset == "poses")
        return hands.splits, hands.classes
    if config.dataset in ("embedded", "stills"):
        drawn = embedded_actions(config.cache_dir, pretraining=config.dataset == "stills")
        return drawn.splits, drawn.classes
    if config.source is None:
        raise InputError(f"{config.dataset} needs --source, the folder of its official files")
    if config.dataset == "300vw":
        given = None if config.boxes is None else read_boxes(config.boxes)
        return vw300(config.source, config.cache_dir, boxes=FaceBoxes(given=given)).splits, None
    if config.dataset == "nvgesture":
        gestures = nvgesture(
            config.source,
            config.cache_dir,
            modality=config.modality,
            flow=config.flow,
            lists=config.lists,
        )
        return gestures.splits, gestures.classes
    read = {"ucf101": ucf101, "hmdb51": hmdb51}[config.dataset]
    data = read(config.source, config.cache_dir, split=config.split, flow=config.flow)
    return data.splits, data.classes


def sample(record: Record, title: str, columns: int, height: int) -> Shown:
    """Decodes evenly placed pictures of a record, and evenly placed flow; turns what is to turn."""
    frames, pairs = len(record["frames"]), len(record["flow_x"])
    symmetry = record.get("symmetry", 0)
    pictures = turn_pictures(_decode(record, "frames", frames, columns, height), symmetry)
    if pairs == 0:
        return title, pictures, None, None
    flow = [_decode(record, kind, pairs, columns, height) for kind in ("flow_x", "flow_y")]
    turned = turn_flow(np.stack(flow, axis=-1), symmetry)  # (N, S, S, 2)
    return title, pictures, turned[..., 0], turned[..., 1]


def _decode(record: Record, kind: str, count: int, columns: int, height: int) -> NDArray[np.uint8]:
    shown = []
    for number in np.linspace(0, count - 1, columns).round().astype(int):
        picture = decode_picture(record[kind][number], gray=kind != "frames")
        width = round(picture.shape[1] * height / picture.shape[0])
        shown.append(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    return np.stack(shown).astype(np.uint8)


def face_sample(record: Record, columns: int, height: int) -> Shown:
    """Decodes evenly placed pictures of a face, cut to their boxes, with its landmarks drawn."""
    shown = []
    for number in np.linspace(0, len(record["frames"]) - 1, columns).round().astype(int):
        clip, landmarks, _ = read_faces(record, int(number), 1, height, FaceView())
        draw_landmarks(clip[0], landmarks[0], GREEN)
        shown.append(clip[0])
    category = f", category {record['category']}" if record["category"] else ""
    return f"{record['name']}{category}", np.stack(shown), None, None


def show(config: Show) -> int:
    """Draws the sheet and returns the number of its samples.

    Raises:
        InputError: The data cannot be opened, have no such part, or the PNG cannot be written.
    """
    for name in ("count", "columns", "height"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} {value}: expected 1 or more")
    splits, classes = open_data(config)
    if config.part not in splits:
        raise InputError(f"no part {config.part!r}; there are {', '.join(splits)}")
    source = splits[config.part]
    numbers = np.random.default_rng(config.seed).permutation(len(source))[: config.count]
    if len(numbers) == 0:
        raise InputError(f"there is nothing to show in the part {config.part}")
    samples = []
    for number in numbers:
        record = source[int(number)]
        if classes is None:
            samples.append(face_sample(record, config.columns, config.height or 128))
        else:
            title = f"{classes[int(record['label'])]}   {record['name']}"
            samples.append(sample(record, title, config.columns, config.height or 64))
    with writable(config.out.parent, config.out.name):
        contact_sheet(samples, config.out, config.columns)
    return len(samples)


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = parse(
        Show,
        argv,
        program="prernn show",
        description=(
            "Draws random samples of a data set: pictures, flow in colour and landmarks, under "
            "their class. Data that are not in the cache yet are drawn or prepared first."
        ),
        examples=(
            "prernn show embedded --out=sheet.png",
            "prernn show ucf101 --source=DIR --part=test",
        ),
        renamed=RENAMED,
    )
    count = show(config)
    print(f"{count} samples of {config.dataset}, {config.part}: {config.out}")


if __name__ == "__main__":
    run_command(main)
