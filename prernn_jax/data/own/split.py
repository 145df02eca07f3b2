"""Which of a person's own videos are trained on and which are tested on."""

import csv
import io
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from prernn_jax.data.own.rows import Row, absent
from prernn_jax.data.prepared.lists import Listed, Listing
from prernn_jax.errors import InputError

Sample = TypeVar("Sample", bound=Row)
SHARE = 0.25
"""The share of the groups of each class that is tested on, where nothing says which."""


def group_of(row: Row) -> str:
    """What must not be divided: what the list or the folder says, or else by the file's name.

    Clips that were cut from one film differ in the last number of their names. So where a name has
    two numbers or more, the group is what stands before the last one; else each video is a group.
    """
    if row.group:
        return row.group
    name = row.name.rpartition("/")[2]
    head, numbers = re.split(r"[^0-9]*[0-9]+[^0-9]*$", name)[0], re.findall(r"[0-9]+", name)
    return head if len(numbers) > 1 and head else name


def split_rows(rows: Sequence[Sample], seed: int) -> dict[str, list[Sample]]:
    """The parts of a data set.

    Args:
        rows: Its samples.
        seed: The seed of the split, where no split is given.

    Returns:
        `train`, `test` and, where it is given, `validation`. Without a test part the validation
        part is the test part. A split that is not given takes a quarter of each class's groups for
        testing, at least one and not all.

    Raises:
        InputError: Some rows say their part and some do not, a part is missing, there is one class
            only, a class has one group only, or frames of a video are in two parts.
    """
    classes = sorted({row.label for row in rows}, key=_by_number)
    if len(classes) < 2:
        raise InputError(f"there is only the class {classes[0]!r}; a classifier needs two or more")
    parts = divide(rows, seed)
    _refuse_leaks(parts)
    return parts


def _refuse_leaks(parts: Mapping[str, Sequence[Row]]) -> None:
    """Raises an InputError where a frame is in two parts, under whatever name and label."""
    seen: dict[Path, list[tuple[str, Row]]] = {}
    for part, rows in parts.items():
        for row in rows:
            others = seen.setdefault(row.video.resolve(), [])  # a link is the video that it names
            for before, other in others:
                apart = (row.stop is not None and row.stop <= other.start) or (
                    other.stop is not None and other.stop <= row.start
                )
                if before != part and not apart:
                    raise InputError(
                        f"{row.where or row.video}: {row.video.name} is in {part}, and frames of "
                        f"it are in {before} too ({other.where or other.video}): the test would "
                        "show what was trained on; remove one of them"
                    )
            others.append((part, row))


def divide(rows: Sequence[Sample], seed: int) -> dict[str, list[Sample]]:
    """The parts of a data set whose samples may all be of one class; see `split_rows`."""
    classes = sorted({row.label for row in rows}, key=_by_number)
    given = {row.part for row in rows}
    if None not in given:
        parts = {part: [r for r in rows if r.part == part] for part in sorted(map(str, given))}
        if "test" not in parts and "validation" in parts:
            parts["test"] = parts.pop("validation")
        missing = [part for part in ("train", "test") if part not in parts]
        if missing:
            raise InputError(f"no video is of the part {missing[0]}; expected train and test")
        return parts
    if len(given) > 1:
        unsaid = next(row for row in rows if row.part is None)
        raise InputError(f"{unsaid.where or unsaid.video} has no split, and others have one")
    rng = np.random.default_rng(seed)
    group = _groups(rows)
    tested = set()
    for label in classes:
        groups = sorted({group[row.name] for row in rows if row.label == label})
        if len(groups) < 2:
            one = "one video" if sum(row.label == label for row in rows) == 1 else "one group"
            whose = f"the class {label!r} has" if label else "there is only"
            raise InputError(
                f"{whose} {one}; give two or more, so that one can be tested on, or give a list "
                f"with the columns path,{'label,' * bool(label)}split,group"
            )
        count = min(max(round(SHARE * len(groups)), 1), len(groups) - 1)
        tested |= {(label, groups[n]) for n in rng.permutation(len(groups))[:count].tolist()}
    shares = [(row, (row.label, group[row.name]) in tested) for row in rows]
    return {
        "train": [row for row, held_out in shares if not held_out],
        "test": [row for row, held_out in shares if held_out],
    }


def _groups(rows: Sequence[Row]) -> dict[str, str]:
    """Name of a sample -> its group; where the names make one group of a class, each its own."""
    groups = {row.name: group_of(row) for row in rows}
    for label in sorted({row.label for row in rows}):
        mine = [row for row in rows if row.label == label]
        if len({groups[row.name] for row in mine}) == 1 < len(mine) and not mine[0].group:
            print(
                f"note: by their names all videos{f' of {label}' * bool(label)} are of one film; "
                "they are divided all the same",
                file=sys.stderr,
                flush=True,
            )
            groups |= {row.name: row.name for row in mine}
    return groups


def listing_of(parts: Mapping[str, Sequence[Row]]) -> Listing:
    """The samples as the preparation takes them; the classes in the order of their names."""
    labels = {row.label for rows in parts.values() for row in rows}
    classes = tuple(sorted(labels, key=_by_number))
    number = {name: place for place, name in enumerate(classes)}

    def listed(row: Row) -> Listed:
        fault = None
        if not row.video.is_file():
            fault = absent(row.where, row.video)
        return Listed(row.video, number[row.label], row.name, row.start, row.stop, fault=fault)

    return Listing(
        classes, {part: [listed(row) for row in rows] for part, rows in parts.items()}, {}
    )


def table_of(parts: Mapping[str, Sequence[Row]]) -> str:
    """The split as a CSV file that can be given again as --source."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group", "start", "end"])
    for part, rows in parts.items():
        for row in rows:
            end = "" if row.stop is None else row.stop
            start = row.start if row.start or row.stop is not None else ""
            path = str(row.video.absolute())
            writer.writerow([path, row.label, part, group_of(row), start, end])
    return text.getvalue()


def _by_number(label: str) -> tuple[int, int, str]:
    """Labels that are numbers in their own order, names behind them."""
    number = label.isdecimal() and len(label) < 10
    return (0, int(label), "") if number else (1, 0, label)
