"""From a sequence model to compiled steps and the state that they start from."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prernn_jax.backbones.remat import Remat
from prernn_jax.cpu.xla import jit
from prernn_jax.errors import InputError
from prernn_jax.sequence import SequenceModel

from . import processes
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

Parallel = Literal["shard_map", "pmap"]
_WHOLE, _SPLIT = PartitionSpec(), PartitionSpec(AXIS)


def make_mesh(
    devices: int, batch_size: int, flag: str = "--batch_size", accumulate: int = 1
) -> Mesh:
    """A line of devices over which batches of that size are split.

    Each process gives as many devices as any other, and has its own beside each other in the line.

    Args:
        devices: How many, of all processes together.
        batch_size: Rows of a batch.
        flag: What the batch size is called on the command line.
        accumulate: Parts in which a device's rows go through the network.

    Raises:
        InputError: There are fewer devices, or they or the parts do not divide the batch.
    """
    hosts = processes.count()
    if devices < 1 or devices % hosts:
        raise InputError(
            f"--devices={devices}: expected the number of devices of all {hosts} processes "
            f"together, a multiple of {hosts}"
            if hosts > 1
            else f"--devices={devices}: expected 1 device or more"
        )
    found: list[Any] = []
    for number in range(hosts):
        own = [device for device in jax.devices() if device.process_index == number]
        if len(own) < devices // hosts:
            whose = f"process {number}" if hosts > 1 else "this machine"
            raise InputError(
                f"--devices={devices}: {whose} has {len(own)} {own[0].platform.upper()} device(s)"
            )
        found += own[: devices // hosts]
    if batch_size < 1 or batch_size % devices:
        raise InputError(
            f"{flag}={batch_size} cannot be split over {devices} device(s); "
            f"use a multiple of {devices}"
        )
    if accumulate < 1 or batch_size // devices % accumulate:
        raise InputError(
            f"--accumulate={accumulate}: expected a divisor of a device's {batch_size // devices} "
            f"sequences ({flag}={batch_size} over {devices} device(s))"
        )
    return Mesh(np.array(found), (AXIS,))


def parallel_train_step(
    step: Callable[..., Any], mesh: Mesh, parallel: Parallel = "shard_map"
) -> Callable[..., Any]:
    """Compiles a per-device training step for a mesh; the state is donated."""
    if parallel == "pmap":
        return jit(_by_pmap(step, mesh, None), donate_argnums=0)
    # The step averages over the axis itself; check_vma would insert its own sums into the
    # transposed products and so change what `pmean` sees under jax.pmap.
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(_WHOLE, _SPLIT), out_specs=(_WHOLE, _WHOLE), check_vma=False
    )
    return jit(mapped, donate_argnums=0)


def parallel_eval_step(
    step: Callable[..., Any], mesh: Mesh, parallel: Parallel = "shard_map"
) -> Callable[..., Any]:
    """Compiles a per-device evaluation step for a mesh."""
    if parallel == "pmap":
        mapped = _by_pmap(step, mesh, 0)

        def whole(state: TrainState, batch: Batch) -> Any:
            found = mapped(state, batch)  # (devices, B / devices, ...)
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)  # (B, ...)

        return jit(whole)
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(_WHOLE, _SPLIT), out_specs=_SPLIT, check_vma=False
    )
    return jit(mapped)


def _by_pmap(step: Callable[..., Any], mesh: Mesh, out_axis: int | None) -> Callable[..., Any]:
    # Under `jit`, so that it is compiled with the same options as by shard_map. The state has no
    # axis of devices: it goes in and comes out whole.
    mapped = jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=out_axis,
        devices=list(mesh.devices.flat),
    )

    def of_batch(state: TrainState, batch: Batch) -> Any:
        shares = jax.tree.map(lambda x: x.reshape(mesh.size, -1, *x.shape[1:]), batch)
        return mapped(state, shares)

    return of_batch


def replicate(state: TrainState, mesh: Mesh) -> TrainState:
    """Puts the whole state on every device; that of process 0, where there are several."""
    whole = NamedSharding(mesh, _WHOLE)
    if processes.count() == 1:
        return jax.device_put(state, whole)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(whole, x, x.shape), processes.share(state)
    )


def split(batch: Batch, mesh: Mesh) -> Batch:
    """Puts a device's share of a batch of host arrays on each device.

    Args:
        batch: Arrays (B, ...), or trees of them; where there are several processes the rows of
            this one.
        mesh: The devices of all processes.
    """
    rows = NamedSharding(mesh, _SPLIT)
    if processes.count() == 1:
        return jax.device_put(dict(batch), rows)
    # The features of a ResNet's trunk are a pair of arrays.
    return jax.tree.map(
        lambda value: jax.make_array_from_process_local_data(rows, np.asarray(value)), dict(batch)
    )


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
        state = processes.local(state)
        arrays = {**state.params, **state.frozen}
        model: SequenceModel = self.network.model(arrays, state.batch_stats, train=False)
        return model


def begin(
    model: SequenceModel,
    optimizer: optax.GradientTransformation,
    *,
    batch_norm: Literal["train", "frozen"],
    remat: Remat,
    freeze: Sequence[str],
    seed: int,
) -> tuple[Network, TrainState]:
    """A model's structure, and its state before the first step; arguments as for `set_up`."""
    network, everything, stats = take_apart(model, batch_norm=batch_norm, remat=remat)
    params, frozen = split_frozen(everything, freeze)
    return network, create_state(params, frozen, stats, optimizer, seed)


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
    remat: Remat = "none",
    accumulate: int = 1,
    seed: int,
    parallel: Parallel = "shard_map",
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
        remat: See `train.engine.step.take_apart`.
        accumulate: See `train.engine.step.make_train_step`.
        seed: The seed of dropout's keys.
        parallel: By which of JAX's ways a step runs on all devices; the results are the same.
            `pmap` is for one process only.
    """
    network, state = begin(
        model, optimizer, batch_norm=batch_norm, remat=remat, freeze=freeze, seed=seed
    )
    return Training(
        network,
        replicate(state, mesh),
        parallel_train_step(
            make_train_step(
                network, task, optimizer, precision, features=features, accumulate=accumulate
            ),
            mesh,
            parallel,
        ),
        parallel_eval_step(
            make_eval_step(network, task, precision, features=features), mesh, parallel
        ),
    )
