"""The state of a training run as one pytree, and the model taken apart for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from prernn_jax.batch_norm import BatchNorm

Arrays = dict[str, Array]
AXIS = "data"  # the axis of devices over which a batch is split


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      params: Trained parameters by dotted name.
      frozen: Parameters that stay as they are, by dotted name.
      batch_stats: Running statistics by dotted name.
      opt_state: Of the optimiser.
      step: Steps done, int32 scalar.
      rng: Key (2,) uint32 from which each step derives its own.
    """

    params: Arrays
    frozen: Arrays
    batch_stats: Arrays
    opt_state: Any
    step: Array
    rng: Array


@dataclass(frozen=True)
class Network:
    """The structure of a model without its arrays, for training and for evaluation."""

    train_graph: Any
    eval_graph: Any
    paths: Mapping[str, tuple[Any, ...]]

    def model(
        self, params: Mapping[str, Array], batch_stats: Mapping[str, Array], *, train: bool
    ) -> Any:
        """Puts structure and arrays together."""
        variables = [(self.paths[name], nnx.Param(value)) for name, value in params.items()]
        stats = [(self.paths[name], nnx.BatchStat(value)) for name, value in batch_stats.items()]
        graph = self.train_graph if train else self.eval_graph
        return nnx.merge(graph, nnx.from_flat_state(variables), nnx.from_flat_state(stats))


def named_arrays(model: nnx.Module, kind: type[nnx.Variable]) -> tuple[Arrays, dict[str, Any]]:
    """A model's arrays of one kind by dotted name, and the path behind each name."""
    flat = list(nnx.to_flat_state(nnx.state(model, kind)))
    names = [".".join(map(str, path)) for path, _ in flat]
    arrays = {name: leaf[...] for name, (_, leaf) in zip(names, flat, strict=True)}
    return arrays, {name: path for name, (path, _) in zip(names, flat, strict=True)}


def take_apart(model: nnx.Module, *, batch_norm: str = "train") -> tuple[Network, Arrays, Arrays]:
    """Splits a model into its structure, its parameters and its batch statistics.

    Args:
      model: A sequence model; left as it was.
      batch_norm: `train`: training normalises with the batch's statistics, averaged over the
        devices; `frozen`: with the stored ones, which stay as they are.

    Returns:
      The structure; copies of the parameters; copies of the statistics.
    """
    model = nnx.clone(model)
    params, paths = named_arrays(model, nnx.Param)
    stats, stat_paths = named_arrays(model, nnx.BatchStat)
    # A clone shares its arrays, and a step that donates its state would take them away.
    params, stats = jax.tree.map(jnp.copy, (params, stats))
    graphs = []
    for training in (True, False):
        for _, module in nnx.iter_graph(model):
            if isinstance(module, BatchNorm):
                module.use_running_average = not training or batch_norm == "frozen"
                module.axis_name = AXIS if training else None
        graphs.append(nnx.split(model, nnx.Param, nnx.BatchStat)[0])
    return Network(graphs[0], graphs[1], {**paths, **stat_paths}), params, stats


def create_state(
    params: Arrays,
    frozen: Arrays,
    batch_stats: Arrays,
    optimizer: optax.GradientTransformation,
    seed: int,
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        params=params,
        frozen=frozen,
        batch_stats=batch_stats,
        opt_state=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        rng=jax.random.PRNGKey(seed),
    )
