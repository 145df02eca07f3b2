"""Contact sheets: a picture to look at what a data set holds."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.flow import dequantise, flow_to_color

Shown = tuple[str, NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.uint8] | None]
"""Title, frames (N, H, W, 3), and the flow (N - 1, H, W) in x and in y or None."""


def contact_sheet(samples: Sequence[Shown], path: Path, columns: int = 13) -> None:
    """Write a PNG: for each sample a title, a row of frames and a row of flow in colour.

    Args:
      samples: what to show; see `Shown`.
      path: the PNG to write.
      columns: pictures a row, taken evenly from the clip.
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
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(png.tobytes())
    temporary.replace(path)
