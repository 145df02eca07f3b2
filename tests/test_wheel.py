"""The wheel in a clean environment: what a person gets who installs it without the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHORT = (
    "--stream=spatial", "--epochs=1", "--embedded.train=4", "--embedded.validation=4",
    "--embedded.test=8", "--embedded.static_train=8", "--embedded.static_validation=8",
    "--pretraining.rgb_epochs=1",
)  # fmt: skip
EXAMPLE = """
import numpy as np
import prernn_jax as pj

network = pj.vgg16(width=4, hidden=16, image_size=32)
network.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)
pj.save("vgg16.safetensors", network)
clips, more_clips = np.random.default_rng(0).integers(0, 256, (2, 1, 3, 32, 32, 3), np.uint8)

vgg = pj.load("vgg16.safetensors")
model = pj.make_recurrent(vgg, "fc7", cell="gru", outputs=136)
y, h = model(model.preprocess(clips))
y, h = model(model.preprocess(more_clips), carry=h)
base = pj.stack_recurrent(vgg, cell="gru", like=model)
pj.save("model.safetensors", model)
stream = pj.Stream(model)
assert y.shape == (1, 3, 136)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"  # nothing of an earlier build is in a copy
    for name in ("prernn_jax", "train", "weights_port"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", place, source]
    subprocess.run(command, check=True)
    return next(place.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_has_every_module_and_no_package_called_train(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if name.endswith(".py")}
    there = {"prernn_jax": "prernn_jax", "train": "prernn_train", "weights_port": "weights_port"}
    for folder, package in there.items():
        for file in (ROOT / folder).rglob("*.py"):
            assert str(Path(package) / file.relative_to(ROOT / folder)) in packed
    assert not any(name.startswith("train/") for name in names)
    for data in (
        "prernn_jax/py.typed", "prernn_jax/data/face/vw300_broken.json",
        "prernn_jax/demo/gesture.safetensors", "prernn_jax/page/site/index.html",
        "prernn_jax/page/site/page.css", "prernn_jax/page/site/page.js",
    ):  # fmt: skip
        assert data in names


@pytest.mark.slow
@pytest.mark.parametrize(
    "dependencies", ["of the tests", pytest.param("its own", marks=pytest.mark.nightly)]
)
def test_it_works_from_an_empty_folder_of_a_clean_environment(wheel, tmp_path, dependencies):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    install = ["pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    if dependencies == "of the tests":
        # Packages are found there. An editable prernn_jax is not: its own .pth file is not read.
        install.append("--no-deps")
        found = sysconfig.get_path("purelib", vars={"base": str(environment)})
        (Path(found) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(*command):
        variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
        variables["PRERNN_DATA_DIR"] = str(tmp_path / "data")
        done = subprocess.run(
            [binaries / command[0], *command[1:]],
            cwd=empty, env=variables, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    run(*install)
    assert str(environment) in run("python", "-c", "import prernn_jax; print(prernn_jax.__file__)")
    run("python", "-c", EXAMPLE)
    assert "fc7.kernel" in run("prernn", "port", "inspect", "vgg16.safetensors")
    said = run("prernn", "train", "action", *SHORT)
    assert "video_top1" in said
    assert list(empty.glob("runs/action/*/model.safetensors"))
