"""Pictures of a run: learning curves, the confusion matrix, cumulative errors, gates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax import Array
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from prernn_jax.data.face.metrics import THRESHOLD, auc, cumulative_errors, failure_rate
from prernn_jax.files.atomic import replacing


def origin(name: str, value: Array, before: Mapping[str, Array], source: str) -> str:
    """Where a parameter of a sequence model comes from.

    Args:
        name: Its dotted name.
        value: Its value before training.
        before: The pre-trained network's parameters by dotted name.
        source: What to call that network.
    """
    array = np.asarray(value)
    old_name = name.removeprefix("backbone.")
    # A converted convolution took its batch-norm in: layer3.0.conv3.norm was layer3.0.bn3.
    for candidate in (old_name, old_name.replace(".conv3.norm.", ".bn3.")):
        if candidate in before:
            old = np.asarray(before[candidate]).reshape(-1)
            if array.size == old.size and np.array_equal(array.reshape(-1), old):
                return source
            width = before[candidate].shape[-1]
            blocks = array.reshape(-1, array.shape[-1])
            copies = array.shape[-1] // width
            same = [
                np.array_equal(blocks[:, i * width : (i + 1) * width].reshape(-1), old)
                for i in range(copies)
            ]
            if copies > 1 and all(same):
                return f"{source}, copied into {copies} gates"
    return "new, zero" if not array.any() else "new, random"


def parameter_table(
    params: Mapping[str, Array],
    frozen: Mapping[str, Array],
    before: Mapping[str, Array],
    source: str,
    *,
    verbose: bool = False,
) -> Table:
    """What is trained and where it comes from.

    Args:
        params: The trained parameters by dotted name.
        frozen: The others.
        before: The pre-trained network's parameters by dotted name.
        source: What to call that network.
        verbose: One row for each parameter; otherwise one for each layer or stage of layers.
    """
    everything = {**params, **frozen}
    total = sum(value.size for value in everything.values())
    trained = sum(value.size for value in params.values())
    table = Table(
        title=f"{total:,} parameters, {trained:,} of them trained", title_justify="left", box=None
    )
    for column in ("name", "shape" if verbose else "arrays", "count", "state", "from"):
        justify: Any = "right" if column in ("arrays", "count") else "left"
        table.add_column(column, justify=justify, no_wrap=True)
    groups: dict[str, list[str]] = {}
    for name in sorted(everything):
        group = name if verbose else ".".join(name.split(".")[:2])
        groups.setdefault(group, []).append(name)
    for group, names in groups.items():
        values = [everything[name] for name in names]
        states = {"trained" if name in params else "frozen" for name in names}
        origins = {origin(name, everything[name], before, source): None for name in names}
        shape = " x ".join(map(str, values[0].shape)) if verbose else str(len(names))
        count = f"{sum(value.size for value in values):,}"
        table.add_row(group, shape, count, "some frozen" if len(states) > 1 else states.pop(),
                      "; ".join(origins))  # fmt: skip
    return table


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, under a temporary name first."""
    with replacing(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def learning_curves(
    path: Path,
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> None:
    """Draws metrics over the epochs, one panel each, and writes a PNG.

    Args:
        path: The PNG.
        train: Lines of `metrics.jsonl` with `epoch`, and `names` where known.
        validation: The same, of the validation set.
        names: The metrics.
    """
    figure = Figure(figsize=(4.5 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, lines in (("train", train), ("validation", validation)):
            points = [(line["epoch"], line[name]) for line in lines if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=label)
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    save_figure(figure, path)


def confusion_figure(path: Path, counts: NDArray[Any], classes: Sequence[str], title: str) -> None:
    """Draws a confusion matrix (K, K) of counts, rows the true class, as a PNG."""
    size = max(4.0, 0.28 * len(classes) + 2.5)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    share = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    image = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    if len(classes) <= 40:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if share[row, column] > 0.6 else "black"
                axes.text(
                    column, row, str(int(count)), color=shade, ha="center", va="center", size=6
                )
    if len(classes) <= 60:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
        axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=9)
    figure.colorbar(image, fraction=0.04, label="share of the true class")
    save_figure(figure, path)


def error_curves(path: Path, errors: Mapping[Any, NDArray[Any]], title: str) -> None:
    """Draws cumulative error curves and writes a PNG.

    Args:
        path: The PNG.
        errors: Name of the normaliser -> a frame's normalised error (N,).
        title: Title of the picture.
    """
    figure = Figure(figsize=(5.0, 3.8), layout="constrained")
    axes = figure.subplots()
    # As far as all curves but their last frames reach; the threshold of the AUC is always shown.
    # Frames without a finite error are failures at every place.
    finite = [e[np.isfinite(e)] for e in errors.values()]
    reach = max([2 * THRESHOLD, *(float(np.quantile(e, 0.98)) for e in finite if len(e))])
    places = np.linspace(0.0, reach, 400)
    for name, values in errors.items():
        label = f"{name}: AUC {auc(values):.3f}, failures {100 * failure_rate(values):.1f}%"
        axes.plot(places, cumulative_errors(values, places), label=label)
    axes.axvline(THRESHOLD, color="gray", linewidth=0.8, linestyle="--")
    axes.set_xlim(0, reach)
    axes.set_ylim(0, 1)
    axes.set_xlabel("normalised mean error of a frame")
    axes.set_ylabel("share of frames")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    save_figure(figure, path)


def gate_saturation(path: Path, layers: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Draws how often units' gates are saturated, one panel a layer, and writes a PNG.

    Args:
        path: The PNG.
        layers: Layer -> gate -> `below` and `above`, shares of all values, and `units`, the two
            shares of every unit; see `train.gates`.
        title: Title of the picture.
    """
    units = [found["units"] for gates in layers.values() for found in gates.values()]
    reach = min(1.0, max(0.1, 1.1 * float(np.max(np.concatenate(units)))))  # one for all panels
    figure = Figure(figsize=(4.2 * len(layers), 4.4), layout="constrained")
    for axes, (layer, gates) in zip(
        figure.subplots(1, len(layers), squeeze=False)[0], layers.items(), strict=True
    ):
        axes.plot([0, 1], [1, 0], color="gray", linewidth=0.8, linestyle="--")  # always saturated
        for name, found in gates.items():
            below, above = np.array(found["units"]).T
            label = f"{name}: {100 * found['below']:.1f}% left, {100 * found['above']:.1f}% right"
            axes.scatter(above, below, s=12, alpha=0.5, linewidths=0, label=label)
        axes.set_xlim(-0.02 * reach, 1.02 * reach)
        axes.set_ylim(-0.02 * reach, 1.02 * reach)
        axes.set_aspect("equal")
        axes.set_xlabel("share of steps above 0.9 (right-saturated)")
        axes.set_ylabel("share of steps below 0.1 (left-saturated)")
        axes.set_title(layer, fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper right")
    figure.suptitle(title, fontsize=9)
    save_figure(figure, path)
