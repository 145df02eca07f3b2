"""A frozen trunk: what it makes of every step.

The trunk is everything up to the first layer that becomes recurrent. It works on one sequence at a
time, so that a sequence has the same features, to the bit, in whatever batch it comes.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prernn_jax.cpu.xla import jit
from prernn_jax.layers.lengths import valid_steps, without_padding
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.precision import Precision, cast, products_in
from prernn_jax.sequence import SequenceModel

from ..engine.step import Batch, Network, Task, TrainState


def trunk_parameters(model: SequenceModel) -> str:
    """A regular expression for the names of the parameters before the first recurrent layer."""
    late = "|".join(re.escape(name) for name in model.late_layers)
    return rf"(?!({late})\.).*"


def _pooled(model: SequenceModel, features: Any) -> Any:
    """A recurrent convolution with stored statistics needs the mean over the image alone."""
    if any(isinstance(layer, RecurrentConv) for layer in model.recurrent_layers):
        return jax.tree.map(lambda x: jnp.mean(x, axis=(1, 2), keepdims=True), features)
    return features


FeaturesOf = Callable[[Batch], Any]
"""A batch with `clips` (B, T, ...) -> the features of its steps, arrays (B, T, ...)."""


def features_of(
    network: Network, state: TrainState, task: Task, precision: Precision
) -> FeaturesOf:
    """Compiles the trunk.

    Args:
        network: The structure of the model.
        state: Whose parameters it has; the trunk's are frozen.
        task: Normalises the input.
        precision: That of the products.
    """
    arrays = {name: np.asarray(x) for name, x in {**state.params, **state.frozen}.items()}
    stats = {name: np.asarray(x) for name, x in state.batch_stats.items()}

    @products_in(precision)
    def compute(arrays: Any, stats: Any, batch: Batch) -> Any:
        model = network.model(cast(arrays, precision), stats, train=False)
        clips = cast(task.prepare(batch), precision)  # (B, T, ...)

        def one(given: tuple[Any, Any]) -> Any:
            clip, length = given
            clip = without_padding(clip[None], valid_steps(length[None], len(clip)))[0]
            found = _pooled(model, model.frame_features(clip))
            return jax.tree.map(lambda x: x.astype(jnp.float32), found)

        return jax.lax.map(one, (clips, jnp.asarray(batch["lengths"], jnp.int32)))

    compiled = jit(compute)
    on_device = jax.device_put((arrays, stats))

    def features(batch: Batch) -> Any:
        shown = {name: batch[name] for name in ("clips", "lengths")}
        return jax.tree.map(np.asarray, compiled(*on_device, shown))

    return features


def digest_of(state: TrainState, late: Iterable[str]) -> str:
    """A name for a trunk's values and structure, as a part of a file's name."""
    found = hashlib.sha256(repr(sorted(late)).encode())
    arrays = {**state.params, **state.frozen, **state.batch_stats}
    for name in sorted(arrays):
        if not name.startswith(tuple(f"{layer}." for layer in late)):
            value = np.asarray(arrays[name])
            found.update(f"{name} {value.shape} {value.dtype}".encode())
            found.update(value.tobytes())
    return found.hexdigest()[:16]
