"""The shape of an embedded face: 68 landmarks from a person and a motion.

Coordinates are those of the picture, -1 to 1 from edge to edge, y down. A face is a set of points
in space. They turn about the vertical axis (yaw), are projected in parallel, and are then turned
(roll), scaled and shifted in the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.landmarks import GROUPS, POINTS

Numbers = NDArray[np.float64]
_SIZE = 1.2  # size of a face whose log_scale is 0

CHANNELS = (
    "roll", "yaw", "log_scale", "shift_x", "shift_y", "opening", "curve", "lids", "brows",
    "gaze_x", "gaze_y",
)  # fmt: skip
"""What moves; each channel is one number for each frame."""


@dataclass(frozen=True)
class Identity:
    """One person: lengths in units of half a picture, and grey levels from 0 to 1."""

    width: float  # half width of the face at the ears
    chin: float  # from the middle of the face down to the chin
    jaw: float  # 1: round, less: square
    forehead: float  # from the middle up to the hair's edge
    eye_x: float  # middles of the eyes, divided by the width
    eye_y: float
    eye_size: float  # half width, divided by the width
    eye_open: float  # height divided by width when open
    brow_y: float  # above the eye
    nose: float  # length
    nose_width: float
    mouth_y: float
    mouth: float  # half width, divided by the width
    lips: float  # thickness
    hair: float  # how far the hair stands out
    thickness: float  # thickness of the brows
    skin: float
    hair_tone: float
    lip_tone: float
    ground: float  # the background


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draws a person at random."""
    skin = rng.uniform(0.45, 0.9)
    return Identity(
        width=rng.uniform(0.42, 0.54),
        chin=rng.uniform(0.50, 0.62),
        jaw=rng.uniform(0.7, 1.05),
        forehead=rng.uniform(0.40, 0.55),
        eye_x=rng.uniform(0.40, 0.48),
        eye_y=rng.uniform(-0.15, -0.07),
        eye_size=rng.uniform(0.18, 0.24),
        eye_open=rng.uniform(0.4, 0.65),
        brow_y=rng.uniform(0.09, 0.15),
        nose=rng.uniform(0.20, 0.29),
        nose_width=rng.uniform(0.16, 0.26),
        mouth_y=rng.uniform(0.28, 0.35),
        mouth=rng.uniform(0.32, 0.48),
        lips=rng.uniform(0.025, 0.055),
        hair=rng.uniform(0.04, 0.14),
        thickness=rng.uniform(0.02, 0.05),
        skin=skin,
        hair_tone=rng.uniform(0.05, 0.5),
        lip_tone=skin - rng.uniform(0.12, 0.3),
        ground=rng.uniform(0.0, 1.0),
    )


def draw_motion(rng: np.random.Generator, amplitudes: Numbers, frames: int) -> Numbers:
    """Draws smooth random motion.

    A channel is its amplitude times a constant, 0.7 N(0, 1), and two sinusoids of amplitude
    0.5 N(0, 1) and 0.025 to 0.075 cycles in a frame.

    Args:
        rng: The random generator.
        amplitudes: The channels' amplitudes (C,).
        frames: Number of frames N.

    Returns:
        The channels of each frame (N, C).
    """
    count = len(amplitudes)
    level = 0.7 * rng.standard_normal(count)
    heights = 0.5 * rng.standard_normal((2, count))
    cycles = rng.uniform(0.025, 0.075, (2, count))
    phases = rng.uniform(0.0, 1.0, (2, count))
    time = np.arange(frames)[:, None, None]
    waves = heights * np.sin(2 * np.pi * (cycles * time + phases))  # (N, 2, C)
    return amplitudes * (level + waves.sum(axis=1))


def pose_face(who: Identity, motion: Numbers) -> tuple[Numbers, Numbers]:
    """Returns the landmarks of a face in motion.

    Args:
        who: The person.
        motion: The channels of each frame (N, C), in the order of CHANNELS.

    Returns:
        The landmarks (N, 68, 2), and further points (N, P, 2) of the head's outline above the
        ears, from the right ear to the left.
    """
    channel = dict(zip(CHANNELS, motion.T, strict=True))
    space = np.concatenate([_points(who, channel), _top(who, len(motion))], axis=1)  # (N, P, 3)
    yaw, roll = channel["yaw"][:, None], channel["roll"][:, None]
    flat_x = space[..., 0] * np.cos(yaw) + space[..., 2] * np.sin(yaw)
    flat_y = space[..., 1]
    size = _SIZE * np.exp(channel["log_scale"])[:, None]
    x = size * (flat_x * np.cos(roll) - flat_y * np.sin(roll)) + channel["shift_x"][:, None]
    y = size * (flat_x * np.sin(roll) + flat_y * np.cos(roll)) + channel["shift_y"][:, None]
    points = np.stack([x, y], axis=-1)
    return points[:, :POINTS], points[:, POINTS:]


