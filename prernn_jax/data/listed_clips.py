"""UCF101 and HMDB51 between their official lists and the prepared files."""

import json
from pathlib import Path
from typing import Literal

from prernn_jax.data import hmdb51, ucf101
from prernn_jax.data.clip_files import ClipFiles, Recipe, prepare_clips
from prernn_jax.data.prepared import data_folder, writable
from prernn_jax.data.split_lists import Listed
from prernn_jax.errors import InputError

DatasetName = Literal["ucf101", "hmdb51"]
_READERS = {"ucf101": ucf101, "hmdb51": hmdb51}


class ListedClips:
    """One split of a data set: which videos it has, where they lie prepared, what is left out.

    Args:
      name: of the data set.
      source: its official layout.
      data_dir: where prepared data are kept; None: see `data_folder`.
      split: 1, 2 or 3.
      recipe: how videos are prepared.
      limit: take the first so many videos of each list only, to try things out.

    Attributes:
      classes: names of the classes.
      listed: "train" and "test" -> the videos that are there and not left out.
      missing: videos that lists name and that are not there, with what is wrong.
      official: numbers of videos to train and to test on.

    Raises:
      InputError: a folder or list is missing or faulty.
    """

    def __init__(
        self,
        name: DatasetName,
        source: Path,
        data_dir: Path | None,
        split: int,
        recipe: Recipe,
        limit: int | None = None,
    ) -> None:
        reader = _READERS[name]
        self.name, self.recipe = name, recipe
        self.root = data_folder(data_dir)
        self.folder = self.root / name / recipe.key
        self.classes = reader.read_classes(source)
        self.missing: dict[str, str] = {}
        known = self.left_out()
        self.listed: dict[str, list[Listed]] = {}
        for part in ("train", "test"):
            items = reader.read_split(source, split, part, self.missing)[:limit]
            self.listed[part] = [item for item in items if item.name not in known]
        self.official = reader.COUNTS[split]

    def left_out(self) -> dict[str, str]:
        """Return the videos that an earlier preparation was allowed to leave out, and why."""
        path = self.folder / "left_out.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def leave_out(self, faults: dict[str, str]) -> None:
        """Remember videos without which this data set is to be used."""
        path = self.folder / "left_out.json"
        temporary = path.with_name(path.name + ".tmp")
        with writable(self.root, self.name):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps({**self.left_out(), **faults}, indent=1))
            temporary.replace(path)
        for part, items in self.listed.items():
            self.listed[part] = [item for item in items if item.name not in faults]

    def prepare(self, workers: int | None = None, faults: dict[str, str] | None = None) -> None:
        """Decode and compute flow where that is still to do.

        Args:
          workers: videos at a time; None: one a core.
          faults: where given, videos that cannot be read are noted here (name: why) and the
            others go on.

        Raises:
          InputError: without `faults`: a video is missing, or cannot be read.
        """
        known = self.left_out()
        absent = [text for name, text in self.missing.items() if name not in known]
        if faults is None and absent:
            more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
            raise InputError(absent[0] + more)
        every = {item.name: item for items in self.listed.values() for item in items}
        with writable(self.root, self.name):
            prepare_clips(self.folder, list(every.values()), self.recipe, workers, faults)

    def sources(self) -> dict[str, ClipFiles]:
        """Return the prepared videos of each part."""
        return {
            part: ClipFiles(self.folder, items, self.recipe) for part, items in self.listed.items()
        }
