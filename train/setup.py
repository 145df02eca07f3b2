"""From a sequence model to compiled steps and the state that they start from."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import optax
from jax.sharding import Mesh

from prernn_jax.sequence import SequenceModel
from train.optim import split_frozen
from train.parallel import parallel_eval_step, parallel_train_step, replicate
from train.state import Network, TrainState, create_state, take_apart
from train.step import Precision, Task, make_eval_step, make_train_step


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
    seed: int,
) -> Training:
    """Takes a model apart and compiles its steps for the devices of a mesh.

    Args:
      model: Left as it was.
      task: Input, loss and predictions.
      optimizer: See `train.optim`.
      mesh: See `train.parallel`.
      batch_norm: See `train.state.take_apart`.
      precision: See `train.step.make_train_step`.
      freeze: See `train.optim.split_frozen`.
      seed: Of the keys of dropout.
    """
    network, everything, stats = take_apart(model, batch_norm=batch_norm)
    params, frozen = split_frozen(everything, freeze)
    return Training(
        network,
        replicate(create_state(params, frozen, stats, optimizer, seed), mesh),
        parallel_train_step(make_train_step(network, task, optimizer, precision), mesh),
        parallel_eval_step(make_eval_step(network, task, precision), mesh),
    )
