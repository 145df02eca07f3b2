"""The loader: the same batches for the same seed, exact positions, padding that is marked."""

import json
from pathlib import Path

import numpy as np
import pytest

from prernn_jax.data.action.datasets import embedded_actions
from prernn_jax.data.action.loader import (
    Batch,
    Stream,
    TrainLoader,
    eval_loader,
    train_loader,
)
from prernn_jax.data.drawn.actions import EmbeddedConfig
from prernn_jax.data.media.augment import Augmentation
from prernn_jax.data.media.flow import flip_flow_x
from prernn_jax.data.records import RandomAccessSource
from prernn_jax.errors import InputError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RandomAccessSource:
    config = EmbeddedConfig(train=1, validation=1, test=11, size=32, instances=2, backgrounds=2)
    folder: Path = tmp_path_factory.mktemp("loader")
    return embedded_actions(folder, config).splits["test"]


def make_loader(
    source: RandomAccessSource,
    stream: Stream = "temporal",
    seed: int = 1,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainLoader:
    return train_loader(
        source,
        stream=stream,
        batch_size=4,
        steps=3,
        stack=2,
        crop=32,
        augment=Augmentation(),
        seed=seed,
        workers=workers,
        shard=shard,
    )


def take(loader: TrainLoader, count: int) -> list[Batch]:
    batches = [next(loader) for _ in range(count)]
    loader.close()
    return batches


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for first, second in zip(ours, theirs, strict=True):
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize(("stream", "channels"), [("spatial", 3), ("temporal", 4)])
def test_a_batch_is_what_the_contract_says(source, stream, channels):
    loader = make_loader(source, stream)
    assert loader.batches_per_epoch == 2
    (batch,) = take(loader, 1)
    assert batch["clips"].shape == (4, 3, 32, 32, channels)
    assert batch["clips"].dtype == np.uint8
    np.testing.assert_array_equal(batch["lengths"], np.full(4, 3, np.int32))
    assert batch["labels"].shape == (4,)
    assert batch["labels"].dtype == batch["lengths"].dtype == np.int32


def test_one_seed_gives_the_same_batches_and_another_does_not(source):
    first, again, other = (take(make_loader(source, seed=s), 4) for s in (1, 1, 2))
    assert_same(first, again)
    assert any(np.any(a["clips"] != b["clips"]) for a, b in zip(first, other, strict=True))


def test_epochs_differ_and_show_a_clip_once(source):
    batches = take(make_loader(source), 4)
    assert np.any(batches[0]["clips"] != batches[2]["clips"])
    for epoch in (batches[:2], batches[2:]):
        labels = np.concatenate([batch["labels"] for batch in epoch])
        assert len(np.unique(labels)) == 8  # 11 clips of 11 classes


@pytest.mark.parametrize("position", [1, 5])
def test_a_position_is_restored_exactly(source, position):
    loader = make_loader(source)
    for _ in range(position):
        next(loader)
    state = json.loads(json.dumps(loader.get_state()))
    expected = take(loader, 3)
    restored = make_loader(source)
    next(restored)
    restored.set_state(state)
    assert restored.get_state() == state
    assert_same(take(restored, 3), expected)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_same_batches(source, workers):
    assert_same(take(make_loader(source, workers=workers), 5), take(make_loader(source), 5))


def test_shards_share_out_the_rows_of_a_batch(source):
    whole = take(make_loader(source), 5)  # into the third epoch
    parts = [take(make_loader(source, shard=(number, 2)), 5) for number in range(2)]
    for first, second, expected in zip(*parts, whole, strict=True):
        for name, rows in expected.items():
            np.testing.assert_array_equal(first[name], rows[: len(rows) // 2])
            np.testing.assert_array_equal(second[name], rows[len(rows) // 2 :])
    with pytest.raises(InputError, match="shard 0 of 3 of a batch of 4"):
        make_loader(source, shard=(0, 3))
    with pytest.raises(InputError, match="shard 2 of 2"):
        make_loader(source, shard=(2, 2))


def test_a_position_of_other_data_is_refused(source):
    state = make_loader(source, seed=2).get_state()
    with pytest.raises(InputError, match=r"seed 2 \(now 1\)"):
        make_loader(source, seed=1).set_state(state)


def test_a_batch_that_cannot_be_filled_is_refused(source):
    with pytest.raises(InputError, match="there are 11 clips"):
        train_loader(
            source,
            stream="spatial",
            batch_size=12,
            steps=3,
            stack=2,
            crop=32,
            augment=Augmentation(),
            seed=0,
        )


def test_evaluation_sees_every_clip_and_marks_the_filling(source):
    loader = eval_loader(source, stream="spatial", batch_size=4, steps=3, stack=2, crop=32)
    batches = list(loader)
    assert len(batches) == len(loader) == 3
    assert all(batch["clips"].shape == (4, 3, 32, 32, 3) for batch in batches)
    mask = np.concatenate([batch["mask"] for batch in batches])
    video = np.concatenate([batch["video"] for batch in batches])
    np.testing.assert_array_equal(mask, [True] * 11 + [False])
    np.testing.assert_array_equal(video, [*range(11), -1])
    assert np.all(batches[-1]["clips"][-1] == 0)
    assert_same(batches, list(loader))  # again, and the same


def test_windows_are_rows_of_one_video(source):
    loader = eval_loader(
        source, stream="temporal", batch_size=2, steps=3, stack=2, crop=32, windows=2
    )
    batch = next(iter(loader))
    np.testing.assert_array_equal(batch["video"], [0, 0])
    assert np.any(batch["clips"][0] != batch["clips"][1])


@pytest.mark.parametrize("stream", ["spatial", "temporal"])
def test_ten_crops_are_rows_of_one_video(source, stream):
    def rows(crops):
        loader = eval_loader(
            source, stream=stream, batch_size=20, steps=3, stack=2, crop=28, windows=2, crops=crops
        )
        return next(iter(loader))

    ten, one = rows(10), rows(1)
    np.testing.assert_array_equal(ten["video"], [0] * 20)
    clips = ten["clips"]
    np.testing.assert_array_equal(clips[4], one["clips"][0])  # the centre, in each window
    np.testing.assert_array_equal(clips[14], one["clips"][1])
    if stream == "spatial":
        np.testing.assert_array_equal(clips[5:10], clips[:5, :, :, ::-1])
    else:  # y is mirrored, x has the other sign too
        np.testing.assert_array_equal(clips[5:10, ..., 1::2], clips[:5, :, :, ::-1, 1::2])
        assert np.all(clips[5:10, ..., 0::2] == flip_flow_x(clips[:5, :, :, ::-1, 0::2]))
