"""`--config` of another run and `--tags`: what is taken over, what is written, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prernn_jax.errors import InputError
from train.action.application import ACTION
from train.engine.log import MetricsLog
from train.face.application import FACE
from train.face.config import FaceConfig
from train.run.application import configuration
from train.run.config import settings_of


@pytest.fixture
def settings(tmp_path):
    """The settings of a run with flags of its own, as a file."""
    run = replace(
        FaceConfig(), cell="lstm", epochs=7, name="first", resume=True, normalise_by=(0, 1),
        tags=("old",), schedule=replace(FaceConfig().schedule, base=0.01),
    )  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings_of(run)))
    return file


def test_another_runs_settings_are_the_defaults(settings):
    found = configuration(FACE, [f"--config={settings}", "--epochs=3", "--tags", "a", "b"])
    assert (found.cell, found.schedule.base) == ("lstm", 0.01)
    assert found.normalise_by == (0, 1)
    assert (found.epochs, found.tags) == (3, ("a", "b"))  # flags win
    assert (found.name, found.resume) == (None, False)  # what belongs to that run alone
    assert found.config == settings
    assert configuration(FACE, ["--config", str(settings.parent)]).epochs == 7
    assert settings_of(found)["tags"] == ["a", "b"]


def test_settings_that_cannot_be_taken_over(settings, tmp_path):
    with pytest.raises(InputError, match="is of a run of faces; this is prernn train action"):
        configuration(ACTION, [f"--config={settings}"])
    for values, message in (
        ({"application": "face", "colour": 1}, "unknown setting 'colour'"),
        ({"application": "face", "epochs": "many"}, "epochs is 'many'; expected int"),
        ({"epochs": 3}, '"application" is None'),
        ([], '"application" is None'),
    ):
        file = tmp_path / "other.json"
        file.write_text(json.dumps(values))
        with pytest.raises(InputError, match=message):
            configuration(FACE, [f"--config={file}"])
    with pytest.raises(InputError, match=r"cannot read .*absent.json"):
        configuration(FACE, [f"--config={Path('absent.json')}"])


def test_tags_are_written_to_the_log(tmp_path):
    log = MetricsLog(tmp_path)
    log.tag(["wide", "second try"])
    log.close()
    assert log.read("run") == [{"step": 0, "kind": "run", "tags": ["wide", "second try"]}]
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"wide, second try" in events.read_bytes()
