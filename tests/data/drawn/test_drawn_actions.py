"""The embedded clips: reproducible, splits apart, and an order that no single stack shows."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prernn_jax.data.action.datasets import embedded_actions
from prernn_jax.data.drawn.action_clip import draw_path, make_clip
from prernn_jax.data.drawn.actions import (
    ACTION_CLASSES,
    ACTION_SHAPES,
    MOTIONS,
    SPATIAL_CLASSES,
    SPLITS,
    STATIC_CLASSES,
    STATIC_SHAPES,
    Difficulty,
    EmbeddedConfig,
)
from prernn_jax.data.media.flow import dequantise
from prernn_jax.data.prepared.folder import data_folder
from prernn_jax.data.records import decode_picture
from prernn_jax.data.show import contact_sheet
from prernn_jax.errors import InputError

SMALL = EmbeddedConfig(train=20, validation=3, test=3, static_train=5, static_validation=2)
# Of the pictures themselves, before compression; changes with every change of the drawing.
CHECKSUM = "c9338ac658f8819c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


def test_there_are_twenty_classes_of_five_shapes_and_four_motions():
    assert len(ACTION_CLASSES) == 20
    assert len(STATIC_CLASSES) == 4 * len(SPATIAL_CLASSES)
    assert not set(ACTION_SHAPES) & set(STATIC_SHAPES)


def test_clips_are_the_same_everywhere():
    digest = hashlib.sha256()
    for split in SPLITS:
        for index in (0, 7):
            digest.update(make_clip(EmbeddedConfig(), split, index).frames.tobytes())
    assert digest.hexdigest()[:16] == CHECKSUM


def test_another_seed_gives_other_clips_and_another_key():
    other = replace(SMALL, seed=SMALL.seed + 1)
    assert other.key != SMALL.key
    same_place = make_clip(other, "train", 0).frames, make_clip(SMALL, "train", 0).frames
    assert np.any(same_place[0] != same_place[1])


def test_splits_share_no_random_stream():
    seen: dict[str, set[tuple[int, ...]]] = {}
    for split in SPLITS:
        origins = [make_clip(SMALL, split, index).origin for index in range(3)]
        seen[split] = {tuple(o[k]) for o in origins for k in ("clip", "instance", "background")}
    every = list(seen.values())
    assert sum(map(len, every)) == len(set.union(*every))


def test_classes_are_equally_frequent():
    labels = [make_clip(SMALL, "train", index).label for index in range(20)]
    assert sorted(labels) == list(range(20))


@pytest.mark.parametrize("motion", MOTIONS)
def test_no_stack_of_flow_sees_both_legs(motion):
    """The order is in the sequence alone: between the legs lies a rest as long as a stack."""
    config = EmbeddedConfig(difficulty=Difficulty(wobble=0.0))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        path = draw_path(config, rng, MOTIONS[motion], static=False)
        moves = np.stack([np.abs(np.diff(p)) > 1e-9 for p in (path.x, path.y)])  # (2, pairs)
        for start in range(config.frames - config.stack):
            assert moves[:, start : start + config.stack].any(axis=1).sum() <= 1
        first, second = (0 if leg in ("side", "swing") else 1 for leg in MOTIONS[motion])
        assert {first, second} == {0, 1}
        assert np.argmax(moves[first]) < np.argmax(moves[second])
        assert moves.sum(axis=1).tolist() == [config.leg, config.leg]


@pytest.mark.parametrize(("leg", "returns"), [("side", False), ("swing", True)])
def test_a_swing_comes_back_and_a_side_leg_does_not(leg, returns):
    config = EmbeddedConfig(difficulty=Difficulty(wobble=0.0))
    path = draw_path(config, np.random.default_rng(0), (leg,), static=True)
    way = np.abs(path.x[-1] - path.x[0])
    assert way < 2.0 if returns else way > 2.4 * config.stack
    assert np.ptp(path.y) == 0.0


def test_prepared_clips_hold_the_frames_and_the_flow(folder):
    data = embedded_actions(folder, SMALL)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 20,
        "validation": 3,
        "test": 3,
    }
    record = data.splits["train"][7]
    clip = make_clip(SMALL, "train", 7)
    assert record["label"] == record["spatial_label"] == clip.label
    assert len(record["frames"]) == SMALL.frames
    assert len(record["flow_x"]) == len(record["flow_y"]) == SMALL.frames - 1
    decoded = np.stack([decode_picture(data) for data in record["frames"]])
    difference = np.abs(decoded.astype(int) - clip.frames.astype(int))
    assert difference.mean() < 8.0  # the pictures are JPEG
    flow = dequantise(np.stack([decode_picture(f, gray=True) for f in record["flow_x"]]))
    assert flow.shape == (24, 64, 64)
    assert np.abs(flow).max() < 20.0


def test_stills_have_one_picture_one_stack_and_two_labels(folder):
    data = embedded_actions(folder, SMALL, pretraining=True)
    assert data.names("spatial") == SPATIAL_CLASSES
    assert data.names("temporal") == STATIC_CLASSES
    for index in range(5):
        record = data.splits["train"][index]
        assert len(record["frames"]) == 1
        assert len(record["flow_x"]) == SMALL.stack
        shape, leg = STATIC_CLASSES[record["label"]].split()
        assert SPATIAL_CLASSES[record["spatial_label"]] == shape
        assert leg in ("side", "rise", "swing", "bounce")


def test_two_processes_at_once_prepare_the_data_once(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from prernn_jax.data.action.datasets import embedded_actions\n"
        "from prernn_jax.data.drawn.actions import EmbeddedConfig\n"
        "c = EmbeddedConfig(train=1, validation=1, test=1, static_train=6, static_validation=1)\n"
        "data = embedded_actions(Path(sys.argv[1]), c, pretraining=True)\n"
        "assert len(data.splits['train']) == 6 and data.splits['train'][5]['label'] == 5\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], messages
    assert sum(message.count("preparing") for message in messages) == 1


def test_remains_of_a_killed_preparation_are_swept_away(folder):
    config = replace(SMALL, seed=5, train=1)
    remains = folder / "embedded_actions" / f"actions-{config.key}" / "incomplete.ABC_1.0.0"
    remains.mkdir(parents=True)
    (remains / "half.array_record").write_bytes(b"half a file")
    assert len(embedded_actions(folder, config).splits["train"]) == 1
    assert not remains.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot be written .*PRERNN_DATA_DIR"):
        embedded_actions(tmp_path / "file", SMALL)


def test_the_data_folder_can_be_set_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PRERNN_DATA_DIR", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("PRERNN_DATA_DIR")
    assert data_folder() == Path.home() / ".cache" / "prernn_jax"


def test_too_short_clips_are_refused():
    with pytest.raises(InputError, match="give at least 22 frames"):
        EmbeddedConfig(frames=20)
    with pytest.raises(InputError, match="test needs at least one clip"):
        EmbeddedConfig(test=0)


def test_contact_sheet_is_a_picture(tmp_path):
    clip = make_clip(SMALL, "train", 0)
    rest = np.full((24, 64, 64), 128, np.uint8)
    path = tmp_path / "sheet.png"
    contact_sheet([("bar side-rise", clip.frames, rest, rest)], path)
    assert decode_picture(path.read_bytes()).shape == (16 + 64 + 64 + 4, 13 * 64, 3)
