"""The report of a preparation: counts for each class first, each faulty video once."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prernn_jax.data.prepared.listed_files import ListedFiles

SHOWN = 20
"""Lines of each kind that a short report prints."""
COLUMNS = 100


def make_report(clips: ListedFiles, faults: Mapping[str, str]) -> dict[str, Any]:
    """Counts what is prepared and what the lists name.

    Args:
        clips: The data set.
        faults: Video -> what is wrong with it; missing ones included.

    Returns:
        JSON values. `parts`: for each part the number of videos that are `prepared`, `listed` and
        `official`, and `classes` with the first two for each class. `missing`: for each reason
        `why`, and the `videos`. `faults`: video -> why it cannot be used. `left_out`: the same for
        an earlier preparation with --allow_missing.
    """
    usable = clips.usable()
    parts = {}
    for part, listed in clips.listing.parts.items():
        ready = [item for item in usable[part] if item.name not in faults]
        prepared = Counter(item.label for item in ready)
        named = Counter(item.label for item in listed)
        parts[part] = {
            "prepared": len(ready),
            "listed": len(listed),
            "official": clips.listing.official.get(part),
            "classes": {
                name: {"prepared": prepared[label], "listed": named[label]}
                for label, name in enumerate(clips.listing.classes)
            },
        }
    missing: dict[str, list[str]] = {}
    for items in clips.listing.parts.values():
        for item in items:
            if item.fault is not None and item.name in faults:
                missing.setdefault(item.hint, []).append(item.name)
    absent = {name for names in missing.values() for name in names}
    paths = {item.name: item.video for items in clips.listing.parts.values() for item in items}
    return {
        "parts": parts,
        "missing": [{"why": why, "videos": names} for why, names in missing.items()],
        "faults": {
            name: without_path(why, paths.get(name))
            for name, why in faults.items()
            if name not in absent
        },
        "left_out": {name: why for name, why in clips.left_out().items() if name not in faults},
    }


def print_report(found: Mapping[str, Any], all_names: bool = False) -> None:
    """Prints a report: the counts of all parts and classes, then what is wrong.

    Args:
        found: See `make_report`; `notes`, video -> remark, may be added.
        all_names: Print every class and every video, and not only the first ones.
    """
    for part, counts in found["parts"].items():
        official = "" if counts["official"] is None else f", official {counts['official']}"
        print(f"  {part}: {counts['prepared']} videos of {counts['listed']} listed{official}")
        _print_classes(counts["classes"], all_names)
    for group in found["missing"]:
        names, why = group["videos"], f": {group['why']}" if group["why"] else ""
        what = "1 video is" if len(names) == 1 else f"{len(names)} videos are"
        print(f"  {what} missing{why}")
        print_lines(names, all_names, shown=1)
    for kind, what in (("faults", "cannot be used as listed"), ("notes", "have a remark")):
        if found.get(kind):
            print(f"  {len(found[kind])} videos {what}")
            print_lines([f"{name}: {why}" for name, why in found[kind].items()], all_names)
    if found["left_out"]:
        print(f"  left out by an earlier preparation: {len(found['left_out'])}")


def _print_classes(classes: Mapping[str, Mapping[str, int]], all_names: bool) -> None:
    if not classes:
        return
    short = {name: n for name, n in classes.items() if n["prepared"] < n["listed"]}
    if not short:
        print(f"    all {len(classes)} classes are complete")
        return
    none = [name for name, n in short.items() if n["prepared"] == 0]
    print(
        f"    of {len(classes)} classes {len(classes) - len(short)} are complete, "
        f"{len(short) - len(none)} are in part, {len(none)} have no video"
    )
    some = short if all_names else {name: n for name, n in short.items() if n["prepared"]}
    text = ", ".join(f"{name} {n['prepared']}/{n['listed']}" for name, n in some.items())
    indent = " " * 6
    for line in textwrap.wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=indent):
        print(line)


def print_lines(lines: Sequence[str], all_names: bool, shown: int = SHOWN) -> None:
    """Prints the first lines, or all of them, each indented by four blanks."""
    for line in lines if all_names else lines[:shown]:
        print(f"    {line}")
    if not all_names and len(lines) > shown:
        print(f"    and {len(lines) - shown} more; --all_names lists them")


def without_path(message: str, path: Path | None) -> str:
    """Returns a message about a file without the file's path at its beginning.

    The line that it stands in names the file already.
    """
    for beginning in (f"the video {path}", str(path)):
        if message.startswith(beginning):
            return message.removeprefix(beginning).lstrip(" :")
    return message
