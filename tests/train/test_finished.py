"""A run's settings from its `config.json`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prernn_jax.errors import InputError
from train.action.config import ActionConfig, action_preset
from train.face.config import FaceConfig, face_preset
from train.finished import read_settings
from train.gesture.config import GestureConfig, gesture_preset
from train.run.config import settings_of

CONFIGS = {
    "action": ActionConfig(),
    "action, paper": action_preset({"preset": "paper", "stream": "spatial"}),
    "face": face_preset({}),
    "face, paper": replace(face_preset({"preset": "paper"}), boxes=Path("boxes.json"), hidden=7),
    "gesture": GestureConfig(),
    "gesture, paper": replace(gesture_preset({"preset": "paper"}), lists=("a", "b"), freeze=("x",)),
}


def write(folder, values):
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_they_are_those_that_were_written(tmp_path, name):
    config = CONFIGS[name]
    assert read_settings(write(tmp_path, settings_of(config))) == config


def test_a_whole_number_is_a_float_too_and_what_is_missing_has_its_default(tmp_path):
    values = settings_of(FaceConfig())
    del values["validate_every"], values["embedded"]["motion"]["yaw"]
    values["momentum"] = 0
    found = read_settings(write(tmp_path, values))
    assert found == replace(FaceConfig(), momentum=0.0)
    assert isinstance(found.momentum, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": "ten"}, "steps is 'ten'; expected int"),
        ({"steps": True}, "steps is True; expected int"),
        ({"steps": None}, "steps is None; expected int"),
        ({"cell": "rnn"}, r"cell is 'rnn'; expected Literal\['vrnn', 'lstm', 'gru'\]"),
        ({"hidden": "wide"}, "hidden is 'wide'; expected "),
        ({"layers": "fc6"}, r"layers is 'fc6'; expected tuple\[str, ...\]"),
        ({"weights": 3}, r"weights is 3; expected pathlib\.Path \| None"),
        ({"schedule": {"base": "fast"}}, r"schedule\.base is 'fast'; expected float"),
        ({"schedule": {"speed": 1}}, "unknown setting 'schedule.speed'"),
        ({"schedule": 1}, "schedule is 1; expected Schedule"),
        ({"speed": 1}, "unknown setting 'speed'"),
        (
            {"application": "faces"},
            "\"application\" is 'faces'; expected one of action, face, gesture",
        ),
    ],
)
def test_values_that_no_run_has(tmp_path, change, message):
    path = write(tmp_path, settings_of(FaceConfig()) | change)
    with pytest.raises(InputError, match=message):
        read_settings(path)


@pytest.mark.parametrize("values", [{}, [], {"steps": 4}])
def test_no_settings(tmp_path, values):
    with pytest.raises(InputError, match='"application" is None'):
        read_settings(write(tmp_path, values))


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_settings(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        read_settings(tmp_path / "config.json")
