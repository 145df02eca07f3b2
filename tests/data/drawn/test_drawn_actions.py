"""The embedded clips: reproducible, splits apart, and a motion that only the cue points out."""

import hashlib
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prernn_jax.data.action.datasets import embedded_actions
from prernn_jax.data.action.loader import read_clip
from prernn_jax.data.drawn.action_clip import Leg, draw_legs, draw_path, make_clip
from prernn_jax.data.drawn.actions import (
    ACTION_CLASSES,
    CUE,
    DIRECTIONS,
    LEGS,
    SPATIAL_CLASSES,
    SPLITS,
    STATIC_CLASSES,
    Difficulty,
    EmbeddedConfig,
)
from prernn_jax.data.drawn.shapes import ACTION_SHAPES, STATIC_SHAPES
from prernn_jax.data.media.flow import dequantise
from prernn_jax.data.prepared.folder import data_folder
from prernn_jax.data.records import decode_picture
from prernn_jax.data.show import contact_sheet
from prernn_jax.errors import InputError

SMALL = EmbeddedConfig(train=20, validation=3, test=3, static_train=5, static_validation=2)
# Digest of the pictures themselves, before compression; any change of the drawing changes it.
CHECKSUM = "405eb6dac2f68b72"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


def test_there_are_twenty_classes_of_five_shapes_and_four_motions():
    assert len(ACTION_CLASSES) == 20
    assert len(STATIC_CLASSES) == 5 * len(STATIC_SHAPES)
    assert len(SPATIAL_CLASSES) == 3 * len(STATIC_SHAPES)
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


STEADY = EmbeddedConfig(difficulty=Difficulty(wobble=0.0))


@pytest.mark.parametrize("motion", range(4))
def test_the_motion_follows_the_cue_and_all_else_is_chance(motion):
    first, last, places = [], [], set()
    for seed in range(200):
        legs = draw_legs(STEADY, np.random.default_rng(seed), motion)
        kinds = [leg.kind for leg in legs]
        cue = kinds.index(LEGS.index(CUE))
        assert kinds.count(LEGS.index(CUE)) == 1
        assert kinds[cue + 1] == motion
        assert legs[cue + 1].pairs >= STEADY.leg[0]  # whole, also where it is the last
        others = kinds[:cue] + kinds[cue + 2 :]
        first += kinds[:cue][:1]
        last += others[-1:]
        places.add(cue)
    assert places == {0, 1, 2, 3}
    for found in (first, last):
        share = np.bincount(found, minlength=4) / len(found)
        assert share.max() < 0.36
        assert share.min() > 0.14


def test_no_stack_of_flow_sees_two_legs():
    """Between two legs lie as many pairs as a stack lacks one, and no leg is within a stack."""
    for seed in range(100):
        legs = draw_legs(STEADY, np.random.default_rng(seed), seed % 4)
        for leg, after in itertools.pairwise(legs):
            assert after.start - (leg.start + leg.pairs) >= STEADY.stack - 1
            assert leg.pairs > STEADY.stack


@pytest.mark.parametrize(("kind", "change"), list(enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)])))
def test_a_leg_goes_its_way_and_is_smeared_along_it(kind, change):
    path = draw_path(STEADY, np.random.default_rng(0), [Leg(kind, 0, 4)], 5)
    moved = np.array([np.diff(path.x), np.diff(path.y)])  # (2, 4)
    along = moved[np.argmax(np.abs(change))] * sum(change)
    assert (along > 2.3).all()
    assert np.abs(moved[np.argmin(np.abs(change))]).max() < 1e-9
    assert (path.smear == 1 + kind % 2).all()
    assert np.ptp(path.scale) == 0
    assert path.glow.max() == 0


def test_the_cue_swells_and_glows_in_its_place():
    path = draw_path(STEADY, np.random.default_rng(0), [Leg(LEGS.index(CUE), 0, 4)], 5)
    assert np.ptp(path.x) == np.ptp(path.y) == 0
    assert (np.diff(np.log(path.scale)) > 0.06).all()
    assert (path.glow > 0).all()
    assert (path.smear == 0).all()


def test_where_a_leg_begins_says_nothing_of_where_the_last_one_ended():
    """A walk that had to stay in the picture would tell later legs from earlier ones."""
    ends, begins = [], []
    for seed in range(300):
        path = draw_path(STEADY, np.random.default_rng(seed), [Leg(0, 0, 4), Leg(2, 5, 4)], 10)
        ends.append(path.x[4])
        begins.append(path.x[5])
    assert abs(np.corrcoef(ends, begins)[0, 1]) < 0.15


