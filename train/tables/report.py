"""A table's outcome as a page: Markdown made from the JSON alone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text

from ..run.folder import make_folder
from .cell_text import Result, labels, markdown_table, number, spread
from .circumstances import settings, sizes, streams
from .claims import EQUAL_POINTS, EQUAL_SHARE, judge
from .forest import draw_claims
from .grid import CONTROL
from .picture import draw_table
from .statistics import POWER

CLAIMS = "claims.png"


def write_table(folder: Path, result: Result, *, claims: bool = True) -> list[Path]:
    """Writes `tableN.json`, from it `tableN.md` and `tableN.png`, and `claims.png` of all tables.

    Args:
        folder: Where; made if it is not there.
        result: The outcome, see `train.tables.outcome.result_of`.
        claims: Draw `claims.png` too.

    Returns:
        The files.

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
    written = [json_file, page, picture]
    if claims:
        draw_claims(folder / CLAIMS, kept_tables(folder))
        written.append(folder / CLAIMS)
    return written


def kept_tables(folder: Path) -> list[Result]:
    """The outcomes that lie in a folder, in the order of their names."""
    files = sorted(folder.glob("table*.json"), key=lambda file: file.stem)  # 3 before 3-joint
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def judged_anew(folder: Path) -> list[Path]:
    """Compares the structures of the tables in a folder anew and writes their files again.

    Nothing is run: the values of the seeds are in `tableN.json`.

    Raises:
        InputError: There is no table, or the folder cannot be written to.
    """
    results = kept_tables(folder)
    if not results:
        raise InputError(f"no tableN.json in {folder}; give the folder of a table with --out")
    judged = [{**r, **judge(r["table"], r["metric"], r["cells"])} for r in results]
    written = [path for result in judged for path in write_table(folder, result, claims=False)]
    draw_claims(folder / CLAIMS, judged)
    return [*written, folder / CLAIMS]


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
    small = f"{EQUAL_POINTS:g} points" if points else f"{100 * EQUAL_SHARE:g}% of the second's mean"
    corrected = [d["corrected"] for d in result["differences"] if d["corrected"] is not None]
    family, kept = len(corrected), sum(p < 1 - result["confidence"] for p in corrected)
    text = (
        f"The advantage of the first over the second{points}, positive where the first is better: "
        f"mean over the seeds that both have, paired by seed, with its "
        f"{100 * result['confidence']:g}% t interval, not corrected for their number. "
        f"p is that of the paired t test, corrected for the {_count(family, 'comparison')} of the "
        f"claims by Holm's method; {_count(kept, 'comparison')} of them stay{'s' * (kept == 1)} "
        f'below {1 - result["confidence"]:.2g}. "Detectable" is the difference that these seeds, '
        f"with the scatter found, show with a probability of {POWER:g} (two-sided t test, not "
        f"corrected). The last column says how many seeds would give an interval of plus or minus "
        f"{small}, the smallest difference that counts."
    )
    lines = [
        ["claim", "row", "first", "second", "advantage", "interval", "p (Holm)", "seeds",
         "outcome", "detectable", "seeds needed"]
    ]  # fmt: skip
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
                "-" if line["corrected"] is None else f"{line['corrected']:.2g}",
                str(len(line["values"])), outcome, number(result, line["detectable"], 1),
                "-" if line["seeds_needed"] is None else str(line["seeds_needed"]),
            ]
        )  # fmt: skip
    return f"{text}\n\n{markdown_table(lines)}"
