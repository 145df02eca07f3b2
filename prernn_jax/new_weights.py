"""Counts the weights that recurrence introduces, and matches a traditional net to them.

The paper compares PreRNN with a traditional recurrent net of about as many new parameters. Its
hidden sizes (docs/paper.md, "Hidden sizes": 2740, 5761 and 5497) come out exactly when weights
alone are counted, the output layer's included, without biases and batch-norms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flax import nnx

from prernn_jax.backbones.head import choose_layers, output_name
from prernn_jax.errors import InputError
from prernn_jax.foreign import FoldedModel
from prernn_jax.layers.cells import get_cell
from prernn_jax.module_path import get_layer
from prernn_jax.sequence import SequenceModel


def introduced_weights(
    in_features: int, features: int, cell: str, shared: bool = False, *, pretrained: bool = True
) -> int:
    """Weights that one recurrent layer adds to a network.

    Args:
        in_features: D.
        features: F.
        cell: `vrnn`, `lstm`, `gru` or `gru_cho`.
        shared: One input-to-hidden map for all gates (SIH).
        pretrained: The layer was in the network already and only becomes recurrent, so one
            input-to-hidden map is not new.

    Returns:
        (blocks - pretrained)·D·F + G·F², with G blocks, or 1 when shared.
    """
    gates = get_cell(cell).gates
    blocks = (1 if shared else gates) - int(pretrained)
    return blocks * in_features * features + gates * features * features


def stack_weights(in_features: int, hidden: int, cell: str, depth: int = 1) -> int:
    """Weights of a traditional stack: G(D·d + d²) for its first layer, 2G·d² for each other."""
    first = introduced_weights(in_features, hidden, cell, pretrained=False)
    other = introduced_weights(hidden, hidden, cell, pretrained=False)
    return first + (depth - 1) * other


def nearest_hidden(
    target: int, in_features: int, cell: str, depth: int = 1, outputs: int = 0
) -> int:
    """The hidden size d with which a traditional net has as nearly as possible `target` weights.

    Args:
        target: Weights that the other net's recurrence introduces, its output layer included.
        in_features: Features that the stack gets.
        cell: Cell of the stack.
        depth: Number of its layers.
        outputs: Size K of the output layer, which has d·K weights.

    Raises:
        InputError: No layers, or a target below that of one hidden unit.
    """
    if depth < 1:
        raise InputError(f"a traditional net of {depth} layers; depth must be at least 1")

    def total(hidden: int) -> int:
        return stack_weights(in_features, hidden, cell, depth) + hidden * outputs

    if target < total(1):
        raise InputError(
            f"{target} weights are to be matched, but one hidden unit has {total(1)} already; "
            "choose a smaller depth"
        )
    gates = get_cell(cell).gates
    square, linear = gates * (2 * depth - 1), gates * in_features + outputs
    below = (math.isqrt(linear * linear + 4 * square * target) - linear) // (2 * square)
    return min(below, below + 1, key=lambda hidden: abs(total(hidden) - target))


@dataclass(frozen=True)
class Budget:
    """What making a network recurrent adds to it, in weights.

    Attributes:
        cell: Cell of the recurrent layers.
        layers: Weights that each transformed layer introduces, by name.
        extra: Weights of each further random layer before the output layer.
        output: Weights of the output layer.
        features: Features that a traditional stack would get.
        outputs: Size K of the output layer.
    """

    cell: str
    layers: dict[str, int]
    extra: tuple[int, ...]
    output: int
    features: int
    outputs: int

    @property
    def introduced(self) -> int:
        """Weights that the recurrence introduces, without the output layer's."""
        return sum(self.layers.values()) + sum(self.extra)

    @property
    def depth(self) -> int:
        """Number of recurrent layers."""
        return len(self.layers) + len(self.extra)

    def matched_hidden(
        self, depth: int | None = None, cell: str | None = None, outputs: int | None = None
    ) -> int:
        """The hidden size of the traditional stack of equal weights, output layers included.

        Args:
            depth: Layers of the stack; None for as many as are recurrent here.
            cell: Cell of the stack; the one here when None.
            outputs: Size of the stack's output layer; the one here when None.
        """
        return nearest_hidden(
            self.introduced + self.output,
            self.features,
            self.cell if cell is None else cell,
            self.depth if depth is None else depth,
            self.outputs if outputs is None else outputs,
        )


