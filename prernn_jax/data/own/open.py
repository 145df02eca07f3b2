"""Own videos prepared and opened: what cannot be used is told and left out."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.own.rows import read_rows
from prernn_jax.data.own.split import listing_of, split_rows, table_of
from prernn_jax.data.prepared.clip_files import ClipFiles, Recipe
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.errors import InputError

_SHOWN = 5  # videos that are left out, by name


@dataclass(frozen=True)
class OwnVideos:
    """A data set of own videos.

    Attributes:
        classes: Names; a record's `label` counts in them.
        splits: `train`, `test` and perhaps `validation` -> records.
        table: The split as a CSV file.
    """

    classes: tuple[str, ...]
    splits: dict[str, ClipFiles]
    table: str


def own_videos(
    source: Path,
    cache_dir: Path | None,
    recipe: Recipe,
    *,
    root: Path | None = None,
    seed: int = 1,
    workers: int | None = None,
) -> OwnVideos:
    """Reads a folder or a list, prepares what is still to do, and opens it.

    Args:
        source: See `prernn_jax.data.own.rows`.
        cache_dir: The prepared cache; see `data_folder` for the default.
        recipe: How videos are prepared.
        root: Folder of the videos that a list names.
        seed: The seed of the split, where no split is given.
        workers: Processes that prepare; by default one a core.

    Raises:
        InputError: The folder or the list cannot be used, or a class has no video that can be
            trained on.
    """
    parts = split_rows(read_rows(source, root), seed)
    listing = listing_of(parts)
    files = ListedFiles(cache_name(source), listing, cache_dir, recipe)
    known = prepare_usable(files, workers)
    usable = files.usable()
    for part in ("train", "test"):
        there = {item.label for item in usable[part]}
        absent = [name for label, name in enumerate(listing.classes) if label not in there]
        if not there or (absent and part == "train"):
            kind = f"of the class {absent[0]!r} " if absent else ""
            why = f" (the first: {next(iter(known.values()))})" if known else ""
            raise InputError(f"no video {kind}can be used in the part {part}{why}")
    splits = {part: ClipFiles(files.folder, items, recipe) for part, items in usable.items()}
    return OwnVideos(listing.classes, splits, table_of(parts))


def cache_name(source: Path) -> str:
    """The folder of a source in the prepared cache.

    Two sources with videos of the same names must not take turns in one folder.
    """
    key = hashlib.blake2b(str(source.absolute()).encode(), digest_size=6).hexdigest()
    shown = "".join(c if c.isalnum() else "-" for c in source.stem)
    return f"own/{shown}-{key}"


def prepare_usable(files: ListedFiles, workers: int | None) -> dict[str, str]:
    """Prepares what can be used; tells of the other videos and leaves them out.

    Returns:
        The videos that are left out, and why.
    """
    faults: dict[str, str] = {}
    files.prepare(workers, faults)
    if faults:
        files.leave_out(faults)
    known = files.left_out()
    if known:
        total = sum(map(len, files.listing.parts.values()))
        for name, why in list(known.items())[:_SHOWN]:
            print(f"left out: {name}: {why}", file=sys.stderr)
        print(f"{len(known)} of {total} videos are left out", file=sys.stderr, flush=True)
    return known
