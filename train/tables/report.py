"""A table's outcome as a page: Markdown made from the JSON alone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prernn_jax.files.atomic import write_text

from ..run.folder import make_folder
from .cell_text import Result, labels, markdown_table, number, spread
from .circumstances import settings, sizes, streams
from .grid import CONTROL
from .picture import draw_table


def write_table(folder: Path, result: Result) -> list[Path]:
    """Writes `tableN.json`, and from it `tableN.md` and `tableN.png`.

    Args:
        folder: Where; made if it is not there.
        result: The outcome, see `train.tables.outcome.result_of`.

    Returns:
        The three files.

    Raises:
        InputError: The folder cannot be written to.
    """
    make_folder(folder)
    text = json.dumps(_finite(result), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    plain = json.loads(text)
    json_file, page, picture = (
        folder / f"table{plain['table']}.{ending}" for ending in ("json", "md", "png")
    )
    write_text(json_file, text)
    draw_table(picture, plain)
    write_text(page, table_page(plain, picture.name))
    return [json_file, page, picture]


def _finite(value: Any) -> Any:
    """The same with None for infinite numbers (losses of failed runs), which JSON has not."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_page(result: Result, picture: str) -> str:
    """The page.

    Args:
        result: What is in the JSON.
        picture: The picture's name, relative to the page.
    """
    parts = [
        f"# {result['title']}",
        _heading(result),
        _main_table(result),
        _controls(result),
        f"![{result['title']}]({picture})",
        "## The paper's claims",
        _claims(result),
        "## Differences",
        _differences(result),
        "## Sizes and rates",
        sizes(result),
        streams(result),
        "## How it was run",
        settings(result),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(result: Result) -> str:
    metric, count = result["metric"], len(result["seeds"]["training"])
    unit = f", {metric['unit']}" if metric["unit"] else ""
    text = (
        f"{metric['label'][:1].upper()}{metric['label'][1:]}{unit}; {metric['better']} is better. "
        f"Data: {result['data']}. Mean ± standard deviation over {_count(count, 'training seed')}, "
        "the best of each row in bold, below it the paper's figure where there is one."
    )
    if result["quick"]:
        text += " A reduced and shortened grid (`--quick`), to see the program work."
    elif result["data"] == "embedded":
        text += " A miniature: only the order within a row can be compared with the paper's."
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _main_table(result: Result) -> str:
    places = {(cell["row"], cell["column"]): cell for cell in result["cells"]}
    rows = {key: label for key, label in labels(result, "rows").items() if key != CONTROL}
    columns = {
        key: label
        for key, label in labels(result, "columns").items()
        if any((row, key) in places for row in rows)
    }
    lines = [["", *columns.values()]]
    choose = min if result["metric"]["better"] == "lower" else max
    for row, label in rows.items():
        cells = [places.get((row, column)) for column in columns]
        means = [cell["mean"] for cell in cells if cell and cell["mean"] is not None]
        best = choose(means) if len(means) > 1 else None
        lines.append([label, *(_place(result, cell, best) for cell in cells)])
    return markdown_table(lines)


def _place(result: Result, cell: Mapping[str, Any] | None, best: float | None) -> str:
    if cell is None:
        return "-"
    parts = []
    if cell["mean"] is not None:
        text = spread(result, cell["mean"], cell["sd"])
        parts.append(f"**{text}**" if cell["mean"] == best else text)
    if cell.get("failed"):
        parts.append(f"failed: {', '.join(cell['failed'])}")
    if cell["paper"] is not None:
        parts.append(f"paper {number(result, cell['paper'])}")
    return "<br>".join(parts)


def _controls(result: Result) -> str:
    columns = labels(result, "columns")
    texts = [
        f"{columns[cell['column']]}: {_place(result, cell, None)}"
        for cell in result["cells"]
        if cell["row"] == CONTROL
    ]
    return f"Control, {'; '.join(texts)}." if texts else ""


def _claims(result: Result) -> str:
    claims = result["claims"]
    if not claims:
        return "None can be judged with the structures that were run."
    rows, columns = labels(result, "rows"), labels(result, "columns")
    verdicts = [claim["verdict"] for claim in claims]
    totals = ", ".join(
        f"{verdict} {verdicts.count(verdict)}" for verdict in dict.fromkeys(sorted(verdicts))
    )
    text = (
        f"Of {_count(len(claims), 'line')}: {totals}. A claim holds only if every comparison that "
        f"it is made of does at {100 * result['confidence']:g}% confidence, and does not hold if "
        "one of them is the other way; otherwise it is undecided at this number of seeds. The last "
        "column is what the paper's own figures say."
    )
    if any(line["margin"] is not None for line in result["differences"]):
        text += (
            " Structures are about equal where the interval lies within the margin below, and "
            "different where it lies outside."
        )
    lines = [["", "claim", "row", "here", "because", "paper"]]
    lines += [
        [f"({c['claim']})", c["text"], rows[c["row"]], f"**{c['verdict']}**", _because(c, columns),
         c["paper"] or "-"]
        for c in claims
    ]  # fmt: skip
    return f"{text}\n\n{markdown_table(lines)}"


def _because(claim: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    names: dict[str, list[str]] = {}
    for line in claim["exceptions"]:
        pair = f"{columns[line['first']]} against {columns[line['second']]}"
        names.setdefault(line["outcome"], []).append(pair)
    return "; ".join(
        [claim["because"], *(f"{outcome}: {', '.join(found)}" for outcome, found in names.items())]
    )


def _differences(result: Result) -> str:
    if not result["differences"]:
        return "None."
    rows, columns = labels(result, "rows"), labels(result, "columns")
    points = " in points" if result["metric"]["unit"] == "%" else ""
    text = (
        f"The advantage of the first over the second{points}, positive where the first is better: "
        f"mean over the seeds that both have, paired by seed, with its "
        f"{100 * result['confidence']:g}% t interval (not corrected for the number of comparisons)."
    )
    lines = [["claim", "row", "first", "second", "advantage", "interval", "seeds", "outcome"]]
    for line in result["differences"]:
        second = columns[line["second"]]
        if line["second_row"] not in (line["row"], CONTROL):
            second += f" ({rows[line['second_row']]})"
        low, high = (number(result, line[end], 1, sign=True) for end in ("low", "high"))
        outcome = line["outcome"]
        if line["margin"] is not None:
            outcome += f" (margin ±{number(result, line['margin'], 1)})"
        lines.append(
            [
                line["claim"], rows[line["row"]], columns[line["first"]], second,
                number(result, line["mean"], 1, sign=True),
                "-" if line["low"] is None else f"{low} to {high}",
                str(len(line["values"])), outcome,
            ]
        )  # fmt: skip
    return f"{text}\n\n{markdown_table(lines)}"
