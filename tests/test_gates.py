"""Gates: those that the network computes, counted over a set, and `python -m train.gates`."""

import json
import shutil

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Tiny, drawn, random_clips, resnet
from flax import nnx
from test_face import SHORT

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.data.embedded import EmbeddedConfig
from prernn_jax.data.embedded_gestures import EmbeddedGesturesConfig
from prernn_jax.errors import InputError
from prernn_jax.gates import layer_gates, layer_paths, model_gates
from prernn_jax.module_path import get_layer
from prernn_jax.preprocess import Preprocessing
from prernn_jax.pretrained import flat_parameters, save_parameters
from prernn_jax.recurrent import Recurrent
from prernn_jax.saved_model import apply_surgery, load_model, save_model
from prernn_jax.surgery import make_recurrent, stack_recurrent
from train.action_config import ActionConfig
from train.backbone import RGB, Backbone, expecting
from train.face import main as train_face
from train.finished_run import held_out_batches, open_run
from train.gates import count_all, main, shares
from train.gesture import SPORTS1M
from train.gesture_config import GestureConfig
from train.stage_two import settings_of

LENGTHS = np.array([4, 1, 3], np.int32)
NAMES = {"lstm": ("i", "f", "o"), "gru": ("r", "z")}


def tiny(*arguments, **options):
    return make_recurrent(Tiny(rngs=nnx.Rngs(0)), *arguments, **options, rngs=nnx.Rngs(1))


MODELS = {
    "two LSTM": lambda: tiny(["fc6", "fc7"], "lstm"),
    "LSTM-SIH and a new one": lambda: tiny(["fc7"], "lstm", True, extra=1),
    "GRU, plain": lambda: tiny(["fc6"], "gru", readout=None),
    "GRU-SIH": lambda: tiny(["fc7"], "gru", True),
    "traditional": lambda: stack_recurrent(Tiny(rngs=nnx.Rngs(0)), "gru", 5, 2, rngs=nnx.Rngs(1)),
    "ResNet": lambda: make_recurrent(resnet(), cell="gru", rngs=nnx.Rngs(1)),
}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def projected(layer, x):
    """W x + b of every gate, each (B, T, F), for a `Recurrent` or a `RecurrentConv`."""
    numbers = {
        ".".join(map(str, path)): np.asarray(leaf[...], np.float64)
        for path, leaf in nnx.to_flat_state(nnx.state(layer))
    }
    if isinstance(x, tuple):
        inputs, shortcut = x
        state = inputs @ numbers["kernel"]  # (B, T, h, w, G·F)
        state = (state - numbers["norm.mean"]) / np.sqrt(numbers["norm.var"] + 1e-5)
        state = (state * numbers["norm.scale"] + numbers["norm.bias"]).mean(axis=(2, 3))
        blocks = np.split(state, state.shape[-1] // shortcut.shape[-1], axis=-1)
        blocks = [block + shortcut.mean(axis=(2, 3)) for block in blocks]
    else:
        state = x @ numbers["kernel"] + numbers["bias"]
        blocks = np.split(state, state.shape[-1] // layer.features, axis=-1)
    return blocks if len(blocks) == layer.gates else blocks * layer.gates


def naive(layer, x):
    """One step after the other: gates by name (B, T, F) and hidden states (B, T, F)."""
    u = np.asarray(layer.recurrent_kernel[...], np.float64)
    p = projected(layer, x)
    h = c = np.zeros_like(p[0][:, 0])
    gates, states = {name: [] for name in NAMES[layer.cell]}, []
    for t in range(p[0].shape[1]):
        if layer.cell == "lstm":
            i, f, o = (sigmoid(p[k][:, t] + h @ u[k].T) for k in (0, 1, 3))
            c = f * c + i * np.tanh(p[2][:, t] + h @ u[2].T)
            h = o * np.tanh(c)
            now = i, f, o
        else:
            r, z = (sigmoid(p[k][:, t] + h @ u[k].T) for k in (0, 1))
            h = (1 - z) * h + z * np.tanh(p[2][:, t] + (r * h) @ u[2].T)
            now = r, z
        states.append(h)
        for name, value in zip(gates, now, strict=True):
            gates[name].append(value)
    return {k: np.stack(v, axis=1) for k, v in gates.items()}, np.stack(states, axis=1)


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])


