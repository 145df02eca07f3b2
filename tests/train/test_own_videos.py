"""Own videos from the command line: `--data=folder` of actions and gestures, then predict."""

import json

import cv2
import numpy as np
import pytest
from small_videos import write_video

from prernn_jax.data.own.rows import read_rows
from prernn_jax.errors import InputError
from prernn_jax.predict.__main__ import main as predict
from train.action.__main__ import main as action
from train.gesture.__main__ import main as gesture
from train.run.scores import read_scores

pytestmark = pytest.mark.slow

FEW = ["--epochs=1", "--batch_size=4", "--film=0", "--name=own"]
ACTION = [
    "--stream=spatial", "--crop=32", "--steps=3", "--embedded.static_train=32",
    "--embedded.static_validation=8", "--pretraining.rgb_epochs=1", "--pretraining.batch_size=16",
]  # fmt: skip
GESTURE = [
    "--embedded.pose_train=28", "--embedded.pose_validation=14", "--pretraining.epochs=1",
    "--pretraining.batch_size=14",
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two classes of six videos of a disc, which goes to the right or left, and a damaged one."""
    folder = tmp_path_factory.mktemp("own") / "discs"
    for label in ("right", "left"):
        for number in range(6):
            pictures = []
            for step in range(26):
                picture = np.full((48, 64, 3), 40 + 8 * number, np.uint8)
                x = 10 + 1.7 * step if label == "right" else 54 - 1.7 * step
                cv2.circle(picture, (round(x), 20 + number), 7, (230, 200, 60), -1)
                pictures.append(picture)
            write_video(folder / label / f"disc{number}.mp4", pictures)
    (folder / "left/broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.mark.parametrize(("train", "flags"), [(action, ACTION), (gesture, GESTURE)])
def test_a_folder_is_trained_on_and_predicted(source, tmp_path, capsys, train, flags):
    places = [f"--workdir={tmp_path / 'runs'}", f"--cache_dir={tmp_path / 'data'}"]
    train(["--data=folder", f"--source={source}", *flags, *FEW, *places])
    told = capsys.readouterr().err
    assert "1 of 13 videos are left out" in told
    assert "left/broken" in told
    run = tmp_path / "runs" / "own"
    scores = read_scores(run, "test")
    assert scores.classes.tolist() == ["left", "right"]
    rows = {row.video.name: row for row in read_rows(run / "split.csv") if row.part == "test"}
    assert len(rows) >= len(scores.video) >= 2
    name = str(scores.video[0])
    predict([str(run), str(source / f"{name}.mp4"), f"--out={tmp_path}"])
    found = json.loads((tmp_path / f"{name.rpartition('/')[2]}.json").read_text())
    expected = dict(zip(scores.classes.tolist(), scores.scores[0].tolist(), strict=True))
    assert {e["class"]: e["probability"] for e in found["top5"]} == expected


def test_bad_input(source, tmp_path):
    places = [f"--workdir={tmp_path / 'runs'}", f"--cache_dir={tmp_path / 'data'}"]
    for flags, message in (
        (["--data=folder"], "--data=folder needs --source"),
        (["--data=folder", f"--source={source / 'left'}"], "holds no videos"),
        (["--data=ucf101", f"--source={source}", f"--root={source}"], "--root belongs to"),
    ):
        with pytest.raises(InputError, match=message):
            action([*flags, *ACTION, *FEW, *places, "--preset=embedded"])
