"""Counts how often the gates of a finished run are saturated: `prernn gates runs/face/NAME`.

A gate below 0.1 is left-saturated, one above 0.9 right-saturated (Karpathy et al. 2015). Counted
over all steps of the test set; writes gates.json and gates.png into the run's folder.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx
from jax import Array
from numpy.typing import NDArray
from rich.table import Table

from prernn_jax.command import parse, run_command
from prernn_jax.cpu.xla import jit
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.gates import layer_paths, model_gates
from prernn_jax.layers.cells import get_cell
from prernn_jax.module_path import get_layer
from prernn_jax.precision import Precision, cast, products_in
from prernn_jax.sequence import SequenceModel

from .engine.log import console, say
from .engine.step import Batch
from .finished import FinishedRun, held_out_batches, open_run
from .run.config import RENAMED
from .run.figures import gate_saturation

BELOW, ABOVE = 0.1, 0.9
Tally = dict[str, dict[str, NDArray[np.float64]]]
"""Layer -> gate -> (3, F): how often a unit was below, how often above, and the sum of it."""


@dataclass(frozen=True)
class GatesCommand:
    """What to look at.

    Attributes:
        run: Folder of a finished run of train.face, train.action or train.gesture.
        set: Its test set, or its validation set.
        batch_size: Sequences at a time; by default that of the run.
        source: Where the official files lie now; as in the run when not given.
        cache_dir: Where prepared data are kept; as in the run when not given.
    """

    run: tyro.conf.Positional[Path]
    set: Literal["test", "validation"] = "test"
    batch_size: int | None = None
    source: Path | None = None
    cache_dir: Path | None = None


def make_counter(model: SequenceModel, precision: Precision) -> Callable[[Batch], Any]:
    """Compiles `batch -> Tally` for batches with `clips`, `lengths` and `mask`.

    Args:
        model: Left as it was.
        precision: Precision of activations and products, as in the run's own evaluation.
    """
    graphdef, *states = nnx.split(model, nnx.Param, ...)

    @jit
    @products_in(precision)
    def count(params: Any, others: Any, clips: Array, lengths: Array, mask: Array) -> Any:
        here = nnx.merge(graphdef, cast(params, precision), others)
        clips = cast(here.backbone.preprocess.normalise(clips), precision)
        steps = jnp.arange(clips.shape[1], dtype=lengths.dtype)[None, :]  # (1, T)
        there = ((steps < lengths[:, None]) & mask[:, None])[:, :, None]  # (B, T, 1)

        def tally(gate: Array) -> Array:
            kinds = jnp.stack([gate < BELOW, gate > ABOVE, gate], dtype=gate.dtype)
            return jnp.sum(jnp.where(there[None], kinds, 0), axis=(1, 2))  # (3, F)

        return jax.tree.map(tally, model_gates(here, clips, lengths=lengths))

    return lambda batch: count(*states, batch["clips"], batch["lengths"], batch["mask"])


def count_all(
    model: SequenceModel, precision: Precision, batches: Iterable[Batch]
) -> tuple[Tally, int]:
    """Adds up a whole set.

    Returns:
        The tally, and the number of steps: those of all sequences without what pads them.
    """
    count = make_counter(model, precision)
    total: Any = None
    steps = 0
    for batch in batches:
        found = jax.tree.map(lambda x: np.asarray(x, np.float64), count(batch))
        total = found if total is None else jax.tree.map(np.add, total, found)
        steps += int(batch["lengths"][batch["mask"]].sum())
    return total, steps


def shares(model: SequenceModel, tally: Tally, steps: int) -> dict[str, dict[str, Any]]:
    """Layer -> gate -> shares and mean of all values, and the two shares of each unit."""
    found: dict[str, dict[str, Any]] = {}
    for layer, path in layer_paths(model).items():
        found[layer] = {}
        # A dict that went through jit is sorted by name.
        for gate, _ in get_cell(get_layer(model, path).cell).gate_names:
            counts = tally[layer][gate]
            below, above, mean = (float(total) / steps for total in counts.mean(axis=1))
            found[layer][gate] = {
                "below": below,
                "above": above,
                "mean": mean,
                "values": steps * counts.shape[1],
                "units": (counts[:2] / steps).round(4).T.tolist(),  # (F, 2)
            }
    return found


def check(run: FinishedRun) -> None:
    """Raises an InputError where the run's model has no gates."""
    layers = run.model.recurrent_layers
    if not layers:
        raise InputError(f"the model of {run.path} is feed-forward and has no gates")
    for layer in layers:
        if not get_cell(layer.cell).gate_names:
            raise InputError(
                f"the model of {run.path} has {layer.cell} layers, which have no gates; give a run "
                "with --cell=lstm or --cell=gru"
            )


def report(layers: dict[str, dict[str, Any]], title: str) -> Table:
    """The shares in percent, a line a gate."""
    table = Table(title=title, title_justify="left", box=None)
    for column in ("layer", "gate", f"below {BELOW}", f"above {ABOVE}", "mean", "units"):
        left = column in ("layer", "gate")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for layer, gates in layers.items():
        for name, found in gates.items():
            below, above = (f"{100 * found[side]:.1f}%" for side in ("below", "above"))
            units = str(len(found["units"]))
            table.add_row(layer, name, below, above, f"{found['mean']:.3f}", units)
    return table


def look(command: GatesCommand) -> dict[str, Any]:
    """Counts, writes the two files and prints the table; returns what is in `gates.json`."""
    run = open_run(command.run)
    check(run)
    config = replace(
        run.config,
        source=command.source or run.config.source,
        cache_dir=command.cache_dir or run.config.cache_dir,
    )
    batch_size = config.batch_size if command.batch_size is None else command.batch_size
    if batch_size < 1:
        raise InputError(f"--batch_size={batch_size}: expected 1 or more")
    batches = held_out_batches(run._replace(config=config), command.set, batch_size)
    layers = shares(run.model, *count_all(run.model, config.precision, batches))
    found = {
        "model": config.model,
        "cell": config.cell,
        "set": command.set,
        "thresholds": {"below": BELOW, "above": ABOVE},
        "layers": layers,
    }
    write_text(run.path / "gates.json", json.dumps(found) + "\n")
    title = f"{run.path.resolve().name}, {command.set} set"
    gate_saturation(run.path / "gates.png", layers, title)
    console.print(report(layers, title))
    say(f"{run.path / 'gates.json'}, {run.path / 'gates.png'}")
    return found


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    description = (
        "Counts how often the gates of a finished run are saturated, over all steps of a set: a "
        "gate below 0.1 is left-saturated, one above 0.9 right-saturated (Karpathy et al. 2015). "
        "Writes gates.json and gates.png into the run's folder."
    )
    example = "prernn gates runs/face/NAME"
    look(
        parse(
            GatesCommand,
            argv,
            program="prernn gates",
            description=description,
            examples=(example,),
            renamed=RENAMED,
        )
    )


if __name__ == "__main__":
    run_command(main)
