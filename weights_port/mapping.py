"""Tables that say where each array of a file goes, and the check that they cover it exactly.

A table is data: `{regular expression: (target, transform)}`. Every key of the file must match
exactly one row, every parameter of the network must be filled, and all faults are told together.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing

Rows = Mapping[str, tuple[str | None, str]]
_LISTED = 12  # lines that an error shows of each kind


@dataclass(frozen=True)
class Layout:
    """How one kind of file names and orders the weights of one network.

    Attributes:
        name: What `--layout` calls it.
        family: The files that have it, see `Source.family`; "any" where the format says nothing.
        variant: The variant of our network that computes the same.
        rows: Pattern of a whole key -> (target, transform); named groups may stand in the
            target. (None, reason) leaves an array out.
        preprocessing: What the weights expect, at the size of the published network.
        names: Of a named group, text in the file -> text in our names. A text that is not
            listed does not match.
        fresh: Pattern of targets that may be absent from the file; they start at zero.
        note: Said when the layout is used.
        arguments: Arguments of the network besides the variant that the layout decides.
        digests: First digits of the SHA-256 of published files; they decide where several layouts
            fit.
        expects: Parameters by which it is told from siblings whose tables know its keys too.
        needs: Pattern that some key must match; "" needs none.
        outside: Rows for whole keys that do not stand under the prefix.
        image_size: The size to which the preprocessing belongs, where it is another; else 0.
    """

    name: str
    family: str
    variant: str
    rows: Rows
    preprocessing: Preprocessing
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fresh: str = "(?!)"
    note: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    digests: tuple[str, ...] = ()
    expects: frozenset[str] = frozenset()
    needs: str = ""
    outside: Rows = field(default_factory=dict)
    image_size: int = 0


@dataclass(frozen=True)
class Move:
    """One array of the file and the parameter that it becomes.

    Attributes:
        source: The array's key.
        target: The parameter's name.
        transform: A key of `TRANSFORMS`.
        partners: Keys of other arrays that the transform needs.
    """

    source: str
    target: str
    transform: str
    partners: tuple[str, ...] = ()


@dataclass
class Assignment:
    """What a table makes of the keys of a file."""

    moves: list[Move] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # key -> reason
    faults: list[str] = field(default_factory=list)

    @property
    def covered(self) -> int:
        """Keys that the table knows."""
        return len(self.moves) + len(self.skipped)


def assign(
    layout: Layout, keys: Iterable[str], prefix: str = "", others: Rows | None = None
) -> Assignment:
    """Matches every key with the rows of a layout; faults are collected, not raised.

    Args:
        layout: The table.
        keys: Of the file.
        prefix: Stands before the network's own keys in the file.
        others: Rows for the whole keys that no row of the layout matches; the first counts.
    """
    result = Assignment()
    filled: dict[str, str] = {}
    for key in keys:
        matches = _matches(layout, layout.rows, key.removeprefix(prefix))
        if not key.startswith(prefix):
            matches = []
        if not matches and others:
            matches = _matches(layout, {**layout.outside, **others}, key)[:1]
        if len(matches) != 1:
            what = "no row of the table" if not matches else f"{len(matches)} rows of the table"
            result.faults.append(f"+ {key}: {what}")
            continue
        target, text = matches[0]
        if target is None:
            result.skipped[key] = text
        elif target in filled:
            result.faults.append(f"+ {key}: {target} is filled by {filled[target]} already")
        else:
            filled[target] = key
            result.moves.append(Move(key, target, text))
    return result


def prefixes(layout: Layout, keys: Iterable[str], first: str) -> list[str]:
    """What may stand before the network's keys in a file, shortest first.

    Args:
        layout: The table.
        keys: Of the file.
        first: The parameter by which the beginning of a network is found.
    """
    able = {
        pattern: row
        for pattern, row in layout.rows.items()
        if row[0] and re.fullmatch(re.sub(r"\{\w+\}", ".*", row[0]), first)
    }
    found = {""}
    for key in keys:
        for start in [0, *(m.end() for m in re.finditer(r"[./]", key))]:
            if any(target == first for target, _ in _matches(layout, able, key[start:])):
                found.add(key[:start])
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


def check_complete(
    result: Assignment, wanted: Mapping[str, tuple[int, ...]], layout: Layout
) -> list[str]:
    """Adds a fault for every unfilled parameter.

    Args:
        result: What `assign` returned; its `faults` grow.
        wanted: The network's parameters with their shapes.
        layout: Says which may start afresh.

    Returns:
        The parameters that start afresh.
    """
    given = {move.target for move in result.moves}
    fresh = []
    for target, shape in wanted.items():
        if target in given:
            continue
        if re.fullmatch(layout.fresh, target):
            fresh.append(target)
        else:
            result.faults.append(f"- {target} {shape}: nothing in the file fills it")
    return fresh


def raise_faults(faults: list[str], where: str, hint: str) -> None:
    """Raises all faults as one list: `+` in the file only, `-` in the network only, `!` shapes.

    Raises:
        InputError: There are faults.
    """
    if not faults:
        return
    lines: list[str] = []
    for sign, kind in (("!", "of a wrong shape"), ("+", "in the file"), ("-", "in the network")):
        some = [fault for fault in faults if fault.startswith(sign)]
        lines += some[:_LISTED]
        if len(some) > _LISTED:
            lines.append(f"{sign} and {len(some) - _LISTED} more {kind}")
    raise InputError(f"{where}: {hint}\n" + "\n".join(f"  {line}" for line in lines))


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _matches(layout: Layout, rows: Rows, key: str) -> list[tuple[str | None, str]]:
    """Target and transform (or None and a reason) of every row that a key matches."""
    return [
        (_target(layout, match, target), text)
        for pattern, (target, text) in rows.items()
        if (match := _compiled(pattern).fullmatch(key)) and _known(layout, match)
    ]


def _known(layout: Layout, match: re.Match[str]) -> bool:
    groups = match.groupdict()
    return all(groups[name] in known for name, known in layout.names.items() if name in groups)


def _target(layout: Layout, match: re.Match[str], template: str | None) -> str | None:
    if template is None:
        return None
    groups = match.groupdict(default="")
    named = {name: layout.names.get(name, {}).get(text, text) for name, text in groups.items()}
    return template.format(**named)
