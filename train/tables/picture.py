"""A table's outcome as a picture: a panel a row, a place of it for each structure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..run.figures import save_figure
from .grid import CONTROL

_KINDS = {
    "traditional": ("traditional", "tab:gray"),
    "pre": ("PreRNN", "tab:blue"),
    "pre_sih": ("PreRNN-SIH", "tab:green"),
}


def draw_table(path: Path, result: Mapping[str, Any]) -> None:
    """Draws mean, standard deviation and single seeds of each place, and writes a PNG.

    The paper's figures stand as text at the foot of each panel; nets without recurrence are dashed
    lines across it.

    Args:
        path: The PNG.
        result: What is in the JSON.
    """
    cells = result["cells"]
    controls = [cell for cell in cells if cell["row"] == CONTROL and cell["mean"] is not None]
    rows = [row for row in result["rows"] if row["key"] != CONTROL]
    filled = {cell["column"] for cell in cells if cell["row"] != CONTROL}
    columns = [column for column in result["columns"] if column["key"] in filled]
    labels = {column["key"]: column["label"] for column in result["columns"]}
    figure = Figure(
        figsize=(max(6.0, 1.05 * len(columns) + 1.5), 2.1 * len(rows) + 1.6), layout="constrained"
    )
    panels = figure.subplots(len(rows), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, row in zip(panels, rows, strict=True):
        for cell in controls:
            axes.axhline(
                cell["mean"] * result["metric"]["scale"],
                color="tab:red", linestyle="--", linewidth=1, label=labels[cell["column"]],
            )  # fmt: skip
        for place, column in enumerate(columns):
            for cell in cells:
                if (cell["row"], cell["column"]) == (row["key"], column["key"]):
                    _draw_place(axes, place, cell, result["metric"])
        axes.set_title(row["label"], fontsize=10, loc="left")
        axes.grid(alpha=0.3, axis="y")
    panels[0].margins(y=0.12)
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low - 0.22 * (high - low), high)  # room for the paper's figures
    panels[-1].set_xticks(
        range(len(columns)), [column["label"] for column in columns], rotation=25, ha="right"
    )
    panels[-1].set_xlim(-0.6, len(columns) - 0.4)
    known = {
        label: artist
        for axes in panels
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    count = len(result["seeds"]["training"])
    figure.suptitle(
        f"{result['title']}\n({result['data']}; {count} seed{'' if count == 1 else 's'})",
        fontsize=10,
    )
    metric = result["metric"]
    figure.supylabel(
        metric["label"] + (f", {metric['unit']}" if metric["unit"] else ""), fontsize=9
    )
    if known:
        figure.legend(
            known.values(), known.keys(), loc="outside lower center", ncols=len(known), fontsize=8
        )
    save_figure(figure, path)


def _draw_place(axes: Axes, place: int, cell: Mapping[str, Any], metric: Mapping[str, Any]) -> None:
    scale, digits = metric["scale"], metric["digits"]
    label, colour = _KINDS[cell["structure"]["model"]]
    if cell["mean"] is not None:
        values = scale * np.array(list(cell["values"].values()))
        bar = None if cell["sd"] is None else [scale * cell["sd"]]
        axes.errorbar(
            [place], [scale * cell["mean"]], yerr=bar,
            fmt="o", color=colour, capsize=4, markersize=6, label=label,
        )  # fmt: skip
        if len(values) > 1:
            beside = place + np.linspace(0.12, 0.28, len(values))
            axes.plot(beside, values, ".", color=colour, markersize=4, alpha=0.55)
    if cell["paper"] is not None:
        axes.text(
            place, 0.04, f"paper {scale * cell['paper']:.{digits}f}", fontsize=7, color="0.35",
            ha="center", transform=axes.get_xaxis_transform(),
        )  # fmt: skip