def budget_of(
    model: nnx.Module,
    layers: str | Sequence[str] | None = None,
    cell: str = "gru",
    shared: bool = False,
    outputs: int | None = None,
    *,
    extra: int = 0,
    output_layer: str | None = None,
) -> Budget:
    """Counts what `make_recurrent`, called with the same arguments, adds to a network.

    Args:
        model: One of our backbones or a foreign network; may be abstract (`nnx.eval_shape`).
        layers: As for `make_recurrent`.
        cell: As for `make_recurrent`.
        shared: As for `make_recurrent`.
        outputs: Size K of the output layer; None means the size that it has.
        extra: As for `make_recurrent`.
        output_layer: Name of a foreign network's output layer.

    Raises:
        InputError: As for `make_recurrent`.
    """
    counts = {}
    for name in choose_layers(model, layers):
        in_features, features = get_layer(model, name).kernel.shape[-2:]
        counts[name] = introduced_weights(in_features, features, cell, shared)
    last = get_layer(model, output_name(model, output_layer, "a budget"))
    width, present = last.kernel.shape
    size = present if outputs is None else outputs
    each = introduced_weights(width, width, cell, shared, pretrained=False)
    return Budget(cell, counts, (each,) * extra, width * size, width, size)


def budget_of_sequence(
    model: SequenceModel | FoldedModel, output_layer: str | None = None
) -> Budget:
    """Counts what recurrence has added to a sequence model.

    Args:
        model: Made by `make_recurrent` or `stack_recurrent`.
        output_layer: Name of a foreign network's output layer.

    Raises:
        InputError: The model is of another kind, or has no recurrent layer.
    """
    if not isinstance(model, SequenceModel | FoldedModel) or not model.recurrent_layers:
        raise InputError(
            f"a {type(model).__name__} without recurrent layers has nothing to match; give a "
            "model that make_recurrent or stack_recurrent made"
        )
    network = model.network_of_frames
    first, *_ = recurrent = model.recurrent_layers
    counts = [
        introduced_weights(
            layer.in_features, layer.features, layer.cell, layer.shared, pretrained=converted
        )
        for layer, converted in zip(
            recurrent,
            [True] * len(model.converted) + [False] * len(model.extra),
            strict=True,
        )
    ]
    if isinstance(model, SequenceModel):
        output = get_layer(network, output_name(network, output_layer, "a budget"))
    elif output_layer is None:
        raise InputError("a model of a foreign network needs output_layer=, its last layer's name")
    else:
        output = get_layer(network, output_layer)
        output = output.layers[-1] if isinstance(output, nnx.Sequential) else output
    named = dict(zip(model.converted, counts, strict=False))
    extra = tuple(counts[len(named) :])
    # A stack gets what its first layer gets; before the output layer stands the last hidden one.
    features = model.extra[0].in_features if extra else output.in_features
    return Budget(first.cell, named, extra, output.kernel.size, features, output.out_features)


def matched_hidden(
    model: nnx.Module,
    layers: str | Sequence[str] | None = None,
    cell: str = "gru",
    *,
    depth: int | None = None,
    shared: bool = False,
    extra: int = 0,
    outputs: int | None = None,
    output_layer: str | None = None,
) -> int:
    """The hidden size for `stack_recurrent` that matches `make_recurrent` in new weights.

    Args:
        model: The network that both start from.
        layers: The layers that PreRNN transforms; None as for `make_recurrent`.
        cell: Cell of both nets.
        depth: Number of traditional layers; None for as many as PreRNN makes recurrent.
        shared: Match PreRNN-SIH instead.
        extra: Further recurrent layers of the PreRNN, as for `make_recurrent`.
        outputs: Size K of both nets' output layer; None means the size that it has.
        output_layer: Name of a foreign network's output layer.

    Raises:
        InputError: As for `make_recurrent`, or the depth is below 1.
    """
    budget = budget_of(model, layers, cell, shared, outputs, extra=extra, output_layer=output_layer)
    return budget.matched_hidden(depth)
