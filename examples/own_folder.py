"""A folder of your own videos, a sub-folder for each class: train on it, then ask what it sees."""

from pathlib import Path

import cv2
import numpy as np

import prernn_jax as pj
from prernn_jax.command import dispatch

SOURCE = Path("discs")


def draw_films() -> None:
    """Stands in for your folder: films of a disc that goes to the left or to the right."""
    for label, start, speed in (("left", 54, -1.7), ("right", 10, 1.7)):
        (SOURCE / label).mkdir(parents=True, exist_ok=True)
        for number in range(6):
            path = str(SOURCE / label / f"disc{number}.avi")
            film = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
            for step in range(26):
                picture = np.full((48, 64, 3), 40 + 8 * number, np.uint8)
                place = (round(start + speed * step), 20 + number)
                film.write(cv2.circle(picture, place, 7, (230, 200, 60), -1))
            film.release()


def save_start() -> None:
    """A small network with random weights; without --weights, stage one trains one first."""
    resnet = pj.resnet50(num_outputs=4, width=4, stage_sizes=(1, 1))
    resnet.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)
    pj.save("start.safetensors", resnet, overwrite=True)


if __name__ == "__main__":  # the processes that prepare videos read this file too
    draw_films()
    save_start()
    # In a shell: prernn train action --data=folder --source=discs --stream=spatial ...
    own = ["--data=folder", f"--source={SOURCE}", "--weights=start.safetensors", "--name=discs"]
    small = ["--stream=spatial", "--crop=32", "--steps=4", "--epochs=2", "--batch_size=4"]
    dispatch(["train", "action", *own, *small, "--film=0"])
    found = pj.load("runs/action/discs/model.safetensors").predict(SOURCE / "left" / "disc0.avi")
    print("disc0 goes to the left; the net sees:", found.brief)
