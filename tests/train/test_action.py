"""`python -m train.action` from the command line to its files, on a small set."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from short_run import in_folder

from prernn_jax.backbones.c3d import C3D
from prernn_jax.data.action.datasets import embedded_actions
from prernn_jax.data.action.loader import eval_loader
from prernn_jax.data.drawn.action_clip import make_clip
from prernn_jax.data.drawn.actions import EmbeddedConfig
from prernn_jax.errors import InputError
from prernn_jax.files.backbones import flat_parameters, save_parameters
from prernn_jax.files.models import load
from prernn_jax.metrics import sequence_scores, top1
from prernn_jax.predict.predictor import Predictor
from train.action.__main__ import main
from train.action.config import action_preset, paper
from train.fuse import main as fuse_main
from train.run.scores import read_scores

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
# A clip drawn for training stands for eight.
SIZES = {"train": 4, "validation": 10, "test": 20, "static_train": 8, "static_validation": 16}
SHORT = [f"--embedded.{name}={size}" for name, size in SIZES.items()]
SHORT += ["--pretraining.rgb_epochs=1", "--pretraining.flow_epochs=1", "--crop=32", "--steps=3"]
SHORT += ["--epochs=2", "--batch_size=16"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which a short run has been made under the name `first`."""
    folder = tmp_path_factory.mktemp("action")
    main(flags(folder, "--name=first", "--film=2"))
    return folder


def flags(folder, *more):
    return in_folder(SHORT, folder, *more)


def start(arguments, **options):
    command = [sys.executable, "-m", "train.action", *arguments]
    # XLA_FLAGS too: another number of devices divides sums otherwise, which shows in the last bit.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, **options,
    )  # fmt: skip


def read(folder, name, file):
    return (folder / "runs" / name / file).read_bytes()


def test_a_run_leaves_everything(place):
    run = place / "runs" / "first"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["chance"] == 1 / 20
    assert 0 <= summary["video_top1"] <= 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "validation"] * 2 + ["test"]
    assert lines[0]["rate"] > lines[2]["rate"]
    assert np.sum(summary["confusion"]) == 20
    with Image.open(run / "film.gif") as film:
        assert film.n_frames == 2 * 3  # videos and steps
    for picture in ("curves.png", "confusion.png"):
        assert cv2.imread(str(run / picture)).std() > 10
    assert list((run / "tensorboard").glob("events*"))
    assert (run / "checkpoints" / "4").is_dir()


def test_the_run_can_be_exported(place):
    pytest.importorskip("torch")
    from exported_alike import assert_exported_alike

    assert_exported_alike(place / "runs" / "first", place / "first.pth")


def test_the_saved_model_gives_the_same_result(place):
    model = load(place / "runs" / "first" / "model.safetensors")
    model.eval()
    data = embedded_actions(place / "data", EmbeddedConfig(**SIZES))
    scores, labels = [], []
    for batch in eval_loader(
        data.splits["test"], stream="temporal", batch_size=16, steps=3, stack=2, crop=32
    ):
        outputs, _ = model(model.backbone.preprocess.normalise(batch["clips"]))
        scores.append(sequence_scores(outputs, jnp.asarray(batch["lengths"]))[batch["mask"]])
        labels.append(batch["labels"][batch["mask"]])
    found = top1(np.concatenate(scores), np.concatenate(labels))
    summary = json.loads(read(place, "first", "summary.json"))
    assert found == summary["video_top1"]


def test_the_copied_file_says_of_raw_frames_what_the_program_tested(place, tmp_path):
    """The same pictures, flow and batches; the cached trunk of the run rounds otherwise."""
    copied = shutil.copy(place / "runs/first/model.safetensors", tmp_path)
    predictor = Predictor(load(copied))
    tested = read_scores(place / "runs/first", "test")
    settings = EmbeddedConfig(**SIZES)
    for number in (0, 5, 11):
        found = predictor(make_clip(settings, "test", number).frames)
        np.testing.assert_allclose(found.scores, tested.scores[number], rtol=1e-6)
        assert found.top(1)[0][0] == tested.classes[tested.scores[number].argmax()]


