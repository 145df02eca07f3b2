"""From a sequence model to compiled steps and the state that they start from."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prernn_jax.cpu.xla import jit
from prernn_jax.errors import InputError
from prernn_jax.sequence import SequenceModel

from .optim import split_frozen
from .step import (
    AXIS,
    Batch,
    Network,
    Precision,
    Task,
    TrainState,
    create_state,
    make_eval_step,
    make_train_step,
    take_apart,
)

_WHOLE, _SPLIT = PartitionSpec(), PartitionSpec(AXIS)


def make_mesh(devices: int, batch_size: int, flag: str = "--batch_size") -> Mesh:
    """A line of devices over which batches of that size are split.

    Raises:
        InputError: There are fewer devices, or they do not divide the batch.
    """
    found = jax.devices()
    if devices < 1 or devices > len(found):
        kind = found[0].platform.upper()
        raise InputError(f"--devices={devices}: this machine has {len(found)} {kind} device(s)")
    if batch_size < 1 or batch_size % devices:
        raise InputError(
            f"{flag}={batch_size} cannot be split over {devices} device(s); "
            f"use a multiple of {devices}"
        )
    return Mesh(np.array(found[:devices]), (AXIS,))


def parallel_train_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Compiles a per-device training step for a mesh; the state is donated."""
    # The step averages over the axis itself; check_vma would insert its own sums into the
    # transposed products and so change what `pmean` sees under jax.pmap.
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(_WHOLE, _SPLIT), out_specs=(_WHOLE, _WHOLE), check_vma=False
    )
    return jit(mapped, donate_argnums=0)


def parallel_eval_step(step: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Compiles a per-device evaluation step for a mesh."""
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(_WHOLE, _SPLIT), out_specs=_SPLIT, check_vma=False
    )
    return jit(mapped)


def replicate(state: TrainState, mesh: Mesh) -> TrainState:
    """Puts the whole state on every device."""
    return jax.device_put(state, NamedSharding(mesh, _WHOLE))


def split(batch: Batch, mesh: Mesh) -> Batch:
    """Puts a device's share of a batch of host arrays on each device."""
    return jax.device_put(dict(batch), NamedSharding(mesh, _SPLIT))


class Training(NamedTuple):
    """What the loop needs.

    Attributes:
        network: The model's structure.
        state: On all devices, before the first step.
        train_step: Compiled `(state, batch) -> (state, metrics)`; donates the state.
        eval_step: Compiled `(state, batch) -> predictions`.
    """

    network: Network
    state: TrainState
    train_step: Callable[..., Any]
    eval_step: Callable[..., Any]

    def model(self, state: TrainState) -> SequenceModel:
        """The model with a state's arrays, for evaluation."""
        arrays = {**state.params, **state.frozen}
        model: SequenceModel = self.network.model(arrays, state.batch_stats, train=False)
        return model


def set_up(
    model: SequenceModel,
    task: Task,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    batch_norm: Literal["train", "frozen"] = "train",
    precision: Precision = "float32",
    freeze: Sequence[str] = (),
    features: bool = False,
    seed: int,
) -> Training:
    """Takes a model apart and compiles its steps for the devices of a mesh.

    Args:
        model: Left as it was.
        task: Input, loss and predictions.
        optimizer: See `train.engine.optim`.
        mesh: See `train.engine.devices`.
        batch_norm: See `train.engine.step.take_apart`.
        precision: See `train.engine.step.make_train_step`.
        freeze: See `train.engine.optim.split_frozen`.
        features: See `train.engine.step.make_train_step`.
        seed: Of the keys of dropout.
    """
    network, everything, stats = take_apart(model, batch_norm=batch_norm)
    params, frozen = split_frozen(everything, freeze)
    return Training(
        network,
        replicate(create_state(params, frozen, stats, optimizer, seed), mesh),
        parallel_train_step(
            make_train_step(network, task, optimizer, precision, features=features), mesh
        ),
        parallel_eval_step(make_eval_step(network, task, precision, features=features), mesh),
    )
