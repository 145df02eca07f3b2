"""The batches of a run with a frozen trunk: features in place of clips.

`--trunk=frozen` computes them with each batch, `--trunk=cached` once for all epochs and runs. Where
several processes train together, each computes those of its own rows.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from prernn_jax.data.batches import TrainLoader, eval_batches, train_batches
from prernn_jax.data.feature_files import FeatureSet, read_features, write_features
from prernn_jax.errors import InputError
from prernn_jax.remote import refresh

from ..engine import processes
from ..engine.devices import Training
from ..engine.log import say
from ..engine.step import Batch
from .trunk import FeaturesOf, digest_of, features_of


@dataclass(frozen=True)
class FixedSet:
    """A training set without chance.

    Attributes:
        rows: Number of samples: videos times views.
        read: Number of a sample -> its arrays (`clips` (T, ...), `lengths`, ...).
    """

    rows: int
    read: Callable[[int], dict[str, Any]]

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.read(index)


class FeatureLoader:
    """Endless batches with `features` in place of `clips`; the position is that of `loader`."""

    def __init__(self, loader: TrainLoader, convert: Callable[[Batch], Batch]) -> None:
        self._loader, self._convert = loader, convert
        self.batches_per_epoch = loader.batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return self._convert(next(self._loader))

    def get_state(self) -> dict[str, int]:
        """Returns the position."""
        return self._loader.get_state()

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to a position."""
        self._loader.set_state(state)

    def close(self) -> None:
        """Stops the loader's threads."""
        self._loader.close()


def _as_it_is(sample: Any, _: np.random.Generator) -> Any:
    return sample


def _with_features(batch: Batch, features: Any) -> Batch:
    return {**{k: v for k, v in batch.items() if k != "clips"}, "features": features}


class _Again:
    """A set of which every pass computes the features anew."""

    def __init__(self, batches: Iterable[Batch], features: FeaturesOf) -> None:
        self._batches, self._features = batches, features

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield _with_features(batch, self._features(batch))


def computed_with_each_batch(
    fixed: FixedSet,
    held_out: Mapping[str, Iterable[Batch]],
    features: FeaturesOf,
    *,
    batch_size: int,
    seed: int,
) -> tuple[FeatureLoader, dict[str, Iterable[Batch]]]:
    """The batches of `--trunk=frozen`: training and held-out sets."""
    loader = train_batches(
        fixed, _as_it_is, batch_size=batch_size, seed=seed, shard=processes.shard()
    )
    train = FeatureLoader(loader, lambda batch: _with_features(batch, features(batch)))
    return train, {name: _Again(batches, features) for name, batches in held_out.items()}


@dataclass(frozen=True)
class Cache:
    """Where the features of a trunk lie.

    Attributes:
        folder: The folder of the files, one a set.
        about: What decides the features, written into the files.
    """

    folder: Path
    about: Mapping[str, Any]


def computed_once(
    fixed: FixedSet,
    held_out: Mapping[str, Iterable[Batch]],
    features: FeaturesOf,
    cache: Cache,
    *,
    batch_size: int,
    seed: int,
) -> tuple[FeatureLoader, dict[str, Iterable[Batch]]]:
    """The batches of `--trunk=cached`; features that are not there yet are computed and kept."""
    together = 16 * processes.count()
    every = eval_batches(fixed.rows, fixed.read, batch_size=together, shard=processes.shard())
    training = cached_set(cache, "train", every, features)
    numbers = train_batches(
        FixedSet(fixed.rows, lambda row: {"row": np.int64(row)}),
        _as_it_is,
        batch_size=batch_size,
        seed=seed,
        shard=processes.shard(),
    )
    train = FeatureLoader(numbers, lambda batch: training.rows(batch["row"]))
    kept: dict[str, Iterable[Batch]] = {}
    for name, batches in held_out.items():
        kept[name] = _Kept(cached_set(cache, name, batches, features), batch_size)
    return train, kept


class _Kept:
    """A held-out set of kept features in batches, the last one filled up; this process's rows."""

    def __init__(self, found: FeatureSet, batch_size: int) -> None:
        self._found, self._batch_size = found, batch_size

    def __iter__(self) -> Iterator[Batch]:
        count, (number, shards) = len(self._found), processes.shard()
        rows = self._batch_size // shards
        for start in range(0, count, self._batch_size):
            first = start + number * rows
            places = np.arange(first, first + rows)
            mask = places < count
            batch = self._found.rows(np.where(mask, places, 0))
            yield {**batch, "video": np.where(mask, batch["video"], -1), "mask": mask}


def cached_set(
    cache: Cache, name: str, batches: Iterable[Batch], features: FeaturesOf
) -> FeatureSet:
    """The features of one set: read where they are, else computed and written.

    Args:
        cache: Where they are kept.
        name: Name of the set.
        batches: Of the set; where there are several processes the rows of this one.
        features: Computes them.
    """
    path = cache.folder / f"{name}.npz"
    refresh(path)
    # Processes with disks of their own: one may have the file that another lacks.
    if processes.gather(np.array(path.is_file())).all():
        return read_features(path, cache.about)
    parts: list[Batch] = []
    for batch in batches:
        rest = {k: np.asarray(v) for k, v in batch.items() if k != "clips"}
        found = jax.tree.map(processes.rows_of_all, {**rest, "features": features(batch)})
        mask = found.pop("mask")
        parts.append(jax.tree.map(lambda x, mask=mask: x[mask], found))
    whole: FeatureSet = FeatureSet(jax.tree.map(lambda *xs: np.concatenate(xs), *parts))

    def keep() -> None:
        if not path.is_file():  # on a file system that all have, process 0 has written it
            write_features(path, whole, cache.about)

    processes.first_before_others(keep)
    say(f"features of {len(whole)} sequences ({name}): written to {path}")
    return whole


def cache_of(given: Any, training: Training, late: Iterable[str]) -> Cache:
    """Where the features of a run's trunk lie; the arguments are those of `batches_of_features`."""
    state = processes.local(training.state)
    about = {**given.cache.about, "trunk": digest_of(state, late)}
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return Cache(given.cache.folder / name, about)


def batches_per_epoch(config: Any, given: Any) -> int:
    """Steps of one pass over the training set; with a frozen trunk each view of a clip counts.

    Args:
        config: The configuration of the run.
        given: Its `Work`.

    Raises:
        InputError: The trunk is to be frozen, and the training set is never without chance.
    """
    if config.trunk == "trained":
        count: int = given.batches.batches_per_epoch
        return count
    if given.fixed is None or given.cache is None:
        raise InputError(f"--trunk={config.trunk} is for classes of clips; give --trunk=trained")
    return len(given.fixed) // config.batch_size


def batches_of_features(
    config: Any, given: Any, training: Training, late: Iterable[str]
) -> tuple[FeatureLoader, dict[str, Iterable[Batch]]]:
    """The batches that a run with a frozen trunk trains on and is tested on.

    Args:
        config: The configuration of the run.
        given: Its `Work`.
        training: Its network and its state before the first step.
        late: See `SequenceModel.late_layers`.
    """
    state = processes.local(training.state)
    features = features_of(training.network, state, given.task, config.precision)
    sizes = {"batch_size": config.batch_size, "seed": config.seed}
    if config.trunk == "frozen":
        return computed_with_each_batch(given.fixed, given.held_out, features, **sizes)
    cache = cache_of(given, training, late)
    return computed_once(given.fixed, given.held_out, features, cache, **sizes)
