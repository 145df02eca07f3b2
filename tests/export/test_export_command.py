"""`prernn export` from the command line to its files, and the model's card."""

import json
import sys

import numpy as np
import pytest
from drawn import drawn

import prernn_jax as pj
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.errors import InputError
from prernn_jax.export.__main__ import main
from prernn_jax.export.model_card import card, write_card
from prernn_jax.files.models import load

runtime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of gestures."""
    folder = tmp_path_factory.mktemp("export") / "hands"
    folder.mkdir()
    backbone = pj.c3d(
        num_outputs=2, width=2, hidden=5, image_size=16, clip_length=2, in_channels=1,
        stage_sizes=(1,),
    )  # fmt: skip
    model = drawn(lambda: pj.make_recurrent(backbone, "fc7", cell="lstm"))
    model.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.5,))
    model.inference = pj.Inference(
        "gesture", steps=3, size=16, channels=1, classes=("push", "pull"), clip_length=2, gray=True
    )
    pj.save(folder / "model.safetensors", model)
    (folder / "config.json").write_text(json.dumps({"application": "gesture", "data": "embedded"}))
    (folder / "summary.json").write_text(json.dumps({"video_top1": 0.875, "seconds": 3}))
    return folder


def test_onnx(run, tmp_path, capsys):
    (tmp_path / "step.stablehlo").write_bytes(b"")  # of an earlier call
    main([str(run), f"--out={tmp_path}"])
    session = runtime.InferenceSession(str(tmp_path / "step.onnx"))
    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        ("frames", ["batch", 2, 16, 16, 1]),
        ("carry_0_h", ["batch", 5]),
        ("carry_0_c", ["batch", 5]),
    ]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["inference"])["classes"] == ["push", "pull"]
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 16, 16, 1)).astype(np.float32)
    zeros = np.zeros((1, 5), np.float32)
    found = session.run(None, {"frames": frames, "carry_0_h": zeros, "carry_0_c": zeros})[0]
    model = load(run / "model.safetensors")
    expected = model(model.preprocess.normalise(frames[:, None]))[0][:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    said = capsys.readouterr().out
    for name in ("step.onnx", "sequence.onnx", "README.md"):
        assert name in said
        assert (tmp_path / name).is_file()
    card_there = (tmp_path / "README.md").read_text()
    assert "- `step.onnx`: one step" in card_there
    assert "- `step.stablehlo`: one step" in card_there
    assert "sequence.stablehlo" not in card_there


def test_torch(run, tmp_path):
    torch = pytest.importorskip("torch")
    main([str(run / "model.safetensors"), "--format=torch", f"--out={tmp_path}"])
    state = torch.load(tmp_path / "model.pth", weights_only=True)
    assert "inference" in state["metadata"]


def test_the_card_says_what_the_files_say(run):
    text = card(run / "model.safetensors", {"step.onnx": "one step"})
    assert text.startswith("---\nlibrary_name: prernn-jax\nlicense: apache-2.0\n")
    for part in (
        "# hands", "| accuracy over videos | 0.8750 |", "push, pull", "16x16 pixels",
        "3 clips of 2 frames, grey", "- `step.onnx`: one step", "it knows nothing of real videos",
    ):  # fmt: skip
        assert part in text


def test_a_card_without_a_run(tmp_path):
    model = drawn(lambda: pj.make_recurrent(CompactVGG(channels=(2,), hidden=3, image_size=8)))
    pj.save(tmp_path / "model.safetensors", model)
    text = write_card(tmp_path / "model.safetensors").read_text()
    assert "license: other" in text
    assert "does not say how a video becomes the input" in text
    assert "their licences decide" in text


@pytest.mark.parametrize(
    ("kind", "package", "message"),
    [
        ("onnx", "onnx", r"needs the package onnx: pip install 'prernn-jax\[onnx\]'"),
        ("stablehlo", "flatbuffers", "needs the package flatbuffers: pip install flatbuffers"),
    ],
)
def test_a_package_that_is_not_installed(run, tmp_path, monkeypatch, kind, package, message):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=message):
        main([str(run), f"--format={kind}", f"--out={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()


def test_bad_input(run, tmp_path):
    with pytest.raises(InputError, match="is no finished run"):
        main([str(tmp_path)])
    model = load(run / "model.safetensors")
    model.inference = None
    pj.save(tmp_path / "old.safetensors", model)
    with pytest.raises(InputError, match="does not say how a video becomes its input"):
        main([str(tmp_path / "old.safetensors"), f"--out={tmp_path / 'out'}"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        main([str(run), f"--out={tmp_path / 'file'}"])
    assert not (tmp_path / "out").exists()
