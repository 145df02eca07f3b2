"""Command line: decode every video of a folder once and list what is corrupt, short or empty.

python -m prernn_jax.data.check DIR --out check.json
"""

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from prernn_jax.data.video import read_frames
from prernn_jax.errors import InputError

ENDINGS = (".avi", ".mp4", ".mpg", ".mkv", ".webm")


@dataclass(frozen=True)
class Check:
    """Decodes all videos under a folder and reports those that cannot be used.

    Attributes:
      folder: Where to look, in all folders below too.
      out: JSON file to write: every video with its frames, height, width and fault.
      shortest: Videos with fewer frames than this are reported as short.
      workers: Videos at a time; one a core by default.
    """

    folder: tyro.conf.Positional[Path]
    out: Path | None = None
    shortest: int = 16
    workers: int | None = None


def check_video(path: Path, shortest: int) -> dict[str, Any]:
    """Decode one video; `fault` is None where nothing is wrong with it."""
    count, size, fault = 0, (0, 0), None
    try:
        for frame in read_frames(path):
            count, size = count + 1, frame.shape[:2]
        if count < shortest:
            fault = f"short: {count} frames, fewer than {shortest}"
    except InputError as error:
        fault = str(error)
    return {"frames": count, "height": size[0], "width": size[1], "fault": fault}


def check(config: Check) -> dict[str, dict[str, Any]]:
    """Check every video under the folder.

    Returns:
      The video's name, relative to the folder -> frames, height, width, fault.

    Raises:
      InputError: there is no such folder, or no video in it.
    """
    if not config.folder.is_dir():
        raise InputError(f"there is no folder {config.folder}")
    videos = sorted(p for p in config.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    if not videos:
        raise InputError(f"there is no video ({', '.join(ENDINGS)}) under {config.folder}")
    with ThreadPoolExecutor(max_workers=config.workers or os.cpu_count() or 1) as pool:
        found = list(pool.map(lambda path: check_video(path, config.shortest), videos))
    names = [path.relative_to(config.folder).as_posix() for path in videos]
    return dict(zip(names, found, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 if all is well, 1 if videos have faults, 2 on bad input."""
    try:
        config = tyro.cli(Check, args=arguments, prog="python -m prernn_jax.data.check")
        found = check(config)
        if config.out is not None:
            temporary = config.out.with_name(config.out.name + ".tmp")
            temporary.write_text(json.dumps(found, indent=1))
            temporary.replace(config.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    faults = {name: facts["fault"] for name, facts in found.items() if facts["fault"]}
    for name, fault in faults.items():
        print(f"{name}: {fault}")
    frames = sum(facts["frames"] for facts in found.values())
    print(f"{len(found)} videos, {frames} frames, {len(faults)} with faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
