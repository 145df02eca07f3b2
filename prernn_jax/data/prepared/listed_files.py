"""A data set of listed videos and their prepared files."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from prernn_jax.data.prepared.folder import (
    RECIPE,
    Way,
    data_folder,
    is_locked,
    locked,
    make_data_folder,
    prepare_files,
    prepared_path,
    read_facts,
    refuse_to_mix,
    writable,
)
from prernn_jax.data.prepared.lists import SOME_FRAMES, Listed, Listing
from prernn_jax.data.prepared.sources import (
    INDEX,
    Compared,
    Fingerprint,
    compare,
    read_index,
    stat_digest,
)
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json
from prernn_jax.remote import refresh

LEFT_OUT = "left_out.json"


class Recipe(Protocol):
    """How the prepared file of a video is made. It can be sent to another process."""

    @property
    def key(self) -> str:
        """The name of the folder."""

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that must be the same for all files of a folder."""

    def sources(self, item: Listed) -> list[Path]:
        """Returns the files that a prepared file is made from."""

    def require(self, items: Sequence[Listed]) -> None:
        """Checks that the packages for these files are installed.

        Raises:
            InputError: One is missing; the message says how to install it.
        """

    def write(self, item: Listed, target: Path) -> None:
        """Makes the prepared file of a video.

        Raises:
            InputError: The video has a fault.
            OSError: The file cannot be written.
        """


