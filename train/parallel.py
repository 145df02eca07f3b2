"""Data parallelism: one batch split over several devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from prernn_jax.compiling import jit
from prernn_jax.errors import InputError
from train.state import AXIS, TrainState
from train.step import Batch

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