def _points(who: Identity, channel: dict[str, Numbers]) -> Numbers:
    """Returns the points in space (N, 68, 3) of a face that looks straight ahead."""
    frames = len(channel["yaw"])
    points = np.zeros((frames, POINTS, 3))
    angle = np.linspace(-1.8, 1.8, 17)
    across = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** who.jaw
    points[:, GROUPS["jaw"]] = np.stack(
        [who.width * across, who.chin * np.cos(angle), -0.35 * np.abs(across) ** 2 + 0.1], axis=-1
    )
    lift = channel["brows"][:, None]
    bow = np.array([0.0, 0.028, 0.04, 0.035, 0.02])
    for side, name in ((-1, "left_brow"), (1, "right_brow")):
        reach = np.linspace(1.25, -1.1, 5)  # from the outer to the inner end
        arch = bow if side < 0 else bow[::-1]
        reach = reach if side < 0 else reach[::-1]
        x = side * who.width * (who.eye_x + who.eye_size * reach)
        points[:, GROUPS[name], 0] = x
        points[:, GROUPS[name], 1] = who.eye_y - who.brow_y - arch - lift
        points[:, GROUPS[name], 2] = 0.2 - 0.5 * x**2
    opening = np.clip(0.75 + channel["lids"], 0.04, 1.15)[:, None]
    corner = np.array([-1.0, -0.4, 0.4, 1.0, 0.4, -0.4])  # along the eye, from the left
    lid = np.array([0.0, -1.0, -1.0, 0.0, 0.75, 0.75])
    for side, name in ((-1, "left_eye"), (1, "right_eye")):
        half = who.width * who.eye_size
        x = side * who.width * who.eye_x + half * corner
        points[:, GROUPS[name], 0] = x
        points[:, GROUPS[name], 1] = who.eye_y + half * who.eye_open * lid * opening
        points[:, GROUPS[name], 2] = 0.15 - 0.5 * x**2
    tip = who.eye_y + who.nose
    points[:, GROUPS["nose_bridge"], 1] = np.linspace(who.eye_y - 0.02, tip - 0.03, 4)
    points[:, GROUPS["nose_bridge"], 2] = np.linspace(0.2, 0.38, 4)
    points[:, GROUPS["lower_nose"], 0] = who.width * who.nose_width * np.linspace(-1, 1, 5)
    points[:, GROUPS["lower_nose"], 1] = tip + np.array([0.0, 0.02, 0.03, 0.02, 0.0])
    points[:, GROUPS["lower_nose"], 2] = np.array([0.2, 0.25, 0.28, 0.25, 0.2])
    _mouth(who, channel, points)
    return points


def _mouth(who: Identity, channel: dict[str, Numbers], points: Numbers) -> None:
    """Puts the twenty points of the mouth into (N, 68, 3)."""
    gape = np.clip(0.04 + channel["opening"], 0.004, 0.3)[:, None]  # height of the inner mouth
    curve = channel["curve"][:, None]
    half = who.width * who.mouth
    for name, places, lip in (
        (
            "outer_mouth",
            np.array([-1, -0.66, -0.28, 0, 0.28, 0.66, 1, 0.62, 0.3, 0, -0.3, -0.62]),
            1,
        ),
        ("inner_mouth", np.array([-0.86, -0.4, 0, 0.4, 0.86, 0.4, 0, -0.4]), 0),
    ):
        bulge = np.sqrt(np.maximum(1 - places**2, 0))
        upper = np.arange(len(places)) <= len(places) // 2
        away = np.where(upper, -0.35, 0.65) * gape * bulge  # the jaw opens more than the lip lifts
        away = away + lip * who.lips * np.where(upper, -1.0, 1.2) * bulge
        part = GROUPS[name]
        points[:, part, 0] = half * places * (1 + 0.25 * curve)
        points[:, part, 1] = who.mouth_y + away - 0.2 * curve * (places**2 - 0.4)
        points[:, part, 2] = 0.2 - 0.6 * (half * places) ** 2
    # An open mouth takes the chin along.
    drop = np.cos(np.linspace(-1.8, 1.8, 17)).clip(min=0)
    points[:, GROUPS["jaw"], 1] += 0.5 * (gape - 0.04) * drop


def _top(who: Identity, frames: int) -> Numbers:
    """Returns the outline of the head above the ears (N, 9, 3), from right to left."""
    angle = np.linspace(1.8, 2 * np.pi - 1.8, 11)[1:-1]
    outline = np.stack(
        [who.width * np.sin(angle), who.forehead * np.cos(angle) * 1.15, np.full(9, -0.15)], axis=-1
    )
    return np.tile(outline, (frames, 1, 1))