class ListedFiles:
    """The listed videos: which are there, where their prepared files lie, what is left out.

    Args:
        name: Name of the data set.
        listing: What its lists say.
        cache_dir: Folder for prepared data; see `data_folder` for the default.
        recipe: How videos are prepared.
        limit: Take only this many videos of each list, to try things out.

    Attributes:
        listing: What the lists say, up to the limit.
        folder: The folder of the prepared files.
    """

    def __init__(
        self,
        name: str,
        listing: Listing,
        cache_dir: Path | None,
        recipe: Recipe,
        limit: int | None = None,
    ) -> None:
        self.name, self.recipe = name, recipe
        self.root = data_folder(cache_dir)
        self.folder = self.root / name / recipe.key
        refresh(self.folder)
        parts = {part: items[:limit] for part, items in listing.parts.items()}
        self.listing = Listing(listing.classes, parts, listing.official)
        every = [item for items in parts.values() for item in items]
        self._items = {item.name: item for item in every}
        self._items |= {f"{item.name}{SOME_FRAMES}": item for item in every}

    def left_out(self) -> dict[str, str]:
        """Returns the videos that an earlier preparation was allowed to leave out, and why.

        A video that was absent and is there now, or has changed since, is not left out.
        """
        return {
            name: entry["why"]
            for name, entry in self._remembered().items()
            if name in self._items and entry["stat"] == self._stat(name)
        }

    def leave_out(self, faults: dict[str, str]) -> None:
        """Remembers videos that this data set is used without."""
        with writable(self.root, self.name):
            self.folder.mkdir(parents=True, exist_ok=True)
            new = {name: {"why": why, "stat": self._stat(name)} for name, why in faults.items()}
            write_json(self.folder / LEFT_OUT, {**self._remembered(), **new})

    def _remembered(self) -> dict[str, dict[str, str]]:
        path = self.folder / LEFT_OUT
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {
                name: {"why": str(entry["why"]), "stat": str(entry["stat"])}
                for name, entry in content.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path} is damaged or of an older version; delete it and prepare with "
                "--allow_missing again"
            ) from error

    def _stat(self, name: str) -> str:
        """Returns a digest of the state of a sample's files; empty where they are not there."""
        item = self._items[name]
        if item.fault is not None:
            return ""
        try:
            return stat_digest(self.recipe.sources(item))
        except (OSError, InputError):
            return "unreadable"

    def usable(self) -> dict[str, list[Listed]]:
        """Returns the samples of each part that are there and not left out."""
        known = self.left_out()
        return {
            part: [item for item in items if item.fault is None and item.name not in known]
            for part, items in self.listing.parts.items()
        }

    def missing(self) -> dict[str, str]:
        """Returns the missing samples that are not left out, and why they are missing."""
        known = self.left_out()
        found: dict[str, str] = {}
        for items in self.listing.parts.values():
            for item in items:
                if item.fault is not None and item.name not in known:
                    found.setdefault(item.name, item.fault)
        return found

    def prepare(
        self,
        workers: int | None = None,
        faults: dict[str, str] | None = None,
        by: Way | None = None,
    ) -> None:
        """Prepares the videos that are not prepared yet.

        Args:
            workers: Number of processes; None for one on each core.
            faults: Receives the videos that are missing or cannot be read (name -> why); the
                others are prepared.
            by: What makes the files; by default processes of this machine.

        Raises:
            InputError: A video is missing or cannot be read and `faults` is not given; nothing can
                be written; shards are at work.
        """
        missing = self.missing()
        if faults is not None:
            faults.update(missing)
        elif missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise InputError(next(iter(missing.values())) + more)
        every = [item for items in self.usable().values() for item in items]
        known = read_index(self.folder)
        found = self._compare(every, known)
        if not found.todo and not found.changed:
            with suppress(OSError):  # both files only save time: nothing need be writable here
                if {**known, **found.known} != known:
                    write_json(self.folder / INDEX, {**known, **found.known})
                if every and not read_facts(self.folder):
                    write_json(self.folder / RECIPE, self.recipe.facts)
            return
        self.recipe.require([*found.todo, *found.changed])
        with self.lock():
            at_work = [path for path in self.root.glob(f"{self._lock}.shard-*") if is_locked(path)]
            if at_work:
                raise InputError(
                    f"{len(at_work)} shards of {self.name} are at work (prernn prepare --shard); "
                    "wait until they have ended"
                )
            self.begin(every)
            make, facts = self.recipe.write, self.recipe.facts
            prepare_files(self.folder, every, make, facts, workers, faults, by)
            self.write_index(every)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the lock of this data set and recipe; waits until no other process has it.

        Raises:
            InputError: Nothing can be written there.
        """
        with writable(self.root, self.name):
            make_data_folder(self.root)
            with locked(self.root / f"{self._lock}.lock"):
                yield

    def shard_lock(self, shard: str) -> Path:
        """Returns the lock file of a shard."""
        return self.root / f"{self._lock}.shard-{shard}.lock"

    @property
    def _lock(self) -> str:
        return f".{self.name}-{self.recipe.key}".replace("/", "-")

    def begin(self, items: Sequence[Listed], of_a_shard: bool = False) -> None:
        """Makes the folder ready for preparing these videos; the lock must be held.

        Remains of killed processes go, and prepared files whose source has changed.

        Args:
            items: The videos.
            of_a_shard: Other processes may be at work on other videos of the folder.

        Raises:
            InputError: The folder holds files of another recipe.
        """
        refuse_to_mix(self.folder, read_facts(self.folder), self.recipe.facts)
        own = {prepared_path(self.folder, item) for item in items}
        for remains in self.folder.rglob(".*.tmp*"):
            if not of_a_shard or _final_path(remains) in own:
                remains.unlink(missing_ok=True)
        known = read_index(self.folder)
        self._discard(self._compare(items, known).changed, known, len(items))
        self.folder.mkdir(parents=True, exist_ok=True)
        if read_facts(self.folder) != self.recipe.facts:
            write_json(self.folder / RECIPE, self.recipe.facts)

    def write_index(self, items: Sequence[Listed]) -> Compared:
        """Writes down from what these videos were prepared; the lock must be held.

        Returns:
            Which of them are prepared.
        """
        known = read_index(self.folder)
        found = self._compare(items, known)
        write_json(self.folder / INDEX, {**known, **found.known})
        return found

    def _compare(self, items: Sequence[Listed], known: Mapping[str, Fingerprint]) -> Compared:
        paths = {prepared_path(self.folder, item): item for item in items}
        return compare(paths, self.recipe.sources, known)

    def _discard(
        self, changed: Sequence[Listed], known: dict[str, Fingerprint], total: int
    ) -> None:
        """Removes prepared files whose source is another one now, and what is known of them."""
        if not changed:
            return
        first = changed[0].video
        print(
            f"{len(changed)} of {total} prepared videos of {self.name} were made from other files "
            f"than those that are there now (first {first}); they are prepared again",
            file=sys.stderr,
            flush=True,
        )
        for item in changed:
            known.pop(item.name, None)
        # The index first, so that it never knows more than the files do.
        write_json(self.folder / INDEX, known)
        for item in changed:
            prepared_path(self.folder, item).unlink(missing_ok=True)


def _final_path(temporary: Path) -> Path:
    """The name that a temporary file of `files.atomic.replacing` would have got."""
    stem = temporary.name.removeprefix(".").rpartition(".tmp")[0].rpartition(".")[0]
    return temporary.with_name(stem + temporary.suffix)
