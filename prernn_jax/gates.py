"""The values of a sequence model's gates, for looking at them.

A gate is saturated where it is nearly 0 or nearly 1: it then shuts or opens a unit instead of
weighing it (Karpathy et al. 2015, "Visualizing and understanding recurrent networks").
`python -m train.gates` counts how often.
"""

from collections.abc import Callable
from functools import partial

import jax
from flax import nnx

from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.lengths import Lengths
from prernn_jax.layers.recurrent import Carry, Recurrent
from prernn_jax.layers.unroll import pre_activations
from prernn_jax.module_path import get_layer, set_layer
from prernn_jax.sequence import Carries, SequenceModel

Gates = dict[str, jax.Array]


def layer_gates(
    layer: Recurrent,
    x: jax.Array,
    carry: Carry | None = None,
    lengths: Lengths = None,
) -> Gates:
    """The gates of one layer over time.

    Args:
        layer: A `Recurrent`, or a `RecurrentConv` with the pair that it takes for `x`.
        x: Inputs (B, T, D).
        carry: State to start from; zeros when None.
        lengths: Valid steps of each sequence (B,). Values beyond them mean nothing.

    Returns:
        Name -> (B, T, F) between 0 and 1: `i`, `f` and `o` for an LSTM, `r` and `z` for a GRU,
        nothing for a VRNN; float32, or float64 where that is the dtype of the products.
    """
    cell = get_cell(layer.cell)
    projected = layer.project(x)
    kernel = layer.recurrent_kernel[...].astype(projected.dtype)
    sums = pre_activations(cell, projected, kernel, carry, lengths)  # (B, T, G, F)
    return {name: jax.nn.sigmoid(sums[:, :, block]) for name, block in cell.gate_names}


def layer_paths(model: SequenceModel) -> dict[str, str]:
    """The recurrent layers in the order of the carry: short name -> dotted path in the model.

    A converted layer keeps its name in the backbone (`fc6`, `layer4.2.conv3`); a new one has the
    name of its parameters (`extra.0`).
    """
    paths = {name: f"backbone.{name}" for name in model.converted}
    return paths | {f"extra.{i}": f"extra.{i}" for i in range(len(model.extra))}


def model_gates(
    model: SequenceModel,
    clips: jax.Array,
    carry: Carries | None = None,
    lengths: Lengths = None,
) -> dict[str, Gates]:
    """The gates of every recurrent layer, in a call of the model with these arguments.

    Returns:
        Name of the layer (see `layer_paths`) -> the layer's gates (see `layer_gates`).
    """
    observed = nnx.clone(model)
    found: dict[str, Gates] = {}
    for name, path in layer_paths(model).items():
        layer = get_layer(observed, path)
        set_layer(observed, path, _Observed(layer, partial(found.__setitem__, name)))
    observed(clips, carry, lengths)
    return found


class _Observed(nnx.Module):
    """Stands in a recurrent layer's place, does what it does, and shows its gates."""

    def __init__(self, layer: Recurrent, show: Callable[[Gates], None]) -> None:
        self.layer = layer
        self.show = show

    def __call__(
        self, x: jax.Array, carry: Carry | None = None, lengths: Lengths = None
    ) -> tuple[jax.Array, Carry]:
        self.show(layer_gates(self.layer, x, carry, lengths))
        return self.layer(x, carry, lengths)
