"""`python -m train.face` from the command line to its files, on small sets."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from moved_face import moved_face, write_300vw_video
from PIL import Image
from short_run import in_folder

from prernn_jax.data.drawn.faces import EmbeddedFacesConfig, make_face
from prernn_jax.data.face.datasets import embedded_faces
from prernn_jax.data.face.loader import face_eval_loader
from prernn_jax.data.face.metrics import landmark_metrics
from prernn_jax.data.face.vw300 import FOLDER
from prernn_jax.data.prepare import main as prepare
from prernn_jax.errors import InputError
from prernn_jax.files.architectures import build
from prernn_jax.files.backbones import flat_shapes, load_pretrained, save_parameters
from prernn_jax.files.models import load
from prernn_jax.predict.predictor import Predictor
from train.face.__main__ import main
from train.face.config import face_preset, paper

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"train": 16, "validation": 6, "test": 10, "static_train": 64, "static_validation": 16}
SIZES |= {"size": 24, "frames": 7}
SHORT = [f"--embedded.{name}={size}" for name, size in SIZES.items()]
SHORT += ["--pretraining.epochs=1", "--pretraining.batch_size=16", "--size=24", "--steps=4"]
SHORT += ["--epochs=2", "--batch_size=8", "--cell=vrnn", "--layers", "fc6"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which a short run has been made under the name `first`."""
    folder = tmp_path_factory.mktemp("face")
    main(flags(folder, "--name=first", "--film=2"))
    return folder


def flags(folder, *more):
    return in_folder(SHORT, folder, *more)


def read(folder, name, file):
    return (folder / "runs" / name / file).read_bytes()


def summary_of(folder, name):
    return json.loads(read(folder, name, "summary.json"))


def test_a_run_leaves_everything(place):
    run = place / "runs" / "first"
    summary = summary_of(place, "first")
    assert summary["frames"] == 10 * 7
    assert summary["categories"] == {}
    for normaliser in ("outer_eye", "pupil", "box_diagonal"):
        assert 0 < summary[f"nme_{normaliser}"] < 2
        assert 0 <= summary[f"auc_{normaliser}"] <= 1
        assert 0 <= summary[f"failure_{normaliser}"] <= 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "validation"] * 2 + ["test"]
    for picture in ("curves.png", "errors.png"):
        assert cv2.imread(str(run / picture)).std() > 10
    with Image.open(run / "film.gif") as film:
        assert film.n_frames == 7
        assert film.size == (320, 344)  # two videos, with memory above without, a header


def test_the_run_can_be_exported(place):
    pytest.importorskip("torch")
    from exported_alike import assert_exported_alike

    assert_exported_alike(place / "runs" / "first", place / "first.pth")


def test_the_saved_model_gives_the_same_result(place):
    model = load(place / "runs" / "first" / "model.safetensors")
    data = embedded_faces(place / "data", EmbeddedFacesConfig(**SIZES))
    predicted, true = [], []
    for batch in face_eval_loader(data.splits["test"], batch_size=8, steps=4, size=24):
        clips = model.backbone.preprocess.normalise(batch["clips"])
        lengths = jnp.asarray(batch["lengths"])
        outputs, _ = model(clips, lengths=lengths)
        there = (np.arange(4) < batch["lengths"][:, None]) & batch["mask"][:, None]
        predicted.append(np.asarray(outputs).reshape(-1, 4, 68, 2)[there])
        true.append(batch["landmarks"][there])
    found = landmark_metrics(np.concatenate(predicted), np.concatenate(true))
    summary = summary_of(place, "first")
    for name, value in found.items():
        assert summary[name] == pytest.approx(value, rel=1e-5)


def test_the_copied_file_finds_in_raw_frames_what_the_program_tested(place, tmp_path):
    copied = shutil.copy(place / "runs/first/model.safetensors", tmp_path)
    predictor = Predictor(load(copied))
    settings = EmbeddedFacesConfig(**SIZES)
    clips = [make_face(settings, "test", number) for number in range(SIZES["test"])]
    found = np.concatenate([predictor(clip.pictures).landmarks for clip in clips])
    true = np.concatenate([clip.landmarks for clip in clips])
    metrics = landmark_metrics(found, true)
    assert metrics["nme_outer_eye"] == pytest.approx(
        summary_of(place, "first")["nme_outer_eye"], rel=1e-5
    )


def test_the_same_seed_gives_the_same_numbers(place):
    main(flags(place, "--name=again"))
    assert summary_of(place, "again")["loss"] == summary_of(place, "first")["loss"]
    assert read(place, "first", "model.safetensors") == read(place, "again", "model.safetensors")


@pytest.mark.parametrize(
    "more",
    [
        ["--model=feedforward"],
        ["--model=traditional", "--cell=gru", "--stacked=2"],
        ["--model=pre_sih", "--cell=lstm", "--layers", "fc6", "fc7", "--readout=none"],
    ],
)
def test_other_models(place, more):
    main(flags(place, "--name=other", "--epochs=1", *more))
    assert np.isfinite(summary_of(place, "other")["loss"])


