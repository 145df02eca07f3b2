"""`python -m train.gates` on finished runs of the three applications."""

import json
import shutil

import cv2
import numpy as np
import pytest
from drawn import drawn
from flax import nnx
from naive_gates import naive_model
from test_face import SHORT

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.data.drawn.actions import EmbeddedConfig
from prernn_jax.data.drawn.gestures import EmbeddedGesturesConfig
from prernn_jax.errors import InputError
from prernn_jax.files.models import apply_surgery, load, save
from train.action.config import ActionConfig
from train.face.__main__ import main as train_face
from train.finished import held_out_batches, open_run
from train.gates import main
from train.gesture.application import SPORTS1M
from train.gesture.config import GestureConfig
from train.run.backbone import RGB, Backbone, expecting
from train.run.config import settings_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a short run of face alignment, `lstm`, and the network it began with."""
    folder = tmp_path_factory.mktemp("gates")
    network = compact_vgg()
    save(folder / "vgg.safetensors", network.model)
    flags = [*SHORT, "--epochs=1", f"--workdir={folder}", f"--cache_dir={folder / 'data'}"]
    flags += [f"--weights={folder / 'vgg.safetensors'}", "--name=lstm", "--cell=lstm"]
    train_face([*flags, "--layers", "fc6", "fc7"])
    return folder


def compact_vgg():
    arguments = {"channels": (2, 4), "hidden": 16, "image_size": 24}
    model = drawn(lambda: CompactVGG(**arguments, rngs=nnx.Rngs(0)))
    return expecting(Backbone(model, ""), RGB)


def leave_run(path, config, backbone, surgery):
    """What a run leaves, without its training: settings, a saved model, a summary."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(settings_of(config)))
    (path / "summary.json").write_text("{}")
    model = apply_surgery(backbone.model, surgery, rngs=nnx.Rngs(0))
    save(path / "model.safetensors", model)


@pytest.mark.parametrize(("split", "frames"), [("test", 10 * 7), ("validation", 6 * 7)])
def test_a_run_is_counted(place, split, frames, capsys):
    run = place / "lstm"
    main([str(run), f"--set={split}", "--batch_size=3"])
    shown = capsys.readouterr().out
    found = json.loads((run / "gates.json").read_text())
    assert (found["model"], found["cell"], found["set"]) == ("pre", "lstm", split)
    assert found["thresholds"] == {"below": 0.1, "above": 0.9}
    opened = open_run(run)
    model = load(run / "model.safetensors")
    values = {}
    for batch in held_out_batches(opened, split, 8):
        clips = model.backbone.preprocess.normalise(batch["clips"])
        there = (np.arange(4) < batch["lengths"][:, None]) & batch["mask"][:, None]
        for layer, gates in naive_model(model, clips)[0].items():
            for gate, value in gates.items():
                values.setdefault((layer, gate), []).append(value[there])
    assert [(layer, gate) for layer in found["layers"] for gate in found["layers"][layer]] == [
        (layer, gate) for layer in ("fc6", "fc7") for gate in ("i", "f", "o")
    ]
    for (layer, gate), parts in values.items():
        value, counted = np.concatenate(parts), found["layers"][layer][gate]
        assert len(value) == frames
        assert counted["values"] == value.size
        assert counted["below"] == pytest.approx((value < 0.1).mean(), abs=2 / value.size)
        assert counted["above"] == pytest.approx((value > 0.9).mean(), abs=2 / value.size)
        assert counted["mean"] == pytest.approx(value.mean(), rel=1e-4)
        units = np.stack([(value < 0.1).mean(axis=0), (value > 0.9).mean(axis=0)], axis=1)
        np.testing.assert_allclose(counted["units"], units, atol=1.1 / frames)
        assert f"{100 * counted['above']:.1f}%" in shown
    assert cv2.imread(str(run / "gates.png")).std() > 10
    assert not list(run.glob("*.tmp"))


def test_a_traditional_run_of_action(tmp_path):
    sizes = {"train": 1, "validation": 1, "test": 3, "instances": 3, "backgrounds": 2}
    sizes |= {"static_train": 1, "static_validation": 1}
    config = ActionConfig(
        stream="spatial", model="traditional", embedded=EmbeddedConfig(**sizes), crop=32,
        cache_dir=tmp_path / "data", batch_size=4,
    )  # fmt: skip
    arguments = {"stage_sizes": (1,), "width": 2, "num_outputs": 3}
    backbone = Backbone(drawn(lambda: ResNet(**arguments, rngs=nnx.Rngs(0))), "")
    stacked = {"function": "stack_recurrent", "cell": "gru", "hidden": 5, "depth": 2, "outputs": 3}
    leave_run(tmp_path / "run", config, expecting(backbone, RGB), stacked)
    main([str(tmp_path / "run")])
    layers = json.loads((tmp_path / "run" / "gates.json").read_text())["layers"]
    assert list(layers) == ["extra.0", "extra.1"]
    for gates in layers.values():
        assert list(gates) == ["r", "z"]
        assert gates["r"]["values"] == 3 * 16 * 5  # videos, steps, units


def test_a_run_of_gesture(tmp_path):
    sizes = {"train": 1, "validation": 2, "test": 1, "pose_train": 1, "pose_validation": 1}
    config = GestureConfig(
        embedded=EmbeddedGesturesConfig(**sizes), crop=16, cache_dir=tmp_path / "data"
    )
    arguments = {
        "num_outputs": 3, "width": 2, "hidden": 4, "clip_length": 4, "image_size": 16,
        "stage_sizes": (1, 1),
    }  # fmt: skip
    backbone = Backbone(drawn(lambda: C3D(**arguments, rngs=nnx.Rngs(0))), "")
    call = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru", "extra": 1}
    leave_run(tmp_path / "run", config, expecting(backbone, SPORTS1M), call | {"outputs": 3})
    main([str(tmp_path / "run"), "--set=validation"])
    layers = json.loads((tmp_path / "run" / "gates.json").read_text())["layers"]
    assert list(layers) == ["fc7", "extra.0"]
    assert layers["fc7"]["z"]["values"] == 2 * 10 * 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch_size=0"], "--batch_size=0: expected 1 or more"),
        (["--source=/nowhere"], "--source belongs to real data"),
    ],
)
def test_bad_flags(place, more, message):
    with pytest.raises(InputError, match=message):
        main([str(place / "lstm"), *more])


def test_no_run(place):
    with pytest.raises(InputError, match=r"is not the folder of a run: it has no config\.json"):
        main([str(place / "data")])
    broken = place / "broken"
    shutil.copytree(place / "lstm", broken)
    (broken / "summary.json").unlink()
    with pytest.raises(InputError, match=r"has not ended: there is no summary\.json"):
        main([str(broken)])


def test_a_set_that_there_is_not(place):
    run = open_run(place / "lstm")
    with pytest.raises(InputError, match="--set=other: embedded has no such set, only train, "):
        held_out_batches(run, "other", 8)


@pytest.mark.parametrize(
    ("surgery", "message"),
    [
        ({"function": "per_frame"}, "is feed-forward and has no gates"),
        (
            {"function": "make_recurrent", "layers": ["fc6"], "cell": "vrnn"},
            "has vrnn layers, which have no gates; give a run with --cell=lstm",
        ),
    ],
)
def test_a_model_without_gates(place, tmp_path, surgery, message):
    config = open_run(place / "lstm").config
    leave_run(tmp_path / "run", config, compact_vgg(), surgery | {"outputs": 136})
    with pytest.raises(InputError, match=message):
        main([str(tmp_path / "run")])
