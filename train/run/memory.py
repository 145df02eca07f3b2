"""How much memory a training step needs, without allocating any of it.

Shapes alone go through the program: nothing is read, and nothing is trained. What the arrays of the
state need follows from their shapes. What a step needs besides is what XLA's compiler plans for it
(`memory_analysis`).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import optax
from flax import nnx
from jax.extend.core import Literal as Constant

from prernn_jax.errors import InputError
from prernn_jax.files.models import apply_surgery
from prernn_jax.preprocess import Preprocessing

from ..engine.devices import begin, make_mesh, parallel_train_step
from ..engine.step import (
    AXIS,
    Network,
    Task,
    TrainState,
    make_loss,
    make_train_step,
)
from .backbone import Backbone
from .config import RunConfig
from .stage_two import optimizer_of, surgery_call
from .trunk import trunk_parameters

Platform = Literal["cpu", "cuda"]
Shapes = Mapping[str, jax.ShapeDtypeStruct]


class Sizes(NamedTuple):
    """What decides the memory of an application's step.

    Attributes:
        make: Makes the backbone; called with shapes alone.
        outputs: Size K of the new output layer.
        task: Preprocessing of the backbone -> input and loss.
        sample: Shapes of one sequence by name, as in a batch and without its axis.
    """

    make: Callable[[], nnx.Module]
    outputs: int
    task: Callable[[Preprocessing], Task]
    sample: Shapes


class Memory(NamedTuple):
    """Bytes of one device in a training step.

    Attributes:
        parameters: Trained and frozen ones, and the batch statistics.
        optimizer: Its state.
        batch: The device's rows.
        gradients: Of the trained parameters; twice where a step has several parts: those of a part
            and their sum.
        residuals: What the forward pass of a part leaves to its backward pass, as JAX keeps it.
        temporaries: All that the compiled step needs besides its arguments: gradients, residuals
            and what lies between two operations.
    """

    parameters: int
    optimizer: int
    batch: int
    gradients: int
    residuals: int
    temporaries: int

    @property
    def total(self) -> int:
        """The peak of a step, as the compiler plans it."""
        return self.parameters + self.optimizer + self.batch + self.temporaries

    @property
    def least(self) -> int:
        """What is there at the beginning of the backward pass in any case."""
        counted = self.gradients + self.residuals
        return self.parameters + self.optimizer + self.batch + counted


class _Step(NamedTuple):
    network: Network
    task: Task
    state: TrainState  # of shapes
    optimizer: Any


def check_memory(config: RunConfig) -> None:
    """Raises an InputError for runs whose memory is not that of a step over clips."""
    if config.trunk != "trained":
        raise InputError(
            f"--trunk={config.trunk}: a frozen trunk takes one sequence at a time, and the rest "
            "needs little memory; give --trunk=trained"
        )


def memory_of(config: RunConfig, sizes: Sizes, rows: int, platform: Platform) -> Memory:
    """The memory of one device in a training step of a run.

    Args:
        config: The run; says precision, remat, parts, optimiser.
        sizes: Those of the application.
        rows: Sequences of the device in a step; `config.accumulate` divides them.
        platform: For `cuda` the step is lowered for CUDA. XLA's compiler for the CPU then plans its
            memory, as there need not be a GPU. It joins what `remat` computes again with what it
            was computed from, and works on bfloat16 in float32: then its plan is too large.
    """
    made = _made(config, sizes)
    batch = _batch(sizes, rows)
    step = make_train_step(
        made.network, made.task, made.optimizer, config.precision, accumulate=config.accumulate
    )
    compiled: Any = parallel_train_step(step, make_mesh(1, rows))
    traced = compiled.trace(made.state, batch)
    found = traced.lower(lowering_platforms=(platform,)).compile().memory_analysis()
    beside = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    state = made.state
    gradients = _bytes(state.params) * (1 if config.accumulate == 1 else 2)
    return Memory(
        parameters=_bytes((state.params, state.frozen, state.batch_stats)),
        optimizer=_bytes((state.opt_state, state.step, state.rng)),
        batch=_bytes(batch),
        gradients=gradients,
        residuals=_residuals(config, made, _batch(sizes, rows // config.accumulate)),
        temporaries=beside,
    )


def largest_rows(one: tuple[int, int], other: tuple[int, int], memory: int, parts: int) -> int:
    """Sequences that fit a device, on the straight line through two measurements.

    Args:
        one: Sequences of a device in a step, and bytes.
        other: The same for another number of sequences.
        memory: Bytes that a step may take.
        parts: The result is a multiple of it; 0 if not even that fits.
    """
    slope = (other[1] - one[1]) / (other[0] - one[0])
    if slope <= 0:
        return 0
    fits = math.floor(one[0] + (memory - one[1]) / slope)
    return max(fits // parts * parts, 0)


def other_rows(rows: int, parts: int) -> int:
    """Another number of a device's rows, through which a line can go; `parts` divides both."""
    half = rows // parts // 2 * parts
    return half or 2 * rows


def _made(config: RunConfig, sizes: Sizes) -> _Step:
    """The structure of a run's step, and its state as shapes."""
    backbone = nnx.eval_shape(sizes.make)
    call = surgery_call(config, Backbone(backbone, ""), sizes.outputs)
    task = sizes.task(getattr(backbone, "preprocess", Preprocessing(scale=1 / 255)))
    made: list[tuple[Network, optax.GradientTransformation]] = []

    def begun() -> TrainState:
        model = apply_surgery(sizes.make(), call, rngs=nnx.Rngs(0))
        optimizer = optimizer_of(config, 1, trunk_parameters(model))
        network, state = begin(
            model,
            optimizer,
            batch_norm=config.batch_norm,
            remat=config.remat,
            freeze=config.freeze,
            seed=0,
        )
        made.append((network, optimizer))
        return state

    state = jax.eval_shape(begun)
    network, optimizer = made[0]
    return _Step(network, task, state, optimizer)


def _batch(sizes: Sizes, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        name: jax.ShapeDtypeStruct((rows, *given.shape), given.dtype)
        for name, given in sizes.sample.items()
    }


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _residuals(config: RunConfig, made: _Step, batch: Shapes) -> int:
    """Bytes of the arrays that the backward pass takes from the forward pass, each once.

    Parameters and the batch, which are there anyhow, do not count.
    """
    loss_of = make_loss(made.network, made.task, config.precision)

    def forward(state: TrainState, batch: Any, key: jax.Array) -> list[Any]:
        def loss(params: Any) -> Any:
            return loss_of(params, state, batch, key)

        return jax.tree.leaves(jax.vjp(loss, state.params, has_aux=True)[1])

    closed = jax.make_jaxpr(forward, axis_env=[(AXIS, 1)])(made.state, batch, made.state.rng)
    given = {id(var) for var in closed.jaxpr.invars}
    kept = {
        id(var): var.aval
        for var in closed.jaxpr.outvars
        if not isinstance(var, Constant) and id(var) not in given
    }
    return _bytes(list(kept.values()))