def naive_model(model, clips):
    """The gates of all layers and the outputs (B, T, K)."""
    *hidden, last = model.backbone.head
    network = model.backbone
    x = (network.trunk if model.converted else network.features)(
        clips.reshape(-1, *clips.shape[2:])
    )
    x = jax.tree.map(lambda a: np.asarray(a, np.float64).reshape(*clips.shape[:2], *a.shape[1:]), x)
    found = {}
    for entry in hidden if model.converted else ():
        layer = get_layer(network, entry.name)
        if entry.name in model.converted:
            found[entry.name], x = naive(layer, x)
            x = x if layer.readout is None else np.maximum(x, 0)
        else:
            x = np.maximum(linear(layer, x), 0)
    for number, layer in enumerate(model.extra):
        found[f"extra.{number}"], x = naive(layer, x)
    return found, linear(get_layer(network, last.name), x)


@pytest.mark.parametrize("name", MODELS)
def test_the_gates_are_those_that_the_network_computes(name):
    model = drawn(MODELS[name])
    model.eval()
    clips = random_clips(3, 4)
    wanted, outputs = naive_model(model, clips)
    there = np.arange(4) < LENGTHS[:, None]
    padded = jnp.where(there[:, :, None, None, None], clips, 1e3)

    @jax.jit
    def run(clips):
        lengths = jnp.asarray(LENGTHS)
        return model(clips, lengths=lengths)[0], model_gates(model, clips, lengths=lengths)

    got, gates = run(padded)
    # The loop above is the network: what it hands on is what the network hands on.
    np.testing.assert_allclose(np.asarray(got)[there], outputs[there], rtol=1e-4, atol=1e-4)
    assert list(wanted) == list(layer_paths(model))
    assert gates.keys() == wanted.keys()
    for layer, named in wanted.items():
        assert gates[layer].keys() == named.keys()
        for gate, values in named.items():
            assert values[there].std() > 0.01
            found = np.asarray(gates[layer][gate])[there]
            np.testing.assert_allclose(found, values[there], rtol=1e-4, atol=1e-5)


def test_a_carry_goes_on():
    layer = drawn(lambda: Recurrent(5, 6, "gru", rngs=nnx.Rngs(0)))
    x = random_clips(2, 4, (5,))

    @jax.jit
    def run(x):
        _, carry = layer(x[:, :2])
        later = x[:, 2:]
        return layer_gates(layer, x), layer_gates(layer, later, carry), layer_gates(layer, later)

    whole, rest, anew = run(x)
    np.testing.assert_allclose(rest["z"], whole["z"][:, 2:], rtol=1e-5)
    assert np.abs(rest["z"] - anew["z"]).max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_always_open_and_always_shut(precision):
    model = drawn(lambda: tiny(["fc7"], "lstm"))
    model.backbone.preprocess = Preprocessing()
    bias = np.repeat(np.float32([-200, 200, 0, 0]), 6)  # i, f, g, o
    bias[6] = -200  # the first unit's forget gate
    model.backbone.fc7.bias.set_value(jnp.asarray(bias))
    kernel = model.backbone.fc7.kernel
    kernel.set_value(kernel[...] * np.float32(1e-3))
    clips = np.random.default_rng(0).normal(size=(3, 4, 32, 32, 3)).astype(np.float32)
    batch = {"clips": clips, "lengths": LENGTHS, "mask": np.array([True, True, False])}
    tally, steps = count_all(model, precision, [batch, batch])
    assert steps == 2 * (4 + 1)
    gates = shares(model, tally, steps)["fc7"]
    assert (gates["i"]["below"], gates["i"]["above"]) == (1, 0)
    assert gates["f"]["units"] == [[1, 0]] + [[0, 1]] * 5
    assert (gates["f"]["below"], gates["f"]["above"]) == pytest.approx((1 / 6, 5 / 6))
    assert (gates["o"]["below"], gates["o"]["above"]) == (0, 0)
    assert gates["o"]["mean"] == pytest.approx(0.5, abs=0.05)
    assert gates["o"]["values"] == steps * 6


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a short run of face alignment, `lstm`, and the network it began with."""
    folder = tmp_path_factory.mktemp("gates")
    network = compact_vgg()
    arrays = flat_parameters(network.model)
    save_parameters(folder / "vgg.safetensors", arrays, network.metadata)
    flags = [*SHORT, "--epochs=1", f"--workdir={folder}", f"--cache_dir={folder / 'data'}"]
    flags += [f"--weights={folder / 'vgg.safetensors'}", "--name=lstm", "--cell=lstm"]
    train_face([*flags, "--layers", "fc6", "fc7"])
    return folder


def compact_vgg():
    arguments = {"channels": (2, 4), "hidden": 16, "image_size": 24}
    metadata = {"architecture": "compact_vgg", "arguments": json.dumps(arguments)}
    model = drawn(lambda: CompactVGG(**arguments, rngs=nnx.Rngs(0)))
    return expecting(Backbone(model, metadata, ""), RGB)


def leave_run(path, config, backbone, surgery):
    """What a run leaves, without its training: settings, a saved model, a summary."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(settings_of(config)))
    (path / "summary.json").write_text("{}")
    model = apply_surgery(backbone.model, surgery, rngs=nnx.Rngs(0))
    save_model(path / "model.safetensors", model, backbone.metadata, surgery)


