"""Own faces of five landmarks from the command line: train, predict with a film, export."""

import json

import numpy as np
import pytest
from PIL import Image
from short_run import in_folder
from small_faces import PAIRS, write_take

from prernn_jax.data.records import decode_picture
from prernn_jax.errors import InputError
from prernn_jax.export.__main__ import main as export
from prernn_jax.files.models import load
from prernn_jax.predict.__main__ import main as predict
from train.face.__main__ import main

pytestmark = pytest.mark.slow

SHORT = ["--embedded.static_train=32", "--embedded.static_validation=16", "--embedded.size=24"]
SHORT += ["--pretraining.epochs=1", "--pretraining.batch_size=16", "--size=24", "--steps=3"]
SHORT += ["--epochs=2", "--batch_size=4", "--cell=vrnn", "--layers", "fc6"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with five people's faces and a short run on them."""
    folder = tmp_path_factory.mktemp("own_faces")
    for number, name in enumerate("abcde"):
        write_take(folder / "faces" / name, frames=7, seed=number)
    (folder / "pairs.txt").write_text(PAIRS)
    own = ["--data=folder", f"--source={folder / 'faces'}", f"--mirror_pairs={folder}/pairs.txt"]
    main(
        [
            *in_folder(SHORT, folder, *own, "--normalise_by", "0", "1", "--name=own"),
            *("--tags", "five", "--film=1"),
        ]
    )
    return folder


def test_a_run_on_own_landmarks(place):
    run = place / "runs/own"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["landmarks"] == 5
    assert summary["tags"] == ["five"]
    assert summary["frames"] == 7
    assert 0 < summary["nme_box_diagonal"] < summary["nme_two_points"] < 3
    assert "nme_outer_eye" not in summary
    model = load(run / "model.safetensors")
    assert (model.inference.points, model.inference.box) == (5, "face")
    assert (run / "split.csv").read_text().splitlines()[0] == "path,split,group"
    card = (run / "README.md").read_text()
    assert "mean error in parts of the distance of two landmarks" in card
    assert "a square around the face" in card
    assert "x and y of 5 landmarks" in card
    with Image.open(run / "film.gif") as film:
        assert film.n_frames == 7


def test_predict_and_export(place):
    predict([str(place / "runs/own"), str(place / "faces/a"), f"--out={place}", "--film"])
    found = json.loads((place / "a.json").read_text())
    landmarks = np.array(found["landmarks"])
    assert landmarks.shape == (7, 5, 2)
    assert np.isfinite(landmarks).all()
    av = pytest.importorskip("av")
    with av.open(str(place / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 7
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    export([str(place / "runs/own"), f"--out={place}"])
    session = runtime.InferenceSession(str(place / "step.onnx"))
    carry = {i.name: np.zeros((1, i.shape[1]), np.float32) for i in session.get_inputs()[1:]}
    picture = decode_picture((place / "faces/a/000001.png").read_bytes())[:24, :24]
    outputs, *_ = session.run(None, {"frames": picture[None].astype(np.float32), **carry})
    assert outputs.shape == (1, 10)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data=folder"], "--data=folder needs --source"),
        (["--mirror_pairs=pairs.txt"], "--mirror_pairs belongs to --data=folder"),
        (["--normalise_by", "0", "1"], "--normalise_by belongs to --data=folder"),
    ],
)
def test_flags_that_do_not_fit(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        main([*in_folder(SHORT, tmp_path), *flags])
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").glob("[!.]*"))
