"""Pieces of a table's page: numbers, headings, and tables in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]


def number(result: Result, value: float | None, more: int = 0, sign: bool = False) -> str:
    """A value of the metric in the unit shown, `more` digits than usual; a dash for None."""
    if value is None:
        return "-"
    metric = result["metric"]
    digits = metric["digits"] + more
    return f"{value * metric['scale']:{'+' if sign else ''}.{digits}f}"


def spread(result: Result, mean: float | None, sd: float | None) -> str:
    """Mean ± standard deviation, the latter where there is one."""
    return number(result, mean) + ("" if sd is None else f" ± {number(result, sd)}")


def markdown_table(lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first line is its heading."""
    first, *others = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(
        "| " + " | ".join(line) + " |" for line in [first, ["---"] * len(first), *others]
    )


def labels(result: Result, what: str) -> dict[str, str]:
    """Key -> heading of the `rows` or `columns`."""
    return {entry["key"]: entry["label"] for entry in result[what]}
