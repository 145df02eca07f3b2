"""Tables that say where each array of a file goes, and the check that they cover it exactly.

A table is data: `{regular expression: (target, transform)}`. Every key of the file must match
exactly one row, every parameter of the network must be filled, and all faults are told together.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing

_LISTED = 12  # lines that an error shows of each kind


@dataclass(frozen=True)
class Layout:
    """How one kind of file names and orders the weights of one network.

    Attributes:
        name: What `--layout` calls it.
        family: The files that have it: of PyTorch (and safetensors), or of Caffe.
        variant: The variant of our network that computes the same.
        rows: Pattern of a whole key -> (target, transform); named groups may stand in the
            target. (None, reason) leaves an array out.
        preprocessing: What the weights expect, at the size of the published network.
        names: Of a named group, text in the file -> text in our names. A text that is not
            listed does not match.
        fresh: Pattern of targets that may be absent from the file; they start at zero.
        note: Said when the layout is used.
    """

    name: str
    family: Literal["torch", "caffe"]
    variant: str
    rows: Mapping[str, tuple[str | None, str]]
    preprocessing: Preprocessing
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fresh: str = "(?!)"
    note: str = ""


@dataclass(frozen=True)
class Move:
    """One array of the file and the parameter that it becomes."""

    source: str
    target: str
    transform: str


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


def assign(layout: Layout, keys: Iterable[str]) -> Assignment:
    """Matches every key with the rows of a layout; faults are collected, not raised."""
    result = Assignment()
    filled: dict[str, str] = {}
    for key in keys:
        matches = [
            (_target(layout, match, target), text)
            for pattern, (target, text) in layout.rows.items()
            if (match := re.fullmatch(pattern, key)) and _known(layout, match)
        ]
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


def check_complete(
    result: Assignment, wanted: Mapping[str, tuple[int, ...]], layout: Layout
) -> list[str]:
    """Adds a fault for every unfilled parameter.

    Args:
        result: Of `assign`; its `faults` grow.
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


def _known(layout: Layout, match: re.Match[str]) -> bool:
    groups = match.groupdict()
    return all(groups[name] in known for name, known in layout.names.items() if name in groups)


def _target(layout: Layout, match: re.Match[str], template: str | None) -> str | None:
    if template is None:
        return None
    groups = match.groupdict(default="")
    named = {name: layout.names.get(name, {}).get(text, text) for name, text in groups.items()}
    return template.format(**named)
