"""TFDS builders of drawn data: each record depends on its split and number alone."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from prernn_jax.data.media.flow import one_thread
from prernn_jax.data.prepared.folder import data_folder, prepare_once, refuse_to_mix
from prernn_jax.data.prepared.progress import with_progress
from prernn_jax.data.records import EvenSplit, PreparedSplit, RandomAccessSource

_BLOCK = 64  # records in memory at the same time


@dataclasses.dataclass(eq=False)
class DrawnConfig(tfds.core.BuilderConfig):
    """What a builder draws. The `name` must change with everything that decides the data.

    Attributes:
        features: How TFDS stores a record.
        counts: Number of records of each split.
        draw: Draws the record of a split and a number.
        facts: Further metadata that are stored with the data.
        frames: Number of frames of each record; None where the numbers differ.
    """

    features: Any = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    draw: Callable[[str, int], dict[str, Any]] | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    frames: int | None = None


class DrawnBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes what its configuration draws, several records at a time."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=self.builder_config.features,
            metadata=tfds.core.MetadataDict(self.builder_config.facts),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in self.builder_config.counts}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        count = config.counts[split]
        with one_thread(), ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            records = _in_blocks(pool, config.draw, split, count)
            yield from with_progress(records, count, f"drawing {split}", unit="clips")


def _in_blocks(
    pool: ThreadPoolExecutor, draw: Any, split: str, count: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Draws a split's records, several at a time, in their order."""
    for start in range(0, count, _BLOCK):
        numbers = range(start, min(start + _BLOCK, count))
        yield from zip(numbers, pool.map(draw, [split] * len(numbers), numbers), strict=True)


def drawn_splits(
    builder: type[DrawnBuilder], config: DrawnConfig, cache_dir: Path | None, what: str
) -> dict[str, RandomAccessSource]:
    """Returns the splits of drawn data; draws them first where they are not in the cache.

    Args:
        builder: The builder; its name is the folder's.
        config: What to draw.
        cache_dir: Folder for prepared data; see `data_folder` for the default.
        what: What messages call the data.

    Raises:
        InputError: The folder cannot be written, or its data were drawn with other versions.
    """
    root = data_folder(cache_dir)

    def make() -> DrawnBuilder:
        return builder(data_dir=str(root), config=config, file_format="array_record")

    made = prepare_once(make, root, what)
    folder = Path(made.data_path)
    stored = made.info.metadata or {}
    refuse_to_mix(folder, stored, dict(config.facts))
    if config.frames is None:
        return {name: PreparedSplit(folder, name) for name in made.info.splits}
    return {name: EvenSplit(folder, name, config.frames) for name in made.info.splits}
