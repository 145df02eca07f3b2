"""Optical flow: computed, written as 8-bit pictures, stacked as channels, drawn in colour.

Flow i of a clip leads from frame i to frame i + 1, in pixels, x to the right and y down. It is kept
as usual in the field: bound 20, one grey picture for each direction, zero written as 128.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError

FlowAlgorithm = Literal["dis", "tvl1"]
BOUND = 20.0
"""Flow beyond this many pixels is cut off before it is written."""
SMALL = 128
"""DIS matches pictures with a shorter side than this at their full resolution."""


Estimate = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]
"""Takes two grey pictures (H, W) and returns the flow between them, (H, W, 2) in pixels."""


def gray_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns frames (N, H, W, 3) RGB or (N, H, W, 1) or (N, H, W) as (N, H, W) grey."""
    if frames.ndim == 3:
        return frames
    if frames.shape[-1] == 1:
        return frames[..., 0]
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keeps OpenCV to one thread: the values of DIS depend on the number of threads."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def require_flow(algorithm: str) -> None:
    """Checks before any video is opened that this flow can be computed.

    Args:
        algorithm: "dis", "tvl1" or "none".

    Raises:
        InputError: OpenCV is installed without the module that has TV-L1.
    """
    if algorithm == "tvl1" and not hasattr(cv2, "optflow"):
        raise InputError(
            "the flow tvl1 needs cv2.optflow, which this OpenCV lacks (another package may have "
            "replaced it by plain opencv-python): pip uninstall the other opencv packages, then "
            "pip install --force-reinstall opencv-contrib-python-headless; or take --flow=dis"
        )


def flow_estimator(algorithm: FlowAlgorithm, height: int, width: int) -> Estimate:
    """Returns a function that computes the flow between two grey pictures of one size.

    Use it under `one_thread`, as the data sets do, for the same values on every machine.

    Args:
        algorithm: "dis" (Kroeger et al. 2016, fast) or "tvl1" (Zach et al. 2007, the field's
            standard, about thirty times slower).
        height: Height of the pictures, at least 16.
        width: Width of the pictures, at least 16.

    Raises:
        InputError: Unknown algorithm, or pictures that are too small.
    """
    if algorithm not in get_args(FlowAlgorithm):
        raise InputError(f"unknown flow algorithm {algorithm!r}; use one of: dis, tvl1")
    if min(height, width) < 16:
        raise InputError(f"optical flow needs frames of at least 16x16, got {width}x{height}")
    require_flow(algorithm)
    method: cv2.DenseOpticalFlow
    if algorithm == "tvl1":
        method = cv2.optflow.createOptFlow_DualTVL1()
    else:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if min(height, width) < SMALL:
            dis.setFinestScale(0)  # by default it matches pictures of half the size
            dis.setGradientDescentIterations(12)
            dis.setVariationalRefinementIterations(2)
        method = dis

    def estimate(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        return method.calc(first, second, None)  # type: ignore[call-overload]

    return estimate


def compute_flow(
    frames: NDArray[np.uint8], algorithm: FlowAlgorithm = "dis"
) -> NDArray[np.float32]:
    """Computes the optical flow between neighbouring frames, on grey pictures.

    Args:
        frames: (N, H, W, 3) RGB or (N, H, W) grey, uint8, N >= 2, sides of at least 16 pixels.
        algorithm: See `flow_estimator`.

    Returns:
        The flow (N - 1, H, W, 2) in pixels, float32, x then y.

    Raises:
        InputError: Unknown algorithm, fewer than two frames, or frames that are too small.
    """
    gray = gray_frames(frames)  # (N, H, W)
    if len(gray) < 2:
        raise InputError(f"optical flow needs at least 2 frames, got {len(gray)}")
    estimate = flow_estimator(algorithm, *gray.shape[1:])
    fields = [estimate(first, second) for first, second in itertools.pairwise(gray)]
    return np.stack(fields)  # (N - 1, H, W, 2)


def quantise(flow: NDArray[np.float32], bound: float = BOUND) -> NDArray[np.uint8]:
    """Writes flow in pixels as 8 bits: round(255 (v + bound) / (2 bound)), cut off at the bound.

    Ties go to the even number, so zero flow (127.5) becomes 128.
    """
    scaled = (np.clip(flow, -bound, bound) + bound) * (255.0 / (2.0 * bound))
    return np.rint(scaled).astype(np.uint8)


def dequantise(values: NDArray[np.uint8], bound: float = BOUND) -> NDArray[np.float32]:
    """Returns the flow in pixels of 8-bit values, within bound / 255 of the original."""
    return values.astype(np.float32) * np.float32(2.0 * bound / 255.0) - np.float32(bound)


def stack_flow(flow_x: NDArray[np.uint8], flow_y: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stacks L flow pairs as interleaved channels x1, y1, x2, y2, ...

    Args:
        flow_x: The pairs' x, (..., L, H, W).
        flow_y: Their y, of the same shape.

    Returns:
        The channels (..., H, W, 2 L).
    """
    pairs = np.stack([flow_x, flow_y], axis=-3)  # (..., L, 2, H, W)
    channels = pairs.reshape(*pairs.shape[:-4], -1, *pairs.shape[-2:])  # (..., 2 L, H, W)
    return np.ascontiguousarray(np.moveaxis(channels, -3, -1))  # (..., H, W, 2 L)


def flip_flow_x(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns quantised horizontal flow with its sign changed: 255 - q.

    This equals quantise(-v) for every v whose scaled value is not a tie, and it is its own inverse.
    Exact zero is a tie: it is written as 128 and becomes 127. Both stand for a flow of less than
    0.08 pixels. TSN uses the same rule.
    """
    return np.uint8(255) - values


def flow_to_color(flow: NDArray[np.float32], full: float | None = None) -> NDArray[np.uint8]:
    """Draws flow: the hue is the direction, the saturation is the speed, white is rest.

    Args:
        flow: The flow (..., H, W, 2) in pixels.
        full: Speed in pixels that is drawn in full colour; by default the 99th percentile.

    Returns:
        The pictures (..., H, W, 3), RGB, uint8.
    """
    speed = np.hypot(flow[..., 0], flow[..., 1])
    scale = full if full is not None else max(float(np.percentile(speed, 99)), 1e-3)
    angle = np.arctan2(flow[..., 1], flow[..., 0])  # -pi .. pi
    strength = np.clip(speed / scale, 0.0, 1.0)[..., None]
    phase = angle[..., None] - np.array([0.0, 2.0, 4.0]) * (np.pi / 3.0)
    hue = np.clip(0.5 + np.cos(phase), 0.0, 1.0)  # (..., H, W, 3)
    return np.rint(255.0 * (1.0 - strength * (1.0 - hue))).astype(np.uint8)
