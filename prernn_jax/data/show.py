"""Command line: a contact sheet of prepared samples, to look at what a network is given.

python -m prernn_jax.data.show embedded --out sheet.png
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray

from prernn_jax.data.action import ActionData, embedded_actions, embedded_stills, hmdb51, ucf101
from prernn_jax.data.clip_files import Flow
from prernn_jax.data.embedded_gestures_builder import embedded_gestures, embedded_poses
from prernn_jax.data.gesture import GestureData, Modality, nvgesture
from prernn_jax.data.records import Record, decode_picture
from prernn_jax.data.sheet import Shown, contact_sheet
from prernn_jax.errors import InputError

Dataset = Literal["embedded", "stills", "gestures", "poses", "ucf101", "hmdb51", "nvgesture"]


@dataclass(frozen=True)
class Show:
    """Draws random samples of a data set: pictures, and flow in colour, under their class.

    Attributes:
      dataset: Which one.
      out: The PNG to write.
      split: Of the data set: train, test or, for the embedded ones, validation.
      count: Samples.
      columns: Pictures a sample, evenly placed over the clip.
      height: Of a picture on the sheet.
      seed: Of the choice.
      source: UCF101, HMDB51 and NVGesture: the official layout.
      data_dir: Where prepared data are kept.
      flow: UCF101 and HMDB51: algorithm.
      modality: NVGesture: what to show.
    """

    dataset: tyro.conf.Positional[Dataset]
    out: Path = Path("sheet.png")
    split: str = "train"
    count: int = 10
    columns: int = 13
    height: int = 64
    seed: int = 0
    source: Path | None = None
    data_dir: Path | None = None
    flow: Flow = "dis"
    modality: Modality = "depth"


def open_data(config: Show) -> ActionData | GestureData:
    """Open the data set; prepares it where that is still to do."""
    drawn: dict[str, Callable[[Path | None], ActionData | GestureData]] = {
        "embedded": embedded_actions,
        "stills": embedded_stills,
        "gestures": embedded_gestures,
        "poses": embedded_poses,
    }
    if config.dataset in drawn:
        return drawn[config.dataset](config.data_dir)
    if config.source is None:
        raise InputError(f"{config.dataset} needs --source, the folder of the official layout")
    if config.dataset == "nvgesture":
        return nvgesture(config.source, config.data_dir, modality=config.modality, flow=config.flow)
    read = ucf101 if config.dataset == "ucf101" else hmdb51
    return read(config.source, config.data_dir, flow=config.flow)


def sample(record: Record, title: str, columns: int, height: int) -> Shown:
    """Decode evenly placed pictures of a record and the flow from each to the next."""
    frames, pairs = len(record["frames"]), len(record["flow_x"])
    pictures = _decode(record, "frames", frames, columns, height)
    if pairs == 0:
        return title, pictures, None, None
    flow_x = _decode(record, "flow_x", pairs, columns, height)
    flow_y = _decode(record, "flow_y", pairs, columns, height)
    return title, pictures, flow_x, flow_y


def _decode(record: Record, kind: str, count: int, columns: int, height: int) -> NDArray[np.uint8]:
    shown = []
    for number in np.linspace(0, count - 1, columns).round().astype(int):
        picture = decode_picture(record[kind][number], gray=kind != "frames")
        width = round(picture.shape[1] * height / picture.shape[0])
        shown.append(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
    return np.stack(shown).astype(np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 on bad input."""
    try:
        config = tyro.cli(Show, args=arguments, prog="python -m prernn_jax.data.show")
        data = open_data(config)
        if config.split not in data.splits:
            raise InputError(f"no split {config.split!r}; there are {', '.join(data.splits)}")
        source = data.splits[config.split]
        rng = np.random.default_rng(config.seed)
        numbers = rng.permutation(len(source))[: config.count]
        records = [source[int(number)] for number in numbers]
        titles = [data.classes[int(record["label"])] for record in records]
        samples = [
            sample(record, title, config.columns, config.height)
            for record, title in zip(records, titles, strict=True)
        ]
        contact_sheet(samples, config.out, config.columns)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(samples)} samples of {config.dataset}, {config.split}: {config.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
