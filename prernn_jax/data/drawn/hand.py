"""Draws a hand with its forearm as a depth camera sees it: near is bright.

A hand is made of capsules: the points within a radius of a line. Each has a nearness that changes
along its line and bulges across it. All arithmetic gives the same bits on every machine.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.render import Numbers, Plane, per_frame, span

THUMB, INDEX, MIDDLE, RING, LITTLE = range(5)
# Where fingers begin, in half palm widths: across (negative on the thumb's side) and upwards.
_BASES = np.array([(-0.75, -0.25), (-0.60, 0.70), (-0.20, 0.85), (0.20, 0.80), (0.60, 0.65)])
_LENGTHS = np.array([1.15, 1.55, 1.75, 1.60, 1.25])
_RADII = np.array([0.30, 0.25, 0.25, 0.25, 0.22])
_SPREAD = np.array([-0.95, -0.32, -0.04, 0.15, 0.38])  # angles of stretched fingers, in radians
_CURLED = 0.12  # length of a bent finger, as a part of its whole length
_BULGE = 0.05  # how much nearer a capsule's middle line is than its edge


@dataclass(frozen=True)
class Hand:
    """The proportions of a hand in half palm widths; `unit` is half a palm width in pixels."""

    unit: float
    side: float  # 1: thumb at the left, -1: at the right
    palm: float
    arm: float
    lengths: Numbers  # (5,)
    radii: Numbers  # (5,)
    spread: Numbers  # (5,) angles


class Pose(NamedTuple):
    """The pose of a hand in each of N frames.

    Attributes:
        x: Column of the palm's centre in pixels (N,).
        y: Row of the palm's centre in pixels (N,).
        angle: Angle of the hand in radians (N,); 0 is fingers up, positive is to the right.
        arm: Angle of the forearm (N,).
        near: Logarithm of the size (N,), which also gives the nearness.
        fingers: How far each finger is stretched (N, 5), from 0 to 1, beginning with the thumb.
    """

    x: Numbers
    y: Numbers
    angle: Numbers
    arm: Numbers
    near: Numbers
    fingers: Numbers


class Capsules(NamedTuple):
    """One capsule in each of N frames: its ends in pixels, radius, and nearness at both ends."""

    x0: Numbers
    y0: Numbers
    x1: Numbers
    y1: Numbers
    radius: Numbers
    near0: Numbers
    near1: Numbers


def draw_hand(rng: np.random.Generator, unit: float, spread: float) -> Hand:
    """Draws a hand's proportions.

    Args:
        rng: The random generator.
        unit: Mean half width of the palm in pixels.
        spread: Greatest relative deviation.
    """

    def vary(values: Numbers | float) -> Numbers:
        part = rng.uniform(1.0 - spread, 1.0 + spread, np.shape(values))
        return np.round(values * part, 6)

    return Hand(
        unit=float(vary(unit)),
        side=float(rng.choice([-1.0, 1.0])),
        palm=float(vary(0.9)),
        arm=float(vary(0.6)),
        lengths=vary(_LENGTHS),
        radii=vary(_RADII),
        spread=vary(_SPREAD),
    )


def nearness(near: Numbers) -> Numbers:
    """Returns the grey level, from 0 to 1, of a hand of this logarithmic size."""
    return np.asarray(0.66 + 0.35 * near)


def hand_capsules(hand: Hand, pose: Pose) -> list[Capsules]:
    """Returns the parts of a hand from the farthest to the nearest."""
    scale = hand.unit * np.asarray(np.round(np.exp(pose.near), 6), np.float64)  # (N,) pixels
    level: Numbers = nearness(pose.near)
    axes = _axes(pose.angle)

    def place(across: Numbers | float, along: Numbers | float) -> tuple[Numbers, Numbers]:
        (ux, uy), (vx, vy) = axes
        u, v = hand.side * across * scale, along * scale
        return pose.x + ux * u + vx * v, pose.y + uy * u + vy * v

    _, (dx, dy) = _axes(pose.arm)
    wrist = place(0.0, -0.9)
    elbow = wrist[0] - 9.0 * dx * scale, wrist[1] - 9.0 * dy * scale
    parts = [Capsules(*wrist, *elbow, hand.arm * scale, level - 0.04, level - 0.35)]
    low, high = place(0.0, -0.35), place(0.0, 0.3)
    parts.append(Capsules(*low, *high, hand.palm * scale, level - 0.02, level))
    for finger in (LITTLE, RING, MIDDLE, INDEX, THUMB):
        stretched = pose.fingers[:, finger]
        length = hand.lengths[finger] * (_CURLED + (1.0 - _CURLED) * stretched)
        sin, cos = (np.round(f(hand.spread[finger]), 6) for f in (np.sin, np.cos))
        across, along = _BASES[finger]
        if finger == THUMB:  # a bent thumb lies across the palm
            across = across + 0.6 * (1.0 - stretched)
        base = place(across, along)
        tip = place(across + sin * length, along + cos * length)
        bent = level + 0.08 * (1.0 - stretched)
        parts.append(Capsules(*base, *tip, hand.radii[finger] * scale, bent, bent))
    return parts


def _axes(angle: Numbers) -> tuple[tuple[Numbers, Numbers], tuple[Numbers, Numbers]]:
    """Returns the directions in the picture (x, y down) across a hand and towards its fingers."""
    cos = np.asarray(np.round(np.cos(angle), 6), np.float64)
    sin = np.asarray(np.round(np.sin(angle), 6), np.float64)
    return (cos, sin), (sin, -cos)


def paste_capsules(frames: NDArray[np.float32], capsules: Capsules) -> None:
    """Draws one capsule over each of the frames (N, S, S), in place."""
    size = frames.shape[1]
    reach = float(np.max(capsules.radius)) + 1.0
    columns = span(np.concatenate([capsules.x0, capsules.x1]), reach, size)
    rows = span(np.concatenate([capsules.y0, capsules.y1]), reach, size)
    part = frames[:, rows, columns]  # (N, R, C), a view: only what the capsules can touch
    if part.size == 0:
        return
    across = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5)
    down = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5)
    x0, y0 = per_frame(capsules.x0, 4), per_frame(capsules.y0, 4)
    bx, by = per_frame(capsules.x1, 4) - x0, per_frame(capsules.y1, 4) - y0
    radius = per_frame(capsules.radius)
    px, py = across[None, None, :] - x0, down[None, :, None] - y0  # (N, 1, C), (N, R, 1)
    length = np.maximum(bx * bx + by * by, np.float32(1e-6))
    along = np.clip((px * bx + py * by) / length, 0.0, 1.0)  # (N, R, C)
    dx, dy = px - along * bx, py - along * by
    distance = np.sqrt(dx * dx + dy * dy)
    alpha = np.clip(radius - distance + np.float32(0.5), 0.0, 1.0)
    inside = np.maximum(np.float32(1.0) - distance / radius, 0.0)
    near0 = per_frame(capsules.near0)
    value = near0 + along * (per_frame(capsules.near1) - near0)
    value += np.float32(_BULGE) * np.minimum(np.float32(2.0) * inside, 1.0)
    part += alpha * (value - part)


def paste_hand(frames: Plane, hand: Hand, pose: Pose) -> None:
    """Draws a hand over the frames (N, S, S), in place."""
    for capsules in hand_capsules(hand, pose):
        paste_capsules(frames, capsules)