def test_the_same_seed_gives_the_same_numbers(place):
    main(flags(place, "--name=again"))
    first, again = (json.loads(read(place, n, "summary.json")) for n in ("first", "again"))
    for name in ("video_top1", "clip_top1", "loss"):
        assert first[name] == again[name]
    assert read(place, "first", "model.safetensors") == read(place, "again", "model.safetensors")


def test_killed_and_resumed_equals_whole(place):
    run = place / "runs" / "killed"
    process = start(flags(place, "--name=killed"))
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "2").is_dir():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    shutil.rmtree(run / "checkpoints" / "4", ignore_errors=True)  # where the kill came late
    main(flags(place, "--name=killed", "--resume"))
    assert read(place, "first", "model.safetensors") == read(place, "killed", "model.safetensors")
    steps = [
        json.loads(line)["step"] for line in read(place, "killed", "metrics.jsonl").splitlines()
    ]
    assert steps == [2, 2, 4, 4, 4]


@pytest.mark.parametrize(
    "more",
    [
        ["--model=feedforward"],
        ["--model=traditional", "--cell=lstm"],
        ["--init=random", "--trunk=trained", "--dropout=0.5", "--optimizer=sgd"],
        ["--trunk=trained", "--batch_norm=train", "--dropout=0.5", "--devices=2"],
    ],
)
def test_other_models(place, more):
    main(flags(place, "--name=other", "--epochs=1", *more))
    summary = json.loads(read(place, "other", "summary.json"))
    assert np.isfinite(summary["loss"])


def test_both_streams_together(place, tmp_path, capsys):
    more = ["--model=pre_sih", "--cell=vrnn", "--stream=spatial", "--precision=bfloat16"]
    main(flags(place, "--name=spatial", "--epochs=1", *more))
    assert np.isfinite(json.loads(read(place, "spatial", "summary.json"))["loss"])
    both = [str(place / "runs" / name) for name in ("spatial", "first")]
    capsys.readouterr()
    fuse_main([*both, "--choose", f"--out={tmp_path / 'both.json'}"])
    found = json.loads((tmp_path / "both.json").read_text())
    for alone, name in zip(found["video_top1_of_each"], ("spatial", "first"), strict=True):
        assert alone == json.loads(read(place, name, "summary.json"))["video_top1"]
    assert found["videos"] == 20
    assert f"{found['video_top1']:.4f}  together" in capsys.readouterr().out
    config = EmbeddedConfig(**SIZES)
    assert found["data"] == f"embedded-{config.key}"
    for which in ("test", "validation"):
        scores = read_scores(place / "runs" / "spatial", which)
        source = embedded_actions(place / "data", config).splits[which]
        records = [source[number] for number in range(SIZES[which])]
        assert scores.video.tolist() == [record["name"] for record in records]
        assert scores.labels.tolist() == [record["label"] for record in records]
        np.testing.assert_allclose(scores.scores.sum(axis=1), 1, atol=1e-2)  # bfloat16


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--devices=3"], "batch_size=16 cannot be split over 3"),
        (["--accumulate=5"], "--accumulate=5: expected a divisor of a device's 16 sequences"),
        (["--devices=64"], "this machine has"),
        (["--epochs=0"], "--epochs=0: expected 1 or more"),
        (["--data=ucf101", "--preset=embedded"], "needs --source"),
        (["--data=ucf101", "--preset=embedded", "--source=/nowhere"], "/nowhere"),
        (["--source=/tmp"], "--source belongs to real data"),
        (["--data=ucf101", "--source=/nowhere"], "give --weights"),
        (["--weights=/nowhere.safetensors"], "nowhere.safetensors"),
        (["--name=first", "--resume", "--cell=lstm"], "cell was 'gru' and is 'lstm'"),
        (["--name=nothing", "--resume"], "there is no run"),
        (["--freeze=nothing"], "matches the whole name of no parameter"),
        (["--model=feedforward", "--init=random"], "has no pre-trained layer"),
        (["--stack=5"], "made for stacks of 2"),
        (["--seed=-1"], "--seed=-1: expected 0"),
        (["--dropout=1"], "expected 0 or more and less than 1"),
    ],
)
def test_bad_input(place, more, message):
    with pytest.raises(InputError, match=message):
        main(flags(place, *more))


