"""Strange values in the metadata of sound files, and in settings: the project's error, one line."""

import json
from pathlib import Path
from typing import Any

import damage
import hypothesis
import pytest
from hypothesis import strategies as st
from random_model import random_model

import prernn_jax as pj
from prernn_jax.files import backbones
from prernn_jax.preprocess import Preprocessing
from train.face.config import FaceConfig
from train.finished import read_settings
from train.run.config import settings_of
from train.run.folder import differences

VGG = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}


def _object(name: str, count: int, folder: Path) -> dict[str, int]:
    """Values of another type or size in the metadata of a file whose digest is right."""
    network = random_model(lambda: pj.vgg16(**VGG))
    arrays = backbones.flat_parameters(network)
    call = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru", "extra": 0}
    good = {
        "arguments": VGG, "sequence": call,
        "preprocessing": json.loads(Preprocessing().to_json()),
    }  # fmt: skip
    counts = {"refused": 0, "read": 0}

    @damage.examples(count)
    @hypothesis.given(damage.changed(good[name]) | damage.json_values)
    def one(value: Any) -> None:
        metadata = {"architecture": "vgg16", "arguments": json.dumps(VGG), name: json.dumps(value)}
        backbones.save_parameters(folder / "x", arrays, metadata, overwrite=True)
        counts["refused" if damage.refused(lambda: pj.load(folder / "x")) else "read"] += 1

    one()
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arguments", "sequence", "preprocessing"])
def test_strange_metadata(name, tmp_path):
    assert _object(name, damage.FEW, tmp_path)["refused"]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["arguments", "sequence", "preprocessing"])
def test_much_strange_metadata(name, tmp_path, capsys):
    counts = _object(name, damage.MANY, tmp_path)
    with capsys.disabled():
        print(f"\n{name}: {counts}")


@pytest.mark.slow
def test_strange_settings(tmp_path):
    good = settings_of(FaceConfig())

    @hypothesis.settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @hypothesis.given(st.one_of(damage.changed(good), damage.json_values))
    def one(value: Any) -> None:
        (tmp_path / "config.json").write_text(json.dumps(value), encoding="utf-8")
        damage.refused(lambda: read_settings(tmp_path / "config.json"))
        damage.refused(lambda: differences(tmp_path, good))

    one()
