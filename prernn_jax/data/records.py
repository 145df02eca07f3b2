"""Records of video clips: encoded pictures, their flow, and how TFDS stores them.

Every data set of clips gives the same record, so one loader reads them all: `frames` are N encoded
pictures, `flow_x` and `flow_y` are N - 1 encoded grey pictures (flow i leads from frame i to frame
i + 1), `label` is the class number, `spatial_label` that of the spatial stream, and `name` is for
reports. Pictures stay encoded until a sample needs them.
"""

import functools
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from prernn_jax.errors import InputError

Record = Mapping[str, Any]
PICTURES = ("frames", "flow_x", "flow_y")


class RandomAccessSource(Protocol):
    """A sequence of records that can be read in any order."""

    def __len__(self) -> int:
        """Returns the number of records."""

    def __getitem__(self, index: int) -> Record:
        """Returns one record."""


@runtime_checkable
class CountsFrames(Protocol):
    """A source that knows how many frames a record has without reading the record."""

    def frames_of(self, index: int) -> int:
        """Returns the number of frames of one record."""


def encode_picture(picture: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encodes (H, W, 3) RGB or (H, W) grey as JPEG."""
    written = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, data = cv2.imencode(".jpg", written, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InputError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return data.tobytes()


def decode_picture(data: bytes, gray: bool = False) -> NDArray[np.uint8]:
    """Decodes a stored picture, JPEG or PNG, to (H, W, 3) RGB or (H, W) grey.

    Raises:
        InputError: These bytes are not a picture.
    """
    mode = cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:  # no bytes at all, or more pixels than OpenCV allows
        picture = None
    if picture is None:
        raise InputError(
            f"a stored picture of {len(data)} bytes does not decode; the prepared data are "
            "damaged: delete them and prepare them again"
        )
    return picture  # type: ignore[return-value]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Reads a picture file: (H, W, 3), RGB.

    Raises:
        InputError: It cannot be read; the message names it.
    """
    try:
        return decode_picture(path.read_bytes())
    except OSError as error:
        raise InputError(f"the picture {path} cannot be read: {error.strerror}") from error
    except InputError:
        raise InputError(
            f"{path} is not a picture, or is damaged; leave it out, or fetch it again"
        ) from None


def clip_record(
    frames: Iterable[NDArray[np.uint8]],
    flow: NDArray[np.uint8] | None,
    label: int,
    name: str,
    quality: int = 95,
    spatial_label: int | None = None,
) -> dict[str, Any]:
    """Encodes a clip as a record for a TFDS builder.

    Args:
        frames: Pictures (H, W, 3), RGB.
        flow: (N, H, W, 2) quantised, or None.
        label: Class number.
        name: What reports call the clip.
        quality: JPEG quality of the pictures.
        spatial_label: Class number for the spatial stream; by default `label`.

    Returns:
        The record.
    """
    pairs = np.zeros((0, 1, 1, 2), np.uint8) if flow is None else flow
    return {
        "frames": [io.BytesIO(encode_picture(frame, quality)) for frame in frames],
        "flow_x": [io.BytesIO(encode_picture(pair[..., 0], quality)) for pair in pairs],
        "flow_y": [io.BytesIO(encode_picture(pair[..., 1], quality)) for pair in pairs],
        "label": label,
        "spatial_label": label if spatial_label is None else spatial_label,
        "name": name,
    }


def clip_features(
    classes: Sequence[str], spatial_classes: Sequence[str] | None = None
) -> tfds.features.FeaturesDict:
    """Returns how TFDS stores a record of one of these classes."""
    color = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
    gray = tfds.features.Image(shape=(None, None, 1), encoding_format="jpeg")
    return tfds.features.FeaturesDict(
        {
            "frames": tfds.features.Sequence(color),
            "flow_x": tfds.features.Sequence(gray),
            "flow_y": tfds.features.Sequence(gray),
            "label": tfds.features.ClassLabel(names=list(classes)),
            "spatial_label": tfds.features.ClassLabel(names=list(spatial_classes or classes)),
            "name": tfds.features.Text(),
        }
    )


class _KeepEncoded(tfds.decode.SkipDecoding):
    """TFDS' SkipDecoding that also works on sequences of pictures without TensorFlow."""

    def decode_batch_example_np(self, serialized: Any) -> Any:
        return serialized


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class PreparedSplit:
    """A split that TFDS wrote, as a source of records.

    It is opened by the first read, in the process that reads. So it can be sent to worker
    processes, and opening many splits takes no time.

    Args:
        folder: The prepared data set, with its dataset_info.json.
        split: Name of the split.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split

    @functools.cached_property
    def _source(self) -> Any:
        builder = tfds.builder_from_directory(str(self._folder))
        keep = {name: _KeepEncoded() for name in PICTURES if name in builder.info.features}
        return builder.as_data_source(split=self._split, decoders=keep)

    def _damaged(self, error: Exception) -> InputError:
        what = "damaged" if self._folder.is_dir() else "gone"
        return InputError(
            f"the prepared data in {self._folder} are {what} ({_first_line(error)}); delete that "
            "folder and start again: they are made anew"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_source"}

    def __len__(self) -> int:
        try:
            return len(self._source)
        except Exception as error:  # whatever TFDS and its readers raise concerns these files
            raise self._damaged(error) from error

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            record: Record = self._source[index]
        except Exception as error:
            raise self._damaged(error) from error
        # TFDS hands out texts as bytes; pictures come as arrays of them.
        return {k: v.decode() if isinstance(v, bytes) else v for k, v in record.items()}


class EvenSplit(PreparedSplit):
    """A prepared split whose records all have the same number of frames.

    Args:
        folder: As for `PreparedSplit`.
        split: As for `PreparedSplit`.
        frames: Number of frames of each record.
    """

    def __init__(self, folder: Path, split: str, frames: int) -> None:
        super().__init__(folder, split)
        self._frames = frames

    def frames_of(self, index: int) -> int:
        """Returns the number of frames of one record."""
        return self._frames