def test_weights_of_another_architecture(place):
    small = {"width": 2, "image_size": 32, "hidden": 4, "num_outputs": 3}
    path = place / "other.safetensors"
    arrays = flat_parameters(C3D(**small, rngs=nnx.Rngs(0)))
    save_parameters(path, arrays, {"architecture": "c3d", "arguments": json.dumps(small)})
    with pytest.raises(InputError, match="holds a C3D; this application needs a ResNet"):
        main(flags(place, f"--weights={path}"))


def test_a_fault_is_one_line_and_status_2(place):
    process = start(flags(place, "--devices=7"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.strip().startswith("error: --devices=7")
    assert "Traceback" not in out + err


def test_an_unknown_flag_is_status_2_and_a_suggestion(place, capsys):
    with pytest.raises(SystemExit) as left:
        main(["--strem", "temporal"])
    assert left.value.code == 2
    assert "--stream" in capsys.readouterr().err


def test_the_paper_preset_is_the_papers():
    for stream, rate, epochs in (("spatial", 3e-4, 90), ("temporal", 1e-2, 100)):
        config = paper(stream)
        assert (config.schedule.base, config.epochs) == (rate, epochs)
        assert (config.schedule.shape, config.schedule.every) == ("halving", 10)
        assert (config.momentum, config.weight_decay) == (0.9, 5e-4)
        assert action_preset({"stream": stream, "preset": "paper"}) == config
        assert action_preset({"stream": stream, "data": "ucf101"}) == config
    assert action_preset({}).stream == "temporal"
    assert action_preset({}).preset == "embedded"


def test_two_real_clips_of_ucf101_are_learned(place, shared_data, tmp_path):
    source = tmp_path / "ucf101"
    lists = source / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 BaseballPitch\n")
    clips = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01", "BaseballPitch/v_BaseballPitch_g01_c01"]
    (lists / "trainlist01.txt").write_text(f"{clips[0]}.avi 1\n{clips[1]}.avi 2\n")
    # The same clips in training and test: this shows that the path works, not how well.
    tested = [clip.replace("g01", "g02") for clip in clips]
    (lists / "testlist01.txt").write_text(f"{tested[0]}.avi\n{tested[1]}.avi\n")
    for name, clip in zip([*clips, *tested], [*clips, *clips], strict=True):
        link = source / "UCF-101" / f"{name}.avi"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shared_data / "ucf101" / "UCF-101" / f"{clip}.avi")
    (weights,) = (place / "runs" / "pretrained").glob("temporal-*")

    main([
        "--data=ucf101", "--preset=embedded", f"--source={source}", f"--weights={weights}",
        f"--cache_dir={place / 'data'}", f"--workdir={place / 'runs'}", "--name=two",
        "--crop=64", "--steps=8", "--stack=2", "--epochs=150", "--batch_size=2",
        "--trunk=trained", "--batch_norm=train", "--optimizer=sgd", "--schedule.base=0.05",
        "--checkpoint_every=150",
    ])  # fmt: skip
    lines = map(json.loads, read(place, "two", "metrics.jsonl").splitlines())
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[0] > 0.3
    assert np.median(losses[-30:]) < 0.2  # chance: 0.69; processors round differently
    summary = json.loads(read(place, "two", "summary.json"))
    assert summary["video_top1"] == 1.0
    scores = read_scores(place / "runs" / "two", "test")
    assert (scores.data, scores.split, scores.video.tolist()) == ("ucf101", "1", tested)
    with pytest.raises(InputError, match=r"no scores-validation\.npz in .*two"):
        read_scores(place / "runs" / "two", "validation")
    assert summary["loss"] < 0.5  # by the running statistics of batches of two
