"""Which of a person's own videos are trained on and which are tested on."""

import csv
import io
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from prernn_jax.data.media.listing import without_ending
from prernn_jax.data.own.leaks import refuse_leaks
from prernn_jax.data.own.lists import absent
from prernn_jax.data.own.rows import Row
from prernn_jax.data.prepared.lists import Listed, Listing
from prernn_jax.errors import InputError

Sample = TypeVar("Sample", bound=Row)
SHARE = 0.25
"""The share of the groups of each class that is tested on, where nothing says which."""


def group_of(row: Row) -> str:
    """What must not be divided: what the list or the folder says, or else by the file's name.

    Clips that were cut from one film differ in the last number of their names. So where a name has
    two numbers or more, the group is what stands before the last one; else each video is a group.
    A group that a name makes is one of its class only: names such as 1.mp4 return in each class.
    Parts of a film that a list names by their frames are one group, also those of other classes.
    """
    if row.group:
        return row.group
    if row.start or row.stop is not None:
        return "/".join([*row.video.parts[-2:-1], without_ending(row.video.name)])
    name = row.name.rpartition("/")[2]
    head, numbers = re.split(r"[^0-9]*[0-9]+[^0-9]*$", name)[0], re.findall(r"[0-9]+", name)
    group = head if len(numbers) > 1 and head else name
    return f"{row.label}/{group}" if row.label else group


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
            only, a class has one group only, or two parts share something; see `refuse_leaks`.
    """
    classes = sorted({row.label for row in rows}, key=_by_number)
    if len(classes) < 2:
        inner = rows[0].group and not rows[0].stated
        hint = f"; if the folders in {classes[0]} are the classes, give it as --source" * bool(
            inner
        )
        raise InputError(
            f"there is only the class {classes[0]!r}; a classifier needs two or more{hint}"
        )
    parts = divide(rows, seed)
    refuse_leaks(parts, lambda row: (row.video,))
    return parts


def divide(rows: Sequence[Sample], seed: int) -> dict[str, list[Sample]]:
    """The parts of a data set whose samples may all be of one class; see `split_rows`."""
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
    group = _groups(rows, tell=True)
    tested = _drawn_groups([(row.label, group[row.name]) for row in rows], seed)
    return {
        "train": [row for row in rows if group[row.name] not in tested],
        "test": [row for row in rows if group[row.name] in tested],
    }


def _drawn_groups(samples: Sequence[tuple[str, str]], seed: int) -> set[str]:
    """Draws the groups that are tested on, from the class and the group of each sample.

    A group may have samples of several classes. It is then tested on in all of them.

    Raises:
        InputError: A class cannot be both trained and tested on.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, set[str]] = {}
    classes_of: dict[str, set[str]] = {}
    for label, group in samples:
        members.setdefault(label, set()).add(group)
        classes_of.setdefault(group, set()).add(label)
    tested: set[str] = set()
    for label in sorted(members, key=_by_number):
        groups = sorted(members[label])
        whose = f"the class {label!r} has" if label else "there is only"
        if len(groups) < 2:
            one = "one video" if sum(sample[0] == label for sample in samples) == 1 else "one group"
            raise InputError(
                f"{whose} {one}; give two or more, so that one can be tested on, or give a list "
                f"with the columns path,{'label,' * bool(label)}split,group"
            )
        count = min(max(round(SHARE * len(groups)), 1), len(groups) - 1)
        for name in (groups[n] for n in rng.permutation(len(groups))):
            if len(tested & members[label]) >= count:
                break
            # no class may lose its last group to the test
            if all(members[other] - tested - {name} for other in classes_of[name]):
                tested.add(name)
        if not tested & members[label]:
            raise InputError(
                f"{whose} no group that can be tested on: each one is the last that another class "
                "is trained on; give a list with the columns path,label,split"
            )
    return tested


def _groups(rows: Sequence[Row], tell: bool = False) -> dict[str, str]:
    """Name of a sample -> its group; where the names make one group of a class, each its own."""
    groups = {row.name: group_of(row) for row in rows}
    for label in sorted({row.label for row in rows}):
        mine = [row for row in rows if row.label == label]
        if len({groups[row.name] for row in mine}) == 1 < len(mine) and not mine[0].group:
            if tell:
                print(
                    f"note: by their names all videos{f' of {label}' * bool(label)} are of one "
                    "film; they are divided all the same",
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


def written_groups(parts: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    """Name of a sample -> the group that a table of the split says.

    Where the split was drawn these are the groups that were not divided. Else they are those that a
    list says: what folders and names say may be divided by a given split.
    """
    rows = [row for part in parts.values() for row in part]
    if all(row.part is None for row in rows):
        return _groups(rows)
    return {row.name: row.group if row.stated else "" for row in rows}


def table_of(parts: Mapping[str, Sequence[Row]]) -> str:
    """The split as a CSV file that can be given again as --source."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group", "start", "end"])
    groups = written_groups(parts)
    for part, rows in parts.items():
        for row in rows:
            end = "" if row.stop is None else row.stop
            start = row.start if row.start or row.stop is not None else ""
            path = str(row.video.absolute())
            writer.writerow([path, row.label, part, groups[row.name], start, end])
    return text.getvalue()


def _by_number(label: str) -> tuple[int, int, str]:
    """Labels that are numbers in their own order, names behind them; 1 and 01 are two labels."""
    number = label.isdecimal() and len(label) < 10
    return (0, int(label), label) if number else (1, 0, label)
