"""Landmark files beside pictures: .pts of any number of points, and the JSON that menpo writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.vw300 import read_pts
from prernn_jax.data.prepared.lists import read_text
from prernn_jax.errors import InputError

FARTHEST = 1e9  # pixels; a coordinate beyond is none
ENDINGS = (".pts", ".ljson", ".json")


def read_landmarks(path: Path, points: int | None = None) -> NDArray[np.float32]:
    """Reads the landmarks of one face.

    A .pts file counts pixels from 1. A .json or .ljson file is menpo's, version 2 or 3;
    of several groups of points the one called LJSON is taken, or the first. It counts from 0 and
    names y before x.

    Args:
        path: The file.
        points: Number of points that it must have; None for any.

    Returns:
        The points (P, 2), x and y in pixels, counted from 0.

    Raises:
        InputError: There is no such file, it is of another form, or has another number of points.
    """
    if path.suffix.lower() == ".pts":
        return read_pts(path, points)
    if not path.is_file():
        raise InputError(f"there is no landmark file {path}")
    try:
        found = np.asarray(_menpo_points(json.loads(read_text(path))), np.float64)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        found = np.zeros(0)
    if found.ndim != 2 or found.shape[1:] != (2,) or not len(found):
        raise InputError(
            f"{path} is no landmark file; expected menpo's JSON: "
            '{"version": 2, "landmarks": {"points": [[y, x], ...]}}'
        )
    if points is not None and len(found) != points:
        raise InputError(f"{path} has {len(found)} points; expected {points}")
    if not (np.abs(found) < FARTHEST).all():
        raise InputError(f"{path}: a coordinate is not a finite number of pixels")
    return found[:, ::-1].astype(np.float32)


def _menpo_points(content: Any) -> Any:
    if "groups" in content:
        groups = content["groups"]
        content = groups["LJSON"] if "LJSON" in groups else next(iter(groups.values()))
    return content["landmarks"]["points"]
