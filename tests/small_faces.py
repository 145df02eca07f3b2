"""Drawn faces of five landmarks that move, as files of every form that own faces come in."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from moved_face import write_pts
from numpy.typing import NDArray

SIZE = (64, 80)  # height, width
PLACES = np.array([[-9, -6], [9, -6], [0, 0], [-6, 8], [6, 8]], np.float32)
_COLOURS = [(255, 200, 40), (0, 255, 200), (0, 0, 255), (230, 30, 30), (255, 255, 255)]
PAIRS = "0 1\n3 4\n"


def five_points(frames: int, seed: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Pictures (64, 80, 3) and landmarks (N, 5, 2): eyes, nose, corners of the mouth."""
    rng = np.random.default_rng(seed)
    middle = np.array([40, 32]) + rng.uniform(-6, 6, 2) + np.cumsum(rng.normal(size=(frames, 2)), 0)
    landmarks = (middle[:, None] + PLACES).astype(np.float32)
    pictures = []
    for points in landmarks:
        picture = np.full((*SIZE, 3), 60 + 20 * (seed % 5), np.uint8)
        for number, (x, y) in enumerate(np.rint(points).astype(int).tolist()):
            cv2.circle(picture, (x, y), 2, _COLOURS[number], -1)
        pictures.append(picture)
    return pictures, landmarks


def write_take(
    folder: Path, frames: int = 6, seed: int = 0, pts: bool = True
) -> NDArray[np.float32]:
    """Writes FOLDER/000001.png, ... with a .pts file beside each; returns the landmarks."""
    folder.mkdir(parents=True)
    pictures, landmarks = five_points(frames, seed)
    for number, (picture, points) in enumerate(zip(pictures, landmarks, strict=True), start=1):
        cv2.imwrite(str(folder / f"{number:06d}.png"), picture[..., ::-1])
        if pts:
            write_pts(folder / f"{number:06d}.pts", points)
    return landmarks


def write_takes(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Picture folders of two people; returns their landmarks by name."""
    names = ["ann/take1", "ann/take2", "bob/take1"]
    return {name: write_take(folder / name, seed=n) for n, name in enumerate(names)}


def write_coco(path: Path, takes: dict[str, NDArray[np.float32]]) -> None:
    """Writes the landmarks of picture folders as COCO's keypoints."""
    images, notes = [], []
    for name, landmarks in takes.items():
        for number, points in enumerate(landmarks, start=1):
            images.append({"id": len(images), "file_name": f"{name}/{number:06d}.png"})
            keys = np.column_stack([points, np.full(len(points), 2)]).ravel().tolist()
            notes.append({"id": len(notes), "image_id": len(images) - 1, "keypoints": keys})
    names: Sequence[str] = ["eye", "eye", "nose", "mouth", "mouth"]
    kinds = [{"id": 1, "name": "face", "keypoints": names}]
    path.write_text(json.dumps({"images": images, "annotations": notes, "categories": kinds}))


def write_csv(path: Path, takes: dict[str, NDArray[np.float32]], film: bool = False) -> None:
    """Writes the landmarks of picture folders, or of films, as a CSV file."""
    rows = ["path,frame," + ",".join(f"x{n},y{n}" for n in range(5))]
    for name, landmarks in takes.items():
        for number, points in enumerate(landmarks):
            file = f"{name}.mp4,{number}" if film else f"{name}/{number + 1:06d}.png,"
            rows.append(f"{file},{','.join(f'{v:.3f}' for v in points.ravel())}")
    path.write_text("\n".join(rows) + "\n")
