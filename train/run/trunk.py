"""A frozen trunk: what it makes of every step, computed with each batch or once for all epochs.

The trunk is everything up to the first layer that becomes recurrent. It works on one sequence at a
time, so that a sequence has the same features, to the bit, in whatever batch it comes.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prernn_jax.cpu.xla import jit
from prernn_jax.data.batches import TrainLoader, eval_batches, train_batches
from prernn_jax.data.feature_files import FeatureSet, read_features, write_features
from prernn_jax.errors import InputError
from prernn_jax.layers.lengths import valid_steps, without_padding
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.sequence import SequenceModel

from ..engine.devices import Training
from ..engine.log import say
from ..engine.step import Batch, Network, Precision, Task, TrainState, cast


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


def trunk_parameters(model: SequenceModel) -> str:
    """A regular expression for the names of the parameters before the first recurrent layer."""
    late = "|".join(re.escape(name) for name in model.late_layers)
    return rf"(?!({late})\.).*"


def _pooled(model: SequenceModel, features: Any) -> Any:
    """A recurrent convolution with stored statistics needs the mean over the image alone."""
    if any(isinstance(layer, RecurrentConv) for layer in model.recurrent_layers):
        return jax.tree.map(lambda x: jnp.mean(x, axis=(1, 2), keepdims=True), features)
    return features


FeaturesOf = Callable[[Batch], Any]
"""A batch with `clips` (B, T, ...) -> the features of its steps, arrays (B, T, ...)."""


def features_of(
    network: Network, state: TrainState, task: Task, precision: Precision
) -> FeaturesOf:
    """Compiles the trunk.

    Args:
        network: The structure of the model.
        state: Whose parameters it has; the trunk's are frozen.
        task: Normalises the input.
        precision: That of the products.
    """
    arrays = {name: np.asarray(x) for name, x in {**state.params, **state.frozen}.items()}
    stats = {name: np.asarray(x) for name, x in state.batch_stats.items()}

    def compute(arrays: Any, stats: Any, batch: Batch) -> Any:
        model = network.model(cast(arrays, precision), stats, train=False)
        clips = cast(task.prepare(batch), precision)  # (B, T, ...)

        def one(given: tuple[Any, Any]) -> Any:
            clip, length = given
            clip = without_padding(clip[None], valid_steps(length[None], len(clip)))[0]
            found = _pooled(model, model.frame_features(clip))
            return jax.tree.map(lambda x: x.astype(jnp.float32), found)

        return jax.lax.map(one, (clips, jnp.asarray(batch["lengths"], jnp.int32)))

    compiled = jit(compute)
    on_device = jax.device_put((arrays, stats))

    def features(batch: Batch) -> Any:
        shown = {name: batch[name] for name in ("clips", "lengths")}
        return jax.tree.map(np.asarray, compiled(*on_device, shown))

    return features


def digest_of(state: TrainState, late: Iterable[str]) -> str:
    """A name for a trunk's values and structure, as a part of a file's name."""
    found = hashlib.sha256(repr(sorted(late)).encode())
    arrays = {**state.params, **state.frozen, **state.batch_stats}
    for name in sorted(arrays):
        if not name.startswith(tuple(f"{layer}." for layer in late)):
            value = np.asarray(arrays[name])
            found.update(f"{name} {value.shape} {value.dtype}".encode())
            found.update(value.tobytes())
    return found.hexdigest()[:16]


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
    loader = train_batches(fixed, _as_it_is, batch_size=batch_size, seed=seed)
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
    training = cached_set(
        cache, "train", eval_batches(fixed.rows, fixed.read, batch_size=16), features
    )
    numbers = train_batches(
        FixedSet(fixed.rows, lambda row: {"row": np.int64(row)}),
        _as_it_is,
        batch_size=batch_size,
        seed=seed,
    )
    train = FeatureLoader(numbers, lambda batch: training.rows(batch["row"]))
    kept: dict[str, Iterable[Batch]] = {}
    for name, batches in held_out.items():
        kept[name] = _Kept(cached_set(cache, name, batches, features), batch_size)
    return train, kept


class _Kept:
    """A held-out set of kept features in batches, the last one filled up."""

    def __init__(self, found: FeatureSet, batch_size: int) -> None:
        self._found, self._batch_size = found, batch_size

    def __iter__(self) -> Iterator[Batch]:
        count = len(self._found)
        for start in range(0, count, self._batch_size):
            places = np.arange(start, start + self._batch_size)
            mask = places < count
            batch = self._found.rows(np.where(mask, places, 0))
            yield {**batch, "video": np.where(mask, batch["video"], -1), "mask": mask}


def cached_set(
    cache: Cache, name: str, batches: Iterable[Batch], features: FeaturesOf
) -> FeatureSet:
    """The features of one set: read where they are, else computed and written."""
    path = cache.folder / f"{name}.npz"
    if path.is_file():
        return read_features(path, cache.about)
    parts: list[Batch] = []
    for batch in batches:
        mask = batch["mask"]
        rest = {k: np.asarray(v)[mask] for k, v in batch.items() if k not in ("clips", "mask")}
        found = jax.tree.map(lambda x, mask=mask: x[mask], features(batch))
        parts.append({**rest, "features": found})
    whole: FeatureSet = FeatureSet(jax.tree.map(lambda *xs: np.concatenate(xs), *parts))
    write_features(path, whole, cache.about)
    say(f"features of {len(whole)} sequences ({name}): written to {path}")
    return whole


def cache_of(given: Any, training: Training, late: Iterable[str]) -> Cache:
    """Where the features of a run's trunk lie; the arguments are those of `batches_of_features`."""
    about = {**given.cache.about, "trunk": digest_of(training.state, late)}
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
    features = features_of(training.network, training.state, given.task, config.precision)
    sizes = {"batch_size": config.batch_size, "seed": config.seed}
    if config.trunk == "frozen":
        return computed_with_each_batch(given.fixed, given.held_out, features, **sizes)
    cache = cache_of(given, training, late)
    return computed_once(given.fixed, given.held_out, features, cache, **sizes)
