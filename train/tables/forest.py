"""The claims of all tables as one forest plot: each comparison's advantage with its interval."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..run.figures import save_figure

_KINDS = {
    "better": ("the first is better, also after Holm's correction", "tab:blue"),
    "worse": ("the second is better, also after Holm's correction", "tab:orange"),
    "undecided": ("undecided after the correction", "0.6"),
    "equality": ("claimed to be about equal", "tab:green"),
}


def advantages(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparisons of a table's claims in percent.

    Args:
        result: What is in the JSON.

    Returns:
        `label`, `mean`, `low` and `high` (of a loss: as a share of the second's mean), and
        `kind`: one of `better`, `worse`, `undecided` and `equality`.
    """
    rows, columns = ({e["key"]: e["label"] for e in result[w]} for w in ("rows", "columns"))
    means = {(cell["row"], cell["column"]): cell["mean"] for cell in result["cells"]}
    lines = []
    for line in result["differences"]:
        if line["claim"] == "control" or line["low"] is None:
            continue
        if result["metric"]["better"] == "lower":
            scale = 100 / means[line["second_row"], line["second"]]
        else:
            scale = 100.0
        p = line["corrected"]
        if p is None:
            kind = "equality"
        elif p >= 1 - result["confidence"]:
            kind = "undecided"
        else:
            kind = "better" if line["mean"] > 0 else "worse"
        lines.append(
            {
                "label": f"{rows[line['row']]}: {columns[line['first']]} over "
                f"{columns[line['second']]}",
                **{name: scale * line[name] for name in ("mean", "low", "high")},
                "kind": kind,
            }
        )
    return lines


def draw_claims(path: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Draws a panel a table and writes a PNG.

    Args:
        path: The PNG.
        results: The tables' outcomes, as in their JSON.
    """
    found = [(result, advantages(result)) for result in results]
    heights = [max(len(lines), 1) for _, lines in found]
    figure = Figure(
        figsize=(9.0, 0.19 * sum(heights) + 1.0 * len(found) + 0.8), layout="constrained"
    )
    panels = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (result, lines) in zip(panels, found, strict=True):
        for place, line in enumerate(lines):
            colour = _KINDS[line["kind"]][1]
            axes.plot([line["low"], line["high"]], [place, place], color=colour, linewidth=1.5)
            axes.plot(line["mean"], place, "o", markersize=4, color=colour)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(lines)), [line["label"] for line in lines], fontsize=6.5)
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(alpha=0.3, axis="x")
        what = "% less loss" if result["metric"]["better"] == "lower" else "points"
        axes.set_title(f"{result['title']}; advantage of the first, {what}", fontsize=8, loc="left")
    for label, colour in _KINDS.values():
        panels[-1].plot([], [], "o-", color=colour, label=label)
    figure.legend(loc="outside lower center", ncols=1, fontsize=7)
    save_figure(figure, path)
