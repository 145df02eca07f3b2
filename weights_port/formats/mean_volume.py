"""C3D's mean volume, from Caffe's `.binaryproto` or the ports' `.npy`."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing
from weights_port.formats.source import nonfinite


def read_mean_volume(path: Path) -> tuple[np.ndarray, str]:
    """Reads a volume (C, L, H, W), or (L, H, W, C), of 3 channels.

    Returns:
        (L, H, W, C) float32 in the file's channel order, and a line about it for the user.

    Raises:
        InputError: No such file, or it holds something else.
    """
    array = _npy(path) if path.suffix == ".npy" else _blob(path)
    while array.ndim > 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 4 or 3 not in (array.shape[0], array.shape[-1]) or array.dtype.kind != "f":
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected a mean volume "
            "(3, L, H, W) or (L, H, W, 3) of floating-point numbers"
        )
    if nonfinite({"mean": array}):
        raise InputError(f"{path}: NaN or infinity in the mean volume; the file is damaged")
    if array.shape[0] == 3:
        array = array.transpose(1, 2, 3, 0)  # (L, H, W, C)
    volume = np.ascontiguousarray(array, np.float32)
    means = ", ".join(f"{value:.2f}" for value in volume.mean((0, 1, 2)))
    return volume, f"mean volume {volume.shape} (L, H, W, C) of {path.name}, means {means}"


def with_volume(
    preprocessing: Preprocessing, volume: np.ndarray, metadata: Mapping[str, str], path: Path
) -> Preprocessing:
    """The preprocessing with a volume, at whose size it resizes.

    Raises:
        InputError: The network takes no clips, or they are longer or larger than the volume.
    """
    if metadata["architecture"] != "c3d":
        raise InputError(f"--mean {path} is for C3D only; {metadata['architecture']} takes images")
    length = json.loads(metadata["arguments"])["clip_length"]
    height, width = preprocessing.crop or (0, 0)
    if volume.shape[0] < length or volume.shape[1] < height or volume.shape[2] < width:
        raise InputError(
            f"{path} is {volume.shape} (L, H, W, C); these weights need at least "
            f"{(length, height, width, 3)}"
        )
    return dataclasses.replace(
        preprocessing, resize=(volume.shape[1], volume.shape[2]), mean_volume=volume
    )


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read {path} as a .npy array: {error}") from error


def _blob(path: Path) -> np.ndarray:
    from weights_port.formats.caffe import read_caffe

    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if empty:
        raise InputError(f"{path} is empty; download it again")
    arrays = read_caffe(path).arrays
    if list(arrays) != ["blob[0]"]:
        raise InputError(f"{path} is a Caffe network; expected a single blob (.binaryproto)")
    return arrays["blob[0]"]
