"""The command line: what docs/weights.md shows, the exit status, errors on one line."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference_files as files
import torch
from flax import nnx
from random_model import random_model

from prernn_jax import surgery
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.command import run_command
from prernn_jax.files import models as saved_model
from prernn_jax.files.backbones import read_parameters, save_parameters
from weights_port.__main__ import main

pytestmark = pytest.mark.slow


def run(arguments):
    """The exit status of a command, as a shell sees it."""
    with pytest.raises(SystemExit) as left:
        run_command(main, arguments)
    return left.value.code


DOCS = Path(__file__).resolve().parents[2] / "docs" / "weights.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _commands():
    text = re.search(r"```bash\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL).group(1)
    return [line.split()[2:] for line in text.strip().splitlines()]


def _write_everything(folder):
    """Small files under the names of the published ones."""

    torch.save(files.vgg16().state_dict(), "vgg16-397923af.pth")
    torch.save(files.resnet50().state_dict(), "resnet50-0676ba61.pth")
    port = files.c3d(variant="pytorch")
    torch.save(port.state_dict(), "c3d.pickle", _use_new_zipfile_serialization=False)
    for name, layers, form in [
        ("VGG_ILSVRC_16_layers.caffemodel", files.caffe_vgg16(files.vgg16()), (1, "legacy")),
        ("conv3d_deepnetA_sport1m_iter_1900000", files.caffe_c3d(files.c3d()), (1, "fork")),
        ("ResNet-50-model.caffemodel",
         files.caffe_resnet50(files.resnet50(variant="caffe")), (2, "shape")),
    ]:  # fmt: skip
        (folder / name).write_bytes(files.caffemodel(layers, form[0], dialect=form[1]))
    mean = np.full((1, 3, 16, 128, 171), 98.0, np.float32)
    (folder / "sport1m_train16_128_mean.binaryproto").write_bytes(files.blob(mean, "fork"))
    (folder / "runs" / "spatial").mkdir(parents=True)
    arguments = {"width": 2, "hidden": 5, "image_size": 32}
    model = random_model(
        lambda: surgery.make_recurrent(
            VGG16(**arguments, rngs=nnx.Rngs(0)), ["fc7"], "gru", outputs=4, rngs=nnx.Rngs(1)
        )
    )
    saved_model.save(folder / "runs/spatial/model.safetensors", model)


def test_the_commands_of_the_page(folder, capsys):
    _write_everything(folder)
    commands = _commands()
    assert {command[0] for command in commands} == {
        "inspect", "convert", "verify", "flow-init", "export"
    }  # fmt: skip
    for command in commands:
        status = run(command)
        output = capsys.readouterr()
        assert (status, output.err) == (0, ""), command
        assert output.out
        for line in output.out.splitlines():
            assert len(line) < 400
    assert {
        "vgg16.safetensors", "c3d.safetensors", "resnet50-flow.safetensors", "spatial.pth"
    } <= {path.name for path in folder.iterdir()}  # fmt: skip
    flow, metadata = read_parameters("resnet50-flow.safetensors")
    rgb, _ = read_parameters("resnet50.safetensors")
    assert flow["conv1.kernel"].shape == (7, 7, 20, files.TINY_RESNET["stem_width"])
    mean = rgb["conv1.kernel"].mean(2, keepdims=True)
    np.testing.assert_allclose(flow["conv1.kernel"], np.repeat(mean, 20, 2), atol=1e-7)
    assert '"channels": "flow"' in metadata["preprocessing"]
    assert run(["verify", "resnet50-flow.safetensors", "--against", "resnet50-0676ba61.pth"]) == 2
    assert "flow-init" in capsys.readouterr().err


def test_the_table_of_the_page(folder, capsys):
    text = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL).group(1)
    (folder / "rules.toml").write_text(text, encoding="utf-8")
    plain = files.vgg16().state_dict()
    torch.save(plain, "plain.pth")
    run(["convert", "plain.pth", "--arch", "vgg16", "--out", "plain"])
    layers = {key.rpartition(".")[0]: None for key in plain}
    trunk = [f"trunk.{s}.{i}" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    names = dict(zip(layers, [*trunk, "top.6", "top.7", "top.8"], strict=True))
    other = {"history.loss": torch.ones(3)}
    for key, tensor in plain.items():
        layer, _, part = key.rpartition(".")
        other[f"{names[layer]}.{part[0]}"] = tensor
    torch.save(other, "x.pth")
    convert = ["convert", "x.pth", "--arch", "vgg16", "--out", "y", "--table", "rules.toml"]
    assert run(convert) == 0
    assert "left out (curves of the training): history.loss" in capsys.readouterr().out
    expected, found = read_parameters("plain")[0], read_parameters("y")[0]
    assert found.keys() == expected.keys()
    assert all(array.tobytes() == found[name].tobytes() for name, array in expected.items())
    assert run(["verify", "y", "--against", "x.pth"]) == 0
    assert run(["export", "y", "--out", "back.pth"]) == 0
    back = torch.load("back.pth", weights_only=True)
    assert all(torch.equal(back[key], other[key]) for key in back)
    capsys.readouterr()


def test_flow_init_of_every_backbone(folder, capsys):
    from prernn_jax.backbones.compact_vgg import CompactVGG
    from prernn_jax.files.backbones import flat_parameters, load_pretrained

    model = random_model(lambda: CompactVGG(image_size=16, rngs=nnx.Rngs(0)))
    save_parameters(
        "compact", flat_parameters(model),
        {"architecture": "compact_vgg", "arguments": '{"image_size": 16}'},
    )  # fmt: skip
    torch.save(files.vgg16().state_dict(), "x.pth")
    run(["convert", "x.pth", "--arch", "vgg16", "--out", "vgg"])
    for name, size in (("compact", 16), ("vgg", 64)):
        assert run(["flow-init", name, "--channels", "4", "--out", f"{name}-flow"]) == 0
        flow = load_pretrained(f"{name}-flow")
        assert flow.preprocess.to_json() != "{}"
        still = np.full((1, size, size, 4), 144, np.uint8)
        np.testing.assert_array_equal(flow.preprocess.normalise(still), np.ones(still.shape))
        assert flow(flow.preprocess.normalise(still)).shape[0] == 1
    capsys.readouterr()


def test_convert_prints_its_table(folder, capsys):
    torch.save(files.vgg16().state_dict(), "x.pth")
    assert run(["convert", "x.pth", "--arch", "vgg16", "--out", "y"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"classifier\.0\.weight +fc6\.kernel +O\(C·HW\) -> \(HW·C\)O +64x16", out)
    assert "layout torchvision" in out
    assert "total: 32 arrays converted, 0 left out, 0 fresh" in out
    assert run(["convert", "x.pth", "--arch", "vgg16", "--out", "y"]) == 2
    assert capsys.readouterr().err.startswith("error: y exists already")
    assert run(["convert", "x.pth", "--arch", "vgg16", "--out", "y", "--overwrite"]) == 0


def test_verify_finds_one_changed_bit(folder, capsys):
    torch.save(files.vgg16().state_dict(), "x.pth")
    run(["convert", "x.pth", "--arch", "vgg16", "--out", "y"])
    arrays, metadata = read_parameters("y")
    changed = {name: array.copy() for name, array in arrays.items()}
    changed["fc6.kernel"].view(np.uint32)[3, 2] ^= 1
    save_parameters("z", changed, metadata)
    capsys.readouterr()
    assert run(["verify", "z", "--against", "x.pth"]) == 1
    out = capsys.readouterr().out
    assert "classifier.0.weight -> fc6.kernel: 1 of 1024 numbers differ" in out
    torch.save(files.vgg16(num_outputs=9).state_dict(), "other.pth")
    assert run(["verify", "y", "--against", "other.pth", "--arrays-only"]) == 1
    assert "the SHA-256 differs" in capsys.readouterr().out
    save_parameters("plain", arrays, {"architecture": "vgg16"})
    assert run(["verify", "plain", "--against", "x.pth"]) == 2
    assert "convert` wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"\x08\x00" * 9, "no weights"),
        (None, "No such file"),
    ],
)
def test_bad_files_are_one_line_and_status_2(folder, capsys, content, message):
    if content is not None:
        (folder / "x.pth").write_bytes(content)
    for command in (["inspect", "x.pth"], ["convert", "x.pth", "--arch", "vgg16", "--out", "y"]):
        assert run(command) == 2
        err = capsys.readouterr().err
        assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", err)
    assert not (folder / "y").exists()


def test_unknown_options_and_flow_channels(folder, capsys):
    assert run(["convert", "x", "--archh", "vgg16"]) == 2
    torch.save(files.vgg16().state_dict(), "x.pth")
    run(["convert", "x.pth", "--arch", "vgg16", "--out", "y"])
    assert run(["flow-init", "y", "--channels", "7", "--out", "z"]) == 2
    assert "expected 2L" in capsys.readouterr().err
    assert run(["flow-init", "x.pth", "--out", "z"]) == 2
    assert "prernn port convert" in capsys.readouterr().err


def test_a_killed_conversion_leaves_no_half_file(folder):
    torch.save(files.vgg16().state_dict(), "x.pth")
    program = (
        "import os, signal, prernn_jax.files.array_blocks as b; old = b._fill\n"
        "def die(*a): old(*a); os.kill(os.getpid(), signal.SIGKILL)\n"
        "b._fill = die\n"
        "from weights_port.__main__ import main\n"
        "main(['convert', 'x.pth', '--arch', 'vgg16', '--out', 'y.safetensors'])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert result.returncode == -9
    assert not (folder / "y.safetensors").exists()
