"""What a model's file says of its input: kept, versioned, and never believed blindly."""

import json
from dataclasses import asdict

import pytest

from prernn_jax.errors import InputError
from prernn_jax.inference import VERSION, Inference

ACTION = Inference(
    "action", steps=6, size=64, channels=8, classes=("run", "jump"), pictures="flow", stack=4,
    windows=5, flow="dis", short_side=256, batch_size=16,
)  # fmt: skip


@pytest.mark.parametrize(
    "inference",
    [
        ACTION,
        Inference("gesture", 6, 48, 1, ("push", "pull"), clip_length=4, stride=3, gray=True),
        Inference("face", 10, 48, box="face", enlarge=1.5, points=5, quality=97),
    ],
)
def test_it_is_read_as_it_was_written(inference):
    assert Inference.from_json(inference.to_json()) == inference
    assert json.loads(inference.to_json())["version"] == VERSION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": VERSION + 1}, "install a newer prernn-jax"),
        ({"version": "1"}, "no object with a version"),
        ({"speed": 3}, "unknown setting 'speed'"),
        ({"steps": 0}, "steps is 0; expected 1 to 65536"),
        ({"steps": True}, "steps is True; expected int"),
        ({"size": 2.5}, r"size is 2\.5; expected int"),
        ({"short_side": -1}, "short_side is -1"),
        ({"short_side": 10**9}, "short_side is 1000000000; expected 1 to 32768"),
        ({"steps": 10**9}, "steps is 1000000000; expected 1 to 65536"),
        ({"windows": 10**6}, "windows is 1000000; expected 1 to 65536"),
        ({"quality": 101}, "quality is 101; expected 1 to 100"),
        ({"classes": ["run", "\x1b[2J"]}, "a class is called .*; expected a text of one line"),
        ({"classes": ["run", ""]}, "a class is called ''"),
        ({"classes": ["run", "run"]}, "two classes are called 'run'"),
        ({"flow": "farneback"}, "flow is 'farneback'; expected "),
        ({"flow": "none"}, "name the flow's algorithm"),
        ({"classes": []}, "a model of actions needs the names of its classes"),
        ({"classes": ["run", 3]}, "classes is "),
        ({"application": "dance"}, "application is 'dance'; expected "),
        ({"gray": 1}, "gray is 1; expected bool"),
        ({"enlarge": "wide"}, "enlarge is 'wide'; expected float"),
        ({"enlarge": -1}, r"enlarge is -1\.0; expected a number between 0 and 10"),
        ({"batch_size": [16]}, "batch_size is "),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    text = json.dumps({"version": VERSION, **asdict(ACTION), **change})
    with pytest.raises(InputError, match=f"^file.safetensors: .*{message}"):
        Inference.from_json(text, where="file.safetensors")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_no_object(text):
    with pytest.raises(InputError, match="`inference` in the metadata is no"):
        Inference.from_json(text)
