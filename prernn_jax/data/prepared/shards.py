"""Preparation in shards: several processes on one file system, each with its own videos.

Shard i of N prepares the videos whose place in the sorted list of names is i, i + N, i + 2 N, ...
What it found goes to `shards/i-of-N.json` beside the prepared files. The last step, `merge_shards`,
checks that all N are there.

Locks keep two writers of one file apart. A whole preparation holds the data set's lock. A shard
takes that lock only while it starts; from then on it holds a lock of its own, which a whole
preparation and a shard of another N respect.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import Timeout

from prernn_jax.data.prepared.folder import is_locked, locked, prepare_files, writable
from prernn_jax.data.prepared.listed_files import ListedFiles
from prernn_jax.data.prepared.lists import Listed
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json


class Shard(NamedTuple):
    """One of several parts of a preparation.

    Attributes:
        number: Which one, from 0.
        total: How many there are.
    """

    number: int
    total: int


def read_shard(text: str) -> Shard:
    """Reads `i/N`.

    Raises:
        InputError: It is not of that form, or i is not below N.
    """
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not shard.number < shard.total:
        raise InputError(
            f"--shard {text[:50]}: expected i/N with i from 0 to N - 1, for instance "
            "--shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT of an array that begins at 0"
        )
    return shard


def prepare_shard(files: ListedFiles, shard: Shard, workers: int | None) -> dict[str, str]:
    """Prepares one shard; others may run at the same time, on other machines too.

    Args:
        files: The data set.
        shard: Which part of it.
        workers: Number of processes; by default one for each core.

    Returns:
        Video -> what is wrong with it, of the videos of this shard.

    Raises:
        InputError: This shard is at work already, or shards of another number are; nothing can be
            written; a process was killed.
    """
    mine = _items(files)[shard.number :: shard.total]
    names, known = {item.name for item in mine}, files.left_out()
    faults = {name: why for name, why in files.missing().items() if name in names}
    usable = [item for item in mine if item.fault is None and item.name not in known]
    files.recipe.require(usable)
    with _at_work(files, shard, usable):
        make, facts = files.recipe.write, files.recipe.facts
        prepare_files(files.folder, usable, make, facts, workers, faults)
        _place(files, shard).parent.mkdir(parents=True, exist_ok=True)
        write_json(_place(files, shard), {"lists": _digest(files), "faults": faults})
    return faults


@contextlib.contextmanager
def _at_work(files: ListedFiles, shard: Shard, items: list[Listed]) -> Iterator[None]:
    with writable(files.root, files.name), contextlib.ExitStack() as held:
        with files.lock():
            for path in files.root.glob(files.shard_lock("*").name):
                other = f"-of-{shard.total}.lock" not in path.name
                if other and is_locked(path):
                    raise InputError(
                        f"shards of another number than {shard.total} of {files.name} are at work; "
                        "wait until they have ended"
                    )
            try:
                own = files.shard_lock(f"{shard.number}-of-{shard.total}")
                held.enter_context(locked(own, timeout=0))
            except Timeout as error:
                raise InputError(
                    f"shard {shard.number}/{shard.total} of {files.name} is at work in another "
                    "process"
                ) from error
            _place(files, shard).unlink(missing_ok=True)
            files.begin(items, of_a_shard=True)
        yield


def merge_shards(files: ListedFiles, count: int) -> dict[str, str]:
    """Checks that all shards have prepared their videos, and writes `sources.json`.

    Args:
        files: The data set.
        count: The number of shards.

    Returns:
        Video -> what is wrong with it.

    Raises:
        InputError: A shard has not finished, read other lists, or a video of it is not prepared.
    """
    items = _items(files)
    faults = files.missing()
    absent, other = [], []
    for number in range(count):
        found = _read_found(_place(files, Shard(number, count)))
        if found is None:
            absent.append(number)
        elif found["lists"] != _digest(files):
            other.append(number)
        else:
            faults |= found["faults"]
    known = files.left_out()
    usable = [i for i in items if i.fault is None and i.name not in {**known, **faults}]
    for numbers, what in ((absent, "have not finished"), (other, "have read other lists")):
        _refuse_unfinished(files, numbers, count, what)
    with files.lock():
        compared = files.write_index(usable)
    undone = {items.index(item) % count for item in (*compared.todo, *compared.changed)}
    _refuse_unfinished(files, sorted(undone), count, "have videos whose files are not prepared")
    return faults


def _refuse_unfinished(files: ListedFiles, numbers: list[int], count: int, what: str) -> None:
    if numbers:
        which = ", ".join(map(str, numbers[:20])) + ", ..." * (len(numbers) > 20)
        raise InputError(
            f"{len(numbers)} of {count} shards of {files.name} {what}: {which}; run them with "
            f"--shard i/{count}, then merge again"
        )


def _items(files: ListedFiles) -> list[Listed]:
    """All videos of all parts, each once, in an order that every machine has."""
    every = {item.name: item for items in files.listing.parts.values() for item in items}
    return [every[name] for name in sorted(every)]


def _digest(files: ListedFiles) -> str:
    """Tells the lists and the recipe of one preparation from those of another."""
    names = [(item.name, item.start, item.stop) for item in _items(files)]
    text = json.dumps([names, files.recipe.facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _place(files: ListedFiles, shard: Shard) -> Path:
    return files.folder / "shards" / f"{shard.number}-of-{shard.total}.json"


def _read_found(path: Path) -> dict[str, Any] | None:
    """What a shard has written when it ended; None if it has not."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        faults = {str(name): str(why) for name, why in found["faults"].items()}
        return {"lists": str(found["lists"]), "faults": faults}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