@pytest.mark.parametrize(("split", "frames"), [("test", 10 * 7), ("validation", 6 * 7)])
def test_a_run_is_counted(place, split, frames, capsys):
    run = place / "lstm"
    main([str(run), f"--set={split}", "--batch_size=3"])
    shown = capsys.readouterr().out
    found = json.loads((run / "gates.json").read_text())
    assert (found["model"], found["cell"], found["set"]) == ("pre", "lstm", split)
    assert found["thresholds"] == {"below": 0.1, "above": 0.9}
    opened = open_run(run)
    model = load_model(run / "model.safetensors")
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
    metadata = {"architecture": "resnet", "arguments": json.dumps(arguments)}
    backbone = Backbone(drawn(lambda: ResNet(**arguments, rngs=nnx.Rngs(0))), metadata, "")
    stacked = {"function": "stack_recurrent", "cell": "gru", "hidden": 5, "layers": 2, "outputs": 3}
    leave_run(tmp_path / "run", config, expecting(backbone, RGB), stacked)
    main([str(tmp_path / "run")])
    layers = json.loads((tmp_path / "run" / "gates.json").read_text())["layers"]
    assert list(layers) == ["extra.0", "extra.1"]
    for gates in layers.values():
        assert list(gates) == ["r", "z"]
        assert gates["r"]["values"] == 3 * 6 * 5  # videos, steps, units


def test_a_run_of_gesture(tmp_path):
    sizes = {"train": 1, "validation": 2, "test": 1, "pose_train": 1, "pose_validation": 1}
    config = GestureConfig(
        embedded=EmbeddedGesturesConfig(**sizes), crop=16, cache_dir=tmp_path / "data"
    )
    arguments = {
        "num_outputs": 3, "width": 2, "hidden": 4, "clip_length": 4, "image_size": 16,
        "stage_sizes": (1, 1),
    }  # fmt: skip
    metadata = {"architecture": "c3d", "arguments": json.dumps(arguments)}
    backbone = Backbone(drawn(lambda: C3D(**arguments, rngs=nnx.Rngs(0))), metadata, "")
    call = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru", "extra": 1}
    leave_run(tmp_path / "run", config, expecting(backbone, SPORTS1M), call | {"outputs": 3})
    main([str(tmp_path / "run"), "--set=validation"])
    layers = json.loads((tmp_path / "run" / "gates.json").read_text())["layers"]
    assert list(layers) == ["fc7", "extra.0"]
    assert layers["fc7"]["z"]["values"] == 2 * 6 * 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--batch_size=0"], "--batch_size=0: expected 1 or more"),
        (["--data_dir=/nowhere"], "--data_dir belongs to real data"),
    ],
)
def test_bad_flags(place, more, message):
    with pytest.raises(InputError, match=message):
        main([str(place / "lstm"), *more])


def test_no_run(place):
    with pytest.raises(InputError, match=r"is no folder of a run: there is no config\.json"):
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
