"""The table of parameters at the start of a run."""

from collections.abc import Mapping

import numpy as np
from jax import Array
from rich.table import Table


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
) -> Table:
    """Name, shape, count, trained or frozen, and origin of every parameter."""
    everything = {**params, **frozen}
    total = sum(value.size for value in everything.values())
    trained = sum(value.size for value in params.values())
    table = Table(
        title=f"{total:,} parameters, {trained:,} of them trained", title_justify="left", box=None
    )
    for column in ("name", "shape", "count", "state", "from"):
        table.add_column(column, justify="right" if column == "count" else "left", no_wrap=True)
    for name in sorted(everything):
        value = everything[name]
        state = "trained" if name in params else "frozen"
        shape = " x ".join(map(str, value.shape))
        table.add_row(name, shape, f"{value.size:,}", state, origin(name, value, before, source))
    return table
