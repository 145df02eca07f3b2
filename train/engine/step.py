"""One step of training and one of evaluation, as pure functions of one device's share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from prernn_jax.backbones.remat import Remat, set_remat
from prernn_jax.layers.batch_norm import BatchNorm
from prernn_jax.precision import Precision, cast, products_in

Arrays = dict[str, Array]
AXIS = "data"  # the axis of devices over which a batch is split


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
        params: Trained parameters by dotted name.
        frozen: Parameters that stay as they are, by dotted name.
        batch_stats: Running statistics by dotted name.
        opt_state: The state of the optimiser.
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


def take_apart(
    model: nnx.Module, *, batch_norm: str = "train", remat: Remat = "none"
) -> tuple[Network, Arrays, Arrays]:
    """Splits a model into its structure, its parameters and its batch statistics.

    Args:
        model: A sequence model; left as it was.
        batch_norm: `train`: training normalises with the batch's statistics, averaged over the
            devices; `frozen`: with the stored ones, which stay as they are.
        remat: What training keeps of the forward pass, see `prernn_jax.backbones.remat`.

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
        set_remat(model, remat if training else "none")
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


Batch = Mapping[str, Any]  # arrays (B, ...)
Metrics = dict[str, Array]


@dataclass(frozen=True)
class Task:
    """What a network learns, as three pure functions.

    Attributes:
        prepare: Batch -> the model's input (B, T, ...), float32.
        loss: Outputs (B, T, K) and batch -> the mean loss, and further means to report.
        predict: Outputs and batch -> what evaluation keeps, each array (B, ...).
    """

    prepare: Callable[[Batch], Array]
    loss: Callable[[Array, Batch], tuple[Array, Metrics]]
    predict: Callable[[Array, Batch], Metrics]


def _mean(tree: Any) -> Any:
    """Averages over the devices; XLA would copy every array where there is one only."""
    return tree if jax.lax.axis_size(AXIS) == 1 else jax.lax.pmean(tree, AXIS)


class Found(NamedTuple):
    """What some rows say: their gradients, their metrics, the statistics behind them."""

    grads: Arrays
    metrics: Metrics
    stats: Arrays


def mean_of_parts(
    gradients: Callable[[TrainState, Batch, Array], Found],
    parts: int,
    state: TrainState,
    batch: Batch,
    key: Array,
) -> Found:
    """The mean over consecutive parts of the rows, of which one at a time is in memory."""
    rows = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), dict(batch))

    def of_part(part: Batch, number: Array) -> Found:
        found = gradients(state, part, jax.random.fold_in(key, number))
        # Moves, since the mean of equal statistics might differ from them in its last bit.
        moves = jax.tree.map(jnp.subtract, found.stats, state.batch_stats)
        return found._replace(stats=moves)

    def body(mean: Found, given: tuple[Batch, Array]) -> tuple[Found, None]:
        return jax.tree.map(lambda old, new: old + new / parts, mean, of_part(*given)), None

    numbers = jnp.arange(parts, dtype=jnp.int32)
    shapes = jax.eval_shape(of_part, *jax.tree.map(lambda x: x[0], (rows, numbers)))
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    mean, _ = jax.lax.scan(body, none, (rows, numbers))
    return mean._replace(stats=jax.tree.map(jnp.add, state.batch_stats, mean.stats))


def make_loss(
    network: Network, task: Task, precision: Precision, *, features: bool = False
) -> Callable[[Arrays, TrainState, Batch, Array], tuple[Array, tuple[Metrics, Arrays]]]:
    """The function `(params, state, batch, key) -> (loss, (metrics, statistics))` of some rows.

    Of the state it takes the frozen parameters and the statistics. `key` is that of dropout; for
    `features` see `make_train_step`.
    """

    @products_in(precision)
    def loss_of(
        params: Arrays, state: TrainState, batch: Batch, key: Array
    ) -> tuple[Array, tuple[Metrics, Arrays]]:
        everything = cast({**params, **state.frozen}, precision)
        model = network.model(everything, state.batch_stats, train=True)
        lengths = batch["lengths"]
        if features:
            given = cast(batch["features"], precision)
            outputs = model.over_time(given, lengths, dropout_key=key)
        else:
            clips = cast(task.prepare(batch), precision)
            outputs, _ = model(clips, lengths=lengths, dropout_key=key)
        loss, metrics = task.loss(outputs.astype(jnp.float32), batch)
        return loss, (metrics, named_arrays(model, nnx.BatchStat)[0])

    return loss_of


def make_train_step(
    network: Network,
    task: Task,
    optimizer: optax.GradientTransformation,
    precision: Precision = "float32",
    *,
    features: bool = False,
    accumulate: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The step `(state, batch) -> (state, metrics)` of one device on the axis AXIS.

    Gradients, metrics and batch statistics are averaged over the axis, so every device ends
    with the same state. Parameters, their gradients and the loss are float32; `precision` is
    that of the activations and products between. With `features`, the batch holds in place of the
    clips what the network's frozen trunk has made of them (see `train.run.feature_batches`).

    With `accumulate`, the device's rows go through the network in so many parts, one after the
    other, and the gradients, metrics and moves of the statistics are the means over the parts. As
    every loss is a mean over sequences, that is the step of the whole, but for two things: dropout
    draws anew for each part, and batch statistics are those of a part.
    """
    loss_of = make_loss(network, task, precision, features=features)

    def gradients(state: TrainState, batch: Batch, key: Array) -> Found:
        both = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (metrics, stats)), grads = both(state.params, state, batch, key)
        return Found(grads, {"loss": loss, **metrics}, stats)

    @products_in(precision)
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.rng, state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
        if accumulate == 1:
            found = gradients(state, batch, key)
        else:
            found = mean_of_parts(gradients, accumulate, state, batch, key)
        grads, metrics = _mean(found.grads), _mean(found.metrics)
        updates, opt_state = optax.with_extra_args_support(optimizer).update(
            grads, state.opt_state, state.params, value=metrics["loss"]
        )
        metrics["grad_norm"] = optax.tree.norm(grads)
        after = state._replace(
            params=optax.apply_updates(state.params, updates),
            batch_stats=found.stats,
            opt_state=opt_state,
            step=state.step + 1,
        )
        return after, metrics

    return train_step


def make_eval_step(
    network: Network, task: Task, precision: Precision = "float32", *, features: bool = False
) -> Callable[[TrainState, Batch], Metrics]:
    """The step `(state, batch) -> predictions` of one device; predictions are (B, ...).

    For `features` see `make_train_step`.
    """

    @products_in(precision)
    def eval_step(state: TrainState, batch: Batch) -> Metrics:
        everything = cast({**state.params, **state.frozen}, precision)
        model = network.model(everything, state.batch_stats, train=False)
        if features:
            outputs = model.over_time(cast(batch["features"], precision), batch["lengths"])
        else:
            clips = cast(task.prepare(batch), precision)
            outputs, _ = model(clips, lengths=batch["lengths"])
        return task.predict(outputs.astype(jnp.float32), batch)

    return eval_step
