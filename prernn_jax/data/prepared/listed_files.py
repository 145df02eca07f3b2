"""A data set of videos between its official lists and the prepared files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from prernn_jax.data.prepared.folder import (
    data_folder,
    locked,
    prepare_files,
    prepared_path,
    writable,
)
from prernn_jax.data.prepared.lists import Listed, Listing
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json


class Recipe(Protocol):
    """How the prepared file of a video is made; can be sent to another process."""

    @property
    def key(self) -> str:
        """A folder name."""

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that must be the same for all files of a folder."""

    def require(self, items: Sequence[Listed]) -> None:
        """Checks that the packages are there which the files need.

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
    """What the lists name: which videos are there, where they lie prepared, what is left out.

    Args:
        name: Of the data set.
        listing: What its lists say.
        data_dir: Where prepared data are kept; None: see `data_folder`.
        recipe: How videos are prepared.
        limit: Take the first so many videos of each list only, to try things out.

    Attributes:
        listing: What the lists say, up to the limit.
        folder: Where the prepared files go.
    """

    def __init__(
        self,
        name: str,
        listing: Listing,
        data_dir: Path | None,
        recipe: Recipe,
        limit: int | None = None,
    ) -> None:
        self.name, self.recipe = name, recipe
        self.root = data_folder(data_dir)
        self.folder = self.root / name / recipe.key
        parts = {part: items[:limit] for part, items in listing.parts.items()}
        self.listing = Listing(listing.classes, parts, listing.official)

    def left_out(self) -> dict[str, str]:
        """Returns the videos that an earlier preparation was allowed to leave out, and why."""
        path = self.folder / "left_out.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def leave_out(self, faults: dict[str, str]) -> None:
        """Remember videos without which this data set is to be used."""
        with writable(self.root, self.name):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "left_out.json", {**self.left_out(), **faults})

    def usable(self) -> dict[str, list[Listed]]:
        """Returns the samples of each part that are there and not left out."""
        known = self.left_out()
        return {
            part: [item for item in items if item.fault is None and item.name not in known]
            for part, items in self.listing.parts.items()
        }

    def missing(self) -> dict[str, str]:
        """Returns the samples whose video is not there and that are not left out, and why."""
        known = self.left_out()
        found: dict[str, str] = {}
        for items in self.listing.parts.values():
            for item in items:
                if item.fault is not None and item.name not in known:
                    found.setdefault(item.name, item.fault)
        return found

    def prepare(self, workers: int | None = None, faults: dict[str, str] | None = None) -> None:
        """Decodes and compute flow where that is still to do.

        Args:
            workers: processes; None: one a core.
            faults: Where given, videos that are missing or cannot be read are noted here (name:
                why) and the others go on.

        Raises:
            InputError: Without `faults`: a video is missing, or cannot be read; in any case:
                nothing can be written.
        """
        missing = self.missing()
        if faults is not None:
            faults.update(missing)
        elif missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise InputError(next(iter(missing.values())) + more)
        every = {item.name: item for items in self.usable().values() for item in items}
        if all(prepared_path(self.folder, item).is_file() for item in every.values()):
            return  # also where nothing can be written
        self.recipe.require(list(every.values()))
        with writable(self.root, self.name):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = f".{self.name}-{self.recipe.key}.lock".replace("/", "-")
            with locked(self.root / lock):
                for remains in self.folder.rglob(".*.tmp"):
                    remains.unlink()
                items, make = list(every.values()), self.recipe.write
                prepare_files(self.folder, items, make, self.recipe.facts, workers, faults)