def test_prepared_clips_hold_the_frames_and_the_flow(folder):
    data = embedded_actions(folder, SMALL)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 8 * 20,
        "validation": 3,
        "test": 3,
    }
    record = data.splits["train"][8 * 7]
    clip = make_clip(SMALL, "train", 7)
    assert record["label"] == record["spatial_label"] == clip.label
    assert len(record["frames"]) == SMALL.frames
    assert len(record["flow_x"]) == len(record["flow_y"]) == SMALL.frames - 1
    decoded = np.stack([decode_picture(data) for data in record["frames"]])
    difference = np.abs(decoded.astype(int) - clip.frames.astype(int))
    assert difference.mean() < 8.0  # the pictures are JPEG
    flow = dequantise(np.stack([decode_picture(f, gray=True) for f in record["flow_x"]]))
    assert flow.shape == (32, 64, 64)
    assert np.abs(flow).max() < 20.0


def test_stills_have_one_picture_one_stack_and_two_labels(folder):
    data = embedded_actions(folder, SMALL, pretraining=True)
    assert data.names("spatial") == SPATIAL_CLASSES
    assert data.names("temporal") == STATIC_CLASSES
    assert len(data.splits["train"]) == 8 * 5
    for index in range(40):
        record = data.splits["train"][index]
        assert len(record["frames"]) == 1
        assert len(record["flow_x"]) == SMALL.stack
        shape, leg = STATIC_CLASSES[record["label"]].split()
        seen = {"right": "level", "left": "level", "down": "upright", "up": "upright", CUE: CUE}
        assert SPATIAL_CLASSES[record["spatial_label"]] == f"{shape} {seen[leg]}"


def test_a_turned_clip_has_the_turned_motion(folder):
    """The mean flow of the object over the leg after the cue points where the label says."""
    data = embedded_actions(folder, SMALL)
    ways = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}
    legs = make_clip(SMALL, "train", 5).origin["legs"]
    cue = [leg.kind for leg in legs].index(LEGS.index(CUE))
    middle = legs[cue + 1].start + 1
    seen = set()
    for symmetry in range(8):
        record = data.splits["train"][8 * 5 + symmetry]
        places = SMALL.frames - SMALL.stack  # one step for each place
        clip, _ = read_clip(record, "temporal", places, SMALL.stack, 64, 0.5)
        field = dequantise(clip[middle]).reshape(64, 64, -1, 2).mean(axis=2)  # (64, 64, 2)
        speed = np.hypot(field[..., 0], field[..., 1])
        mean = field[speed > 1.0].mean(axis=0)
        shape, motion = ACTION_CLASSES[record["label"]].split()
        assert shape == ACTION_CLASSES[make_clip(SMALL, "train", 5).label].split()[0]
        assert np.dot(mean, ways[motion]) > 0.9 * np.linalg.norm(mean)
        seen.add(motion)
    assert seen == set(DIRECTIONS)


@pytest.mark.slow
def test_two_processes_at_once_prepare_the_data_once(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from prernn_jax.data.action.datasets import embedded_actions\n"
        "from prernn_jax.data.drawn.actions import EmbeddedConfig\n"
        "c = EmbeddedConfig(train=1, validation=1, test=1, static_train=6, static_validation=1)\n"
        "data = embedded_actions(Path(sys.argv[1]), c, pretraining=True)\n"
        "assert len(data.splits['train']) == 48 and data.splits['train'][40]['label'] == 5\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], messages
    assert sum(message.count("preparing") for message in messages) == 1


def test_remains_of_a_killed_preparation_are_swept_away(folder):
    config = replace(SMALL, seed=5, train=1)
    remains = folder / "embedded_actions" / f"actions-{config.key}" / "incomplete.ABC_2.0.0"
    remains.mkdir(parents=True)
    (remains / "half.array_record").write_bytes(b"half a file")
    assert len(embedded_actions(folder, config).splits["train"]) == 8
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
    with pytest.raises(InputError, match="give at least 31 frames"):
        EmbeddedConfig(frames=20)
    with pytest.raises(InputError, match="expected more than a stack of 4"):
        EmbeddedConfig(stack=4)
    with pytest.raises(InputError, match="test needs at least one clip"):
        EmbeddedConfig(test=0)


def test_contact_sheet_is_a_picture(tmp_path):
    clip = make_clip(SMALL, "train", 0)
    rest = np.full((32, 64, 64), 128, np.uint8)
    path = tmp_path / "sheet.png"
    contact_sheet([("bar right", clip.frames, rest, rest)], path)
    assert decode_picture(path.read_bytes()).shape == (16 + 64 + 64 + 4, 13 * 64, 3)
