"""`python -m train.gesture` from the command line to its files, on a small set."""

import json
import shutil
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from short_run import in_folder
from small_videos import numbered_pictures, write_video

from prernn_jax.backbones.c3d import C3D
from prernn_jax.data.drawn.gesture_builder import embedded_gestures
from prernn_jax.data.drawn.gesture_clip import make_gesture
from prernn_jax.data.drawn.gestures import EmbeddedGesturesConfig
from prernn_jax.errors import InputError
from prernn_jax.files.backbones import flat_parameters, save_parameters
from prernn_jax.files.models import load
from prernn_jax.metrics import sequence_scores, top1
from prernn_jax.predict.predictor import Predictor
from train.controls import POOLINGS
from train.controls import main as controls_main
from train.gesture.__main__ import main
from train.gesture.application import SPORTS1M
from train.gesture.config import GestureConfig
from train.gesture.task import fixed_gestures, gesture_test_batches
from train.run.scores import read_scores

pytestmark = pytest.mark.slow

SIZES = {"train": 24, "validation": 6, "test": 12, "pose_train": 28, "pose_validation": 14}
SHORT = [f"--embedded.{name}={size}" for name, size in SIZES.items()]
SHORT += ["--pretraining.epochs=1", "--pretraining.batch_size=14", "--epochs=2", "--batch_size=12"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which a short run has been made under the name `first`."""
    folder = tmp_path_factory.mktemp("gesture")
    main(flags(folder, "--name=first", "--film=2"))
    return folder


def flags(folder, *more):
    return in_folder(SHORT, folder, *more)


def read(folder, name, file="summary.json"):
    return json.loads((folder / "runs" / name / file).read_text())


def test_a_run_leaves_everything(place):
    run = place / "runs" / "first"
    summary = read(place, "first")
    assert summary["chance"] == 1 / 10
    assert np.sum(summary["confusion"]) == 12
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "validation"] * 2 + ["test"]
    with Image.open(run / "film.gif") as film:
        assert film.n_frames == 2 * 10  # videos and steps
    for picture in ("curves.png", "confusion.png"):
        assert cv2.imread(str(run / picture)).std() > 10
    for name in ("test", "validation"):
        scores = read_scores(run, name)
        assert scores.video.tolist() == [f"{name} {number}" for number in range(SIZES[name])]
        metrics = summary if name == "test" else summary["validation"]
        assert top1(scores.scores, scores.labels) == metrics["video_top1"]


def test_the_run_can_be_exported(place):
    pytest.importorskip("torch")
    from exported_alike import assert_exported_alike

    assert_exported_alike(place / "runs" / "first", place / "first.pth")


def test_the_saved_model_gives_the_same_result(place):
    model = load(place / "runs" / "first" / "model.safetensors")
    assert model.converted == ("fc6", "fc7")
    data = embedded_gestures(place / "data", EmbeddedGesturesConfig(**SIZES))
    batches = gesture_test_batches(
        data, "test", GestureConfig(), 1, steps=10, stride=1, batch_size=12
    )
    (batch,) = batches
    clips = model.backbone.preprocess.normalise(batch["clips"])
    assert clips.shape == (12, 10, 4, 48, 48, 1)
    outputs, _ = model(clips)
    scores = sequence_scores(outputs, jnp.asarray(batch["lengths"]))
    assert top1(scores, batch["labels"]) == read(place, "first")["video_top1"]


def test_the_training_set_without_chance(place):
    data = embedded_gestures(place / "data", EmbeddedGesturesConfig(**SIZES))
    fixed = fixed_gestures(data, GestureConfig(views=2), 1)
    assert len(fixed) == 2 * SIZES["train"]
    middle = gesture_test_batches(
        data, "train", GestureConfig(), 1, steps=10, stride=1, batch_size=SIZES["train"]
    )
    (batch,) = middle
    for video in (0, 7):
        np.testing.assert_array_equal(fixed[2 * video]["clips"], batch["clips"][video])
        one, again = fixed[2 * video + 1], fixed[2 * video + 1]
        np.testing.assert_array_equal(one["clips"], again["clips"])
        assert np.any(one["clips"] != batch["clips"][video])
        assert one["video"] == video


def test_the_controls_of_gestures(place):
    controls_main(["gesture", *flags(place)])
    file = place / "runs" / "controls-embedded-depth.json"
    found = json.loads(file.read_text(encoding="utf-8"))["controls"]
    assert [one["name"] for one in found] == list(POOLINGS)  # depth has no flow


def test_the_copied_file_says_of_raw_frames_what_the_program_tested(place, tmp_path):
    """The same pictures and batches; the cached trunk of the run rounds otherwise."""
    copied = shutil.copy(place / "runs/first/model.safetensors", tmp_path)
    predictor = Predictor(load(copied))
    tested = read_scores(place / "runs/first", "test")
    settings = EmbeddedGesturesConfig(**SIZES)
    for number in (0, 5, 11):
        found = predictor(make_gesture(settings, "test", number).frames)
        np.testing.assert_allclose(found.scores, tested.scores[number], atol=1e-6)
        assert found.top(1)[0][0] == tested.classes[tested.scores[number].argmax()]


@pytest.mark.parametrize(
    "more",
    [
        ["--model=traditional", "--cell=lstm", "--stacked=2"],
        ["--model=pre_sih", "--cell=vrnn", "--layers", "fc7", "--readout=none", "--steps=3"],
    ],
)
def test_other_models(place, more):
    main(flags(place, "--name=other", "--epochs=1", *more))
    assert np.isfinite(read(place, "other")["loss"])


def test_the_plateau_ends_a_run_early(place):
    # Every epoch counts as one without improvement, for the loss is never below by 100%.
    schedule = ["--schedule.shape=plateau", "--schedule.base=1e-3", "--schedule.patience=1"]
    schedule += ["--trunk=trained"]
    ends = ["--schedule.stop=1e-3", "--schedule.factor=0.5", "--epochs=3"]
    main(flags(place, "--name=plateau", *schedule, *ends))
    lines = (place / "runs" / "plateau" / "metrics.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["kind"] == "validation" for line in lines) < 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--source=/tmp"], "--source belongs to real data"),
        (["--modality=color"], "the embedded gestures are depth"),
        (["--data=nvgesture", "--preset=embedded"], "needs --source"),
        (["--data=nvgesture", "--preset=embedded", "--source=/nowhere"], "/nowhere"),
        (["--data=nvgesture", "--source=/nowhere"], "give --weights"),
        (["--clip_length=5"], "pre-trained on clips of 4"),
        (["--stride=0"], "--stride=0: expected 1 or more"),
        (["--stride=14"], "has 40 frames; a clip of 4 with a stride of 14 needs 43"),
        (["--layers", "fc9"], "layers .*fc9.*expected some of"),
        (["--pretraining.seed=-1"], "--pretraining.seed=-1"),
    ],
)
def test_bad_input(place, more, message):
    with pytest.raises(InputError, match=message):
        main(flags(place, *more))


@pytest.fixture
def weights(tmp_path):
    """A small C3D for RGB clips, without a word on its input."""
    arguments = {
        "num_outputs": 3, "width": 2, "hidden": 4, "clip_length": 4, "image_size": 16,
        "stage_sizes": (1, 1),
    }  # fmt: skip
    arrays = flat_parameters(C3D(**arguments, rngs=nnx.Rngs(0)))
    path = tmp_path / "c3d.safetensors"
    save_parameters(path, arrays, {"architecture": "c3d", "arguments": json.dumps(arguments)})
    return path


def test_weights_of_three_channels_take_depth(place, weights):
    rgb = (f"--weights={weights}", "--weights_input=caffe")  # whose file does not say it
    main(flags(place, *rgb, "--crop=16", "--epochs=1", "--name=rgb"))
    model = load(place / "runs" / "rgb" / "model.safetensors")
    assert model.backbone.conv1a.in_features == 3
    assert model.backbone.preprocess.to_json() == SPORTS1M.to_json()
    with pytest.raises(InputError, match=r"fc6 takes .* give the --crop"):
        main(flags(place, *rgb, "--crop=48"))
    with pytest.raises(
        InputError, match=r"Give --weights_input=torchvision .*--weights_input=caffe"
    ):
        main(flags(place, f"--weights={weights}", "--crop=16"))


def mini_lists(source: Path, folder: Path, classes: int) -> list[str]:
    """One real recording of each class to train and the other to test on."""
    lines = (source / "nvgesture_train_correct_cvpr2016_v2_mini.lst").read_text().splitlines()
    for name, chosen in (("train", lines[::2]), ("test", lines[1::2])):
        (folder / f"{name}.lst").write_text("\n".join(chosen[:classes]) + "\n")
    return [str(folder / "train.lst"), str(folder / "test.lst")]


def test_real_recordings(place, shared_data, tmp_path):
    pytest.importorskip("av")
    source = shared_data / "nvgesture"
    (weights,) = (place / "runs" / "pretrained").glob("depth-*")
    main([
        "--data=nvgesture", "--preset=embedded", f"--source={source}", f"--weights={weights}",
        "--lists", *mini_lists(source, tmp_path, 2),
        f"--cache_dir={place / 'data'}", f"--workdir={place / 'runs'}", "--name=real",
        "--epochs=1", "--batch_size=2", "--model=feedforward",
    ])  # fmt: skip
    summary = read(place, "real")
    assert summary["chance"] == 1 / 25
    assert np.sum(summary["confusion"]) == 2
    assert np.isfinite(summary["loss"])
    scores = read_scores(place / "runs" / "real", "test")
    assert (scores.data, scores.split) == ("nvgesture", "train.lst test.lst")
    assert all(name.startswith("class_") for name in scores.video)


def test_flow_of_colour_videos(place, weights, tmp_path):
    pytest.importorskip("av")
    takes = ("class_02/subject3_r0", "class_25/subject5_r1")
    for take in takes:
        write_video(tmp_path / "Video_data" / take / "sk_color.avi", numbered_pictures(12))
    for part, take, label in zip(("train", "test"), takes, (2, 25), strict=True):
        line = f"path:./Video_data/{take} color:sk_color:2:11 label:{label}\n"
        (tmp_path / f"{part}.lst").write_text(line)
    more = ["--data=nvgesture", "--preset=embedded", f"--source={tmp_path}", "--stride=1",
            "--lists", str(tmp_path / "train.lst"), str(tmp_path / "test.lst"), "--crop=16",
            "--epochs=1", "--batch_size=1", f"--weights={weights}", "--weights_input=caffe",
            "--name=flow"]  # fmt: skip
    main(flags(place, *more, "--modality=flow"))
    model = place / "runs" / "flow" / "model.safetensors"
    assert load(model).backbone.conv1a.in_features == 2
    for_flow = tmp_path / "flow.safetensors"
    sizes = {"width": 2, "hidden": 4, "image_size": 16, "clip_length": 4, "in_channels": 2}
    arrays = flat_parameters(C3D(**sizes, rngs=nnx.Rngs(0)))
    save_parameters(for_flow, arrays, {"architecture": "c3d", "arguments": json.dumps(sizes)})
    with pytest.raises(InputError, match="takes 2 channels; --modality=color"):
        main(flags(place, *more, "--modality=color", f"--weights={for_flow}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path:./a depth:sk_depth:1:x label:1", r"train.lst line 1 is 'path:./a .*expected path:"),
        ("path:./a depth:sk_depth:1:81 label:26", r"train.lst line 1 has the label 26; .*1 to 25"),
    ],
)
def test_faulty_lists_name_file_and_line(place, tmp_path, text, message):
    (tmp_path / "Video_data").mkdir()
    for name in ("train", "test"):
        (tmp_path / f"{name}.lst").write_text(text + "\n")
    lists = [str(tmp_path / f"{name}.lst") for name in ("train", "test")]
    with pytest.raises(InputError, match=message):
        main(flags(place, "--data=nvgesture", "--preset=embedded", f"--source={tmp_path}",
                   "--lists", *lists))  # fmt: skip
