"""What the commands print."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from weights_port.convert import Plan
from weights_port.formats.source import Source
from weights_port.transforms import TRANSFORMS

Say = Callable[[str], None]


class Row(NamedTuple):
    """One layer of the report.

    Attributes:
        layer: Our name.
        difference: Largest absolute difference.
        relative: Norm of the difference over the norm of the original's output.
    """

    layer: str
    difference: float
    relative: float


def print_source(source: Source, say: Say = print) -> None:
    """Format, arrays, types and sizes of a file."""
    say(f"{source.path}: {source.format}, {source.path.stat().st_size:,} bytes")
    for note in source.notes:
        say(f"note: {note}")
    rows = [("array", "type", "shape", "dtype", "bytes")]
    types = {key: node.attributes["type"] for node in source.graph or () for key in node.arrays}
    for key, array in source.arrays.items():
        kind = types.get(key, "")
        rows.append((key, kind, _shape(array.shape), str(array.dtype), f"{array.nbytes:,}"))
    _table(rows, say)
    total = sum(array.size for array in source.arrays.values())
    size = sum(array.nbytes for array in source.arrays.values())
    say(f"total: {len(source.arrays)} arrays, {total:,} numbers, {size:,} bytes")


def print_plan(source: Source, plan: Plan, say: Say = print) -> None:
    """Source key -> target, transform and shape of every array, and the totals."""
    say(f"{source.path}: {source.format}, layout {plan.layout.name}, variant {plan.layout.variant}")
    rows = [("source", "target", "transform", "shape")]
    for move in plan.assignment.moves:
        shape = _shape(plan.outgoing[move.target].shape)
        rows.append((move.source, move.target, TRANSFORMS[move.transform].layout, shape))
    _table(rows, say)
    for reason in dict.fromkeys(plan.assignment.skipped.values()):
        keys = [key for key, why in plan.assignment.skipped.items() if why == reason]
        shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        say(f"left out ({reason}): {shown}")
    for note in source.notes + plan.notes:
        say(f"note: {note}")
    say(f"network: {plan.metadata['architecture']} {plan.metadata['arguments']}")
    say(f"preprocessing: {plan.preprocessing.to_json()}")
    count = sum(int(np.prod(new.shape)) for new in plan.outgoing.values())
    say(
        f"total: {len(plan.assignment.moves)} arrays converted, "
        f"{len(plan.assignment.skipped)} left out, {len(plan.fresh)} fresh, {count:,} numbers"
    )


def print_parity(title: str, rows: Iterable[Row], say: Say = print) -> float:
    """The parity report of one input; returns the largest relative difference."""
    rows = list(rows)
    say(f"layer by layer, {title} input:")
    lines = [(row.layer, f"{row.difference:.3g}", f"{row.relative:.3g}") for row in rows]
    _table([("layer", "max abs difference", "relative norm"), *lines], say)
    return max(row.relative for row in rows)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _table(rows: Sequence[tuple[str, ...]], say: Say) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        say("  " + "  ".join(cells).rstrip())
