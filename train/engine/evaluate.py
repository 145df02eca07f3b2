"""The evaluation over a data set."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from . import processes
from .feed import Feed
from .step import TrainState

Predictions = dict[str, NDArray[Any]]


def evaluate(
    eval_step: Callable[..., Any],
    state: TrainState,
    batches: Iterable[Mapping[str, NDArray[Any]]],
    mesh: Mesh,
) -> Predictions:
    """Predictions for a whole set, and what its batches say beside the clips.

    The devices work on a batch while the results of the one before are fetched.

    Returns:
        Arrays (N, ...) in the set's order, without the rows that fill up the last batch.
    """
    kept: dict[str, list[NDArray[Any]]] = {}

    def keep(host: Mapping[str, NDArray[Any]], predicted: Mapping[str, jax.Array]) -> None:
        found = _own_rows(predicted)
        found |= {name: host[name] for name in host.keys() - {"clips", "features"}}
        for name, value in found.items():
            kept.setdefault(name, []).append(np.asarray(value))

    before: tuple[Any, Any] | None = None
    with Feed(iter(batches), mesh) as feed:
        for batch in feed:
            running = batch.host, eval_step(state, batch.devices)
            if before is not None:
                keep(*before)
            before = running
    if before is not None:
        keep(*before)
    whole = {name: _in_order(values) for name, values in sorted(kept.items())}
    mask = whole.pop("mask")
    return {name: values[mask] for name, values in whole.items()}


def _own_rows(found: Mapping[str, jax.Array]) -> dict[str, Any]:
    """The rows of predictions that this process's devices hold."""
    if processes.count() == 1:
        host: dict[str, Any] = jax.device_get(found)
        return host
    rows = {}
    for name, value in found.items():
        shards = sorted(value.addressable_shards, key=lambda shard: shard.index[0].start or 0)
        rows[name] = np.concatenate([np.asarray(shard.data) for shard in shards])
    return rows


def _in_order(batches: list[NDArray[Any]]) -> NDArray[Any]:
    """The rows of all processes in the order of the set: of each batch those of process 0 first."""
    if processes.count() == 1:
        return np.concatenate(batches)
    # Sorted names above: every process must gather the same arrays in the same order.
    stacked = processes.gather(np.stack(batches))  # (P, batches, B / P, ...)
    return stacked.swapaxes(0, 1).reshape(-1, *stacked.shape[3:])
