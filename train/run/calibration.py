"""The statistics of batch-norms behind weights that were drawn anew."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.cpu.xla import jit
from prernn_jax.data.batches import TrainLoader
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.precision import products_in
from prernn_jax.sequence import SequenceModel, fold

from ..engine.processes import rows_of_all
from ..engine.step import Batch, Task

BATCHES = 4


@products_in("float32")
def calibrate(model: SequenceModel, task: Task, loader: TrainLoader) -> None:
    """Sets the statistics of a random recurrent convolution, in place, from a few batches.

    Other layers have no batch-norm of their own, so nothing is done for them.

    Args:
        model: Whose trunk is as pre-training left it.
        task: Normalises the input.
        loader: The loader of the training set; its position stays as it was.
    """
    layers = [layer for layer in model.recurrent_layers if isinstance(layer, RecurrentConv)]
    if not layers:
        return
    (layer,) = layers  # a network has one last convolution
    position = loader.get_state()

    structure, arrays = nnx.split(model)  # as constants, XLA would fold the arrays for minutes

    @jit
    def inputs(arrays: Any, batch: Batch) -> Any:
        here = nnx.merge(structure, arrays)
        return here.frame_features(fold(task.prepare(batch)))[0]  # (B·T, h, w, D)

    clips = ({"clips": rows_of_all(next(loader)["clips"])} for _ in range(BATCHES))
    found = [inputs(arrays, batch) for batch in clips]
    loader.set_state(position)
    layer.calibrate(jnp.concatenate(jax.tree.leaves(found)))
