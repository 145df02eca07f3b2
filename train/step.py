"""One step of training and one of evaluation, as pure functions of one device's share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from train.state import AXIS, Arrays, Network, TrainState, named_arrays

Batch = Mapping[str, Any]  # arrays (B, ...)
Metrics = dict[str, Array]
Precision = Literal["float32", "bfloat16"]


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


def cast(tree: Any, precision: Precision) -> Any:
    """Float32 arrays to the type in which products are computed."""
    if precision == "float32":
        return tree
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, tree)


def _mean(tree: Any) -> Any:
    """Averages over the devices; XLA would copy every array where there is one only."""
    return tree if jax.lax.axis_size(AXIS) == 1 else jax.lax.pmean(tree, AXIS)


def make_train_step(
    network: Network,
    task: Task,
    optimizer: optax.GradientTransformation,
    precision: Precision = "float32",
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The step `(state, batch) -> (state, metrics)` of one device on the axis AXIS.

    Gradients, metrics and batch statistics are averaged over the axis, so every device ends
    with the same state. Parameters, their gradients and the loss are float32; `precision` is
    that of the activations and products between.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(state.rng, state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))

        def loss_of(params: Arrays) -> tuple[Array, tuple[Metrics, Arrays]]:
            everything = cast({**params, **state.frozen}, precision)
            model = network.model(everything, state.batch_stats, train=True)
            clips = cast(task.prepare(batch), precision)
            outputs, _ = model(clips, lengths=batch["lengths"], dropout_key=key)
            loss, metrics = task.loss(outputs.astype(jnp.float32), batch)
            return loss, (metrics, named_arrays(model, nnx.BatchStat)[0])

        (loss, (metrics, stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        grads = _mean(grads)
        metrics = _mean({"loss": loss, **metrics})
        updates, opt_state = optax.with_extra_args_support(optimizer).update(
            grads, state.opt_state, state.params, value=metrics["loss"]
        )
        metrics["grad_norm"] = optax.tree.norm(grads)
        after = state._replace(
            params=optax.apply_updates(state.params, updates),
            batch_stats=stats,
            opt_state=opt_state,
            step=state.step + 1,
        )
        return after, metrics

    return train_step


def make_eval_step(
    network: Network, task: Task, precision: Precision = "float32"
) -> Callable[[TrainState, Batch], Metrics]:
    """The step `(state, batch) -> predictions` of one device; predictions are (B, ...)."""

    def eval_step(state: TrainState, batch: Batch) -> Metrics:
        everything = cast({**state.params, **state.frozen}, precision)
        model = network.model(everything, state.batch_stats, train=False)
        clips = cast(task.prepare(batch), precision)
        outputs, _ = model(clips, lengths=batch["lengths"])
        return task.predict(outputs.astype(jnp.float32), batch)

    return eval_step