def test_stage_one_of_another_run_is_used(place, capsys):
    (weights,) = (place / "runs" / "pretrained").glob("face-*.safetensors")
    main(flags(place, "--name=given", f"--weights={weights}"))
    assert read(place, "first", "model.safetensors") == read(place, "given", "model.safetensors")


def test_stage_one_of_other_width_and_label(place, tmp_path):
    wide = ("--pretraining.hidden=32", "--pretraining.label=head", f"--workdir={tmp_path}")
    main(flags(place, *wide, "--name=head", "--epochs=1"))
    (weights,) = (tmp_path / "pretrained").glob("face-*.safetensors")
    shapes = flat_shapes(load_pretrained(weights))
    assert shapes["fc6.kernel"][1] == 32
    assert shapes["fc8.kernel"][1] == 6  # three points
    summary = json.loads((tmp_path / "head" / "summary.json").read_text())
    assert np.isfinite(summary["loss"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data=300vw", "--preset=embedded"], "--data=300vw needs --source"),
        (["--data=300vw", "--preset=embedded", "--source=/nowhere"], "/nowhere"),
        (["--source=/tmp"], "--source belongs to real data"),
        (["--boxes=/tmp/boxes.json"], "--boxes belongs to real data"),
        (["--data=300vw", "--source=/nowhere"], "give --weights"),
        (["--weights=/nowhere.safetensors"], "nowhere.safetensors"),
        (["--steps=0"], "--steps=0: expected 1 or more"),
        (["--layers", "fc9"], "layers .*fc9.* expected some of"),
        (["--devices=3"], "batch_size=8 cannot be split over 3"),
        (["--batch_size=40"], "a batch of 40 cannot be filled: there are 32 clips"),
        (["--pretraining.seed=-1"], "--pretraining.seed=-1"),
        (["--pretraining.hidden=0"], "--pretraining.hidden=0: expected 1 or more"),
    ],
)
def test_bad_input(place, more, message):
    with pytest.raises(InputError, match=message):
        main(flags(place, *more))


def test_weights_of_another_size_or_architecture(place):
    small = {"width": 2, "image_size": 32, "hidden": 4, "num_outputs": 3}
    for name in ("vgg16", "c3d"):
        metadata = {"architecture": name, "arguments": json.dumps(small)}
        arrays = {n: np.zeros(s, np.float32) for n, s in flat_shapes(build(metadata)).items()}
        save_parameters(place / f"{name}.safetensors", arrays, metadata, overwrite=True)
    vgg16 = f"--weights={place / 'vgg16.safetensors'}"
    with pytest.raises(InputError, match="takes pictures of 32 pixels; give --size=32"):
        main(flags(place, vgg16, "--weights_input=torchvision"))
    with pytest.raises(InputError, match="holds a C3D; this application needs a VGG16"):
        main(flags(place, f"--weights={place / 'c3d.safetensors'}"))


def test_a_fault_is_one_line_and_status_2(place):
    command = [sys.executable, "-m", "train.face", *flags(place, "--devices=7")]
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().startswith("error: --devices=7")


def test_the_paper_preset_is_the_papers():
    config = paper()
    assert (config.schedule.base, config.epochs) == (1e-4, 30)
    rates = [float(config.schedule.rate(epoch, 30)) for epoch in (0, 9.9, 14.9, 15.1, 20.1, 29.9)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5], rtol=1e-6)
    assert (config.momentum, config.weight_decay, config.clip_norm) == (0.9, 5e-4, None)
    assert face_preset({"preset": "paper"}) == face_preset({"data": "300vw"}) == config
    assert face_preset({}).preset == "embedded"
    assert face_preset({"data": "300vw", "preset": "embedded"}).preset == "embedded"


def test_a_moving_real_face_in_300vws_layout_is_learned(place, shared_data, tmp_path):
    pytest.importorskip("av")
    source = tmp_path / "300vw"
    for seed, (video, frames) in enumerate({"001": 40, "540": 9, "203": 8, "410": 8}.items()):
        film = moved_face(shared_data / "faces", frames, seed=seed)
        write_300vw_video(source / FOLDER / video, *film)
    there = ["300vw", f"--source={source}", f"--cache_dir={place / 'data'}"]
    assert prepare([*there, "--workers=1", "--allow-missing"]) == 0
    (weights,) = (place / "runs" / "pretrained").glob("face-*.safetensors")
    main([
        "--data=300vw", "--preset=embedded", f"--source={source}", f"--weights={weights}",
        f"--cache_dir={place / 'data'}", f"--workdir={place / 'runs'}", "--name=real", "--size=24",
        "--steps=4", "--cell=vrnn", "--layers", "fc7", "--epochs=60", "--batch_size=5",
        "--checkpoint_every=60",
    ])  # fmt: skip
    summary = summary_of(place, "real")
    assert summary["frames"] == 9 + 8 + 8
    assert set(summary["categories"]) == {"1", "2", "3"}
    losses = [summary["categories"][category]["loss"] for category in "123"]
    assert summary["loss"] == pytest.approx(np.average(losses, weights=[9, 8, 8]))
    lines = map(json.loads, read(place, "real", "metrics.jsonl").splitlines())
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < 0.25 * losses[0]
    assert summary["nme_outer_eye"] < 0.1  # 0.057 when this was written
