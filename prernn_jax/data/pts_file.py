"""Landmarks in .pts files, as 300-W, 300VW and menpo write them.

    version: 1
    n_points: 68
    {
    743.224 197.764
    ...
    }

A file counts pixels from 1, as Matlab does; here they are counted from 0 (the middle of the first
pixel is 0, `prernn_jax.data.landmarks`). This is the one place where that is converted.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.landmarks import POINTS
from prernn_jax.errors import InputError

_FIRST_PIXEL = 1.0


def read_pts(path: Path, points: int = POINTS) -> NDArray[np.float32]:
    """Read a .pts file; blanks, empty lines and line ends may be any.

    Args:
      path: the file.
      points: how many there must be.

    Returns:
      (points, 2) x, y in pixels, counted from 0.

    Raises:
      InputError: there is no such file, it has no braces, something between them is not a finite
        number, or there are more or fewer points. The message names file and line.
    """
    if not path.is_file():
        raise InputError(f"there is no landmark file {path}")
    text = path.read_bytes().decode("ascii", "replace")
    head, opened, body = text.partition("{")
    body, closed, _ = body.rpartition("}")
    if not opened or not closed:
        raise InputError(f"{path} is no landmark file: expected points between {{ and }}")
    first_line, values = head.count("\n") + 1, []
    for line, row in enumerate(body.split("\n"), start=first_line):
        for word in row.split():
            values.append(_number(word, f"{path} line {line}"))
    if len(values) != 2 * points:
        raise InputError(
            f"{path} line {first_line}: {len(values)} numbers between {{ and }}, expected "
            f"{2 * points} (x and y of {points} points)"
        )
    return np.array(values, np.float64).reshape(points, 2).astype(np.float32) - np.float32(
        _FIRST_PIXEL
    )


def write_pts(path: Path, landmarks: NDArray[np.floating]) -> None:
    """Write landmarks (N, 2), counted from 0, as a .pts file, which counts from 1."""
    rows = [f"{x:.3f} {y:.3f}" for x, y in landmarks + _FIRST_PIXEL]
    lines = ["version: 1", f"n_points: {len(rows)}", "{", *rows, "}", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n".join(lines))
    temporary.replace(path)


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{where}: {word!r} is not a finite number; expected a coordinate")
    return value
