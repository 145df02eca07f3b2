"""Strange values in the metadata of sound files, and in settings: the project's error, one line."""

import json
from pathlib import Path
from typing import Any

import damage
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from random_model import random_model

import prernn_jax as pj
from prernn_jax.files import backbones, safetensors
from prernn_jax.preprocess import Preprocessing
from train.face.config import FaceConfig
from train.finished import read_settings
from train.run.config import settings_of
from train.run.folder import differences

VGG = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}
ENTRIES = ["arguments", "sequence", "preprocessing", "inference"]


def _object(name: str, count: int, folder: Path) -> dict[str, int]:
    """Values of another type or size in the metadata of a file whose digest is right."""
    network = random_model(lambda: pj.vgg16(**VGG))
    network.preprocess = Preprocessing(mean=(1.0, 2.0, 3.0))
    model = random_model(lambda: pj.make_recurrent(network, "fc7", outputs=4))
    model.inference = pj.Inference("action", steps=2, size=32, classes=("a", "b", "c", "d"))
    pj.save(folder / "good", model)
    arrays, metadata = safetensors.read(folder / "good")
    counts = {"refused": 0, "read": 0}

    @damage.examples(count)
    @hypothesis.given(damage.changed(json.loads(metadata[name])) | damage.json_values)
    def one(value: Any) -> None:
        changed = {**metadata, name: json.dumps(value)}
        backbones.save_parameters(folder / "x", arrays, changed, overwrite=True)
        found: list[Any] = []
        refused = damage.refused(lambda: found.append(pj.load(folder / "x")))
        counts["refused" if refused else "read"] += 1
        if not refused:  # what is read is whole: it can be written again, and has the same arrays
            pj.save(folder / "again", found[0], overwrite=True)
            again, _ = safetensors.read(folder / "again")
            assert again.keys() == arrays.keys()
            assert all(np.array_equal(again[key], array) for key, array in arrays.items())

    one()
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_strange_metadata(name, tmp_path):
    counts = _object(name, damage.FEW, tmp_path)
    assert counts["refused"]
    assert counts["refused"] + counts["read"] >= damage.FEW


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENTRIES)
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
