"""Command line: official videos to prepared data, with a report of what is there.

python -m prernn_jax.data.prepare ucf101 --source DIR
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from prernn_jax.data.clip_files import Flow, Recipe
from prernn_jax.data.listed_clips import DatasetName, ListedClips
from prernn_jax.errors import InputError


@dataclass(frozen=True)
class Preparation:
    """Decodes the videos of a data set once, computes their flow, and reports what is missing.

    Started again, it goes on with the videos that are not prepared yet.

    Attributes:
      dataset: Which one.
      source: Its folder, unpacked as downloaded.
      data_dir: Where prepared data are kept; $PRERNN_DATA_DIR or ~/.cache/prernn_jax by default.
      split: Official split; the videos of all splits are the same.
      flow: Algorithm of the optical flow, or none.
      short_side: Height or width, whichever is shorter, of the prepared pictures.
      workers: Videos at a time; one a core by default.
      limit: Only the first so many videos of each list, to try it out.
      allow_missing: Use the data set without the videos that are absent or do not decode.
    """

    dataset: tyro.conf.Positional[DatasetName]
    source: Path
    data_dir: Path | None = None
    split: Literal[1, 2, 3] = 1
    flow: Flow = "dis"
    short_side: int = 256
    workers: int | None = None
    limit: int | None = None
    allow_missing: bool = False


def prepare(config: Preparation) -> bool:
    """Prepare a data set and print the report.

    Returns:
      Whether nothing is missing, or what is missing may be.

    Raises:
      InputError: folders or lists are missing or faulty, or nothing can be written.
    """
    recipe = Recipe(config.flow, config.short_side)
    clips = ListedClips(
        config.dataset, config.source, config.data_dir, config.split, recipe, config.limit
    )
    broken: dict[str, str] = {}
    clips.prepare(config.workers, broken)
    absent = {name: text for name, text in clips.missing.items() if name not in clips.left_out()}
    faults = {**absent, **broken}
    if faults and config.allow_missing:
        clips.leave_out(faults)
    print(f"{config.dataset}, split {config.split}, {len(clips.classes)} classes: {clips.folder}")
    for part, official in zip(("train", "test"), clips.official, strict=True):
        count = sum(item.name not in broken for item in clips.listed[part])
        print(f"  {part}: {count} videos, official {official}")
    for title, found in (("missing", absent), ("does not decode", broken)):
        for name, text in found.items():
            print(f"  {title}: {name}: {text}")
    earlier = len(clips.left_out()) - (len(faults) if config.allow_missing else 0)
    if earlier:
        print(f"  left out by an earlier preparation: {earlier}")
    return not faults or config.allow_missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 if videos are missing, 2 on bad input."""
    try:
        config = tyro.cli(Preparation, args=arguments, prog="python -m prernn_jax.data.prepare")
        return 0 if prepare(config) else 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
