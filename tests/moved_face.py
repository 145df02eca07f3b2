"""300VW in its official layout, made of a real annotated face that moves."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from small_videos import write_video

from prernn_jax.data.face.landmarks import bounding_box
from prernn_jax.data.face.vw300 import read_pts


def moved_face(
    faces: Path, frames: int, size: tuple[int, int] = (240, 320), seed: int = 0
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Pictures (H, W, 3) and landmarks (N, 68, 2) of a real face, moved, turned and scaled.

    Args:
        faces: Folder with breakingbad.jpg and breakingbad.pts.
        frames: N.
        size: Height and width of the pictures.
        seed: The seed of the way that it goes.
    """
    picture = cv2.imread(str(faces / "breakingbad.jpg"), cv2.IMREAD_COLOR_RGB)
    points = read_pts(faces / "breakingbad.pts").astype(np.float64)
    box = bounding_box(points)
    middle, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
    rng = np.random.default_rng(seed)
    phase, speed = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.1, 0.3, 4)
    pictures, landmarks = [], []
    for frame in range(frames):
        x, y, turn, grow = np.sin(phase + speed * frame)
        scale = size[0] * 0.45 / side * (1 + 0.15 * grow)
        angle = 0.2 * turn
        goal = np.array(size[::-1]) / 2 + np.array([0.15, 0.08]) * size[0] * np.array([x, y])
        turned = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = np.column_stack([turned, goal - turned @ middle])
        pictures.append(cv2.warpAffine(picture, matrix, size[::-1], flags=cv2.INTER_AREA))
        landmarks.append(points @ turned.T + matrix[:, 2])
    return pictures, np.stack(landmarks).astype(np.float32)


def write_300vw_video(
    folder: Path, pictures: list[NDArray[np.uint8]], landmarks: NDArray[np.float32]
) -> None:
    """Writes FOLDER/vid.avi and FOLDER/annot/000001.pts, ..."""
    write_video(folder / "vid.avi", pictures)
    for number, points in enumerate(landmarks, start=1):
        write_pts(folder / "annot" / f"{number:06d}.pts", points)


def write_pts(path: Path, landmarks: np.ndarray) -> None:
    """Writes landmarks (N, 2), counted from 0, as a .pts file, which counts from 1."""
    rows = [f"{x:.3f} {y:.3f}" for x, y in landmarks + 1.0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["version: 1", f"n_points: {len(rows)}", "{", *rows, "}", ""]))
