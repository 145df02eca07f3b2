"""Weights that recurrence introduces, and the traditional net's hidden size that matches them.

The paper compares PreRNN with a traditional recurrent net of about as many new parameters. Its
count reproduces exactly when weights alone are counted, neither biases nor batch-norms, together
with the output layer's (SPEC section 2: 2740, 5761 and 5497 hidden units).

    python -m prernn_jax.budget --backbone vgg16 --layers fc6 fc7 --cell lstm --outputs 136
"""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import tyro
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.head import choose_layers, output_name
from prernn_jax.backbones.resnet import ResNet50
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.layers.cells import get_cell
from prernn_jax.module_path import get_layer


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


def stack_weights(in_features: int, hidden: int, cell: str, layers: int = 1) -> int:
    """Weights of a traditional stack: G(D·d + d²) for its first layer, 2G·d² for each other."""
    first = introduced_weights(in_features, hidden, cell, pretrained=False)
    other = introduced_weights(hidden, hidden, cell, pretrained=False)
    return first + (layers - 1) * other


def matched_hidden(
    target: int, in_features: int, cell: str, layers: int = 1, outputs: int = 0
) -> int:
    """The hidden size d with which a traditional net has as nearly as possible `target` weights.

    Args:
        target: Weights that the other net's recurrence introduces, its output layer included.
        in_features: Features that the stack gets.
        cell: Of the stack.
        layers: Its number of layers.
        outputs: Size K of the output layer, which has d·K weights.

    Raises:
        InputError: No layers, or a target below that of one hidden unit.
    """
    if layers < 1:
        raise InputError(f"a traditional net of {layers} layers; give at least 1")

    def total(hidden: int) -> int:
        return stack_weights(in_features, hidden, cell, layers) + hidden * outputs

    if target < total(1):
        raise InputError(
            f"{target} weights are to be matched, but one hidden unit has {total(1)} already; "
            "choose fewer layers"
        )
    gates = get_cell(cell).gates
    square, linear = gates * (2 * layers - 1), gates * in_features + outputs
    below = (math.isqrt(linear * linear + 4 * square * target) - linear) // (2 * square)
    return min(below, below + 1, key=lambda hidden: abs(total(hidden) - target))


@dataclass(frozen=True)
class Budget:
    """What making a network recurrent adds to it, in weights.

    Attributes:
        cell: Of the recurrent layers.
        layers: Weights that each transformed layer introduces, by name.
        extra: Weights of the random layers after them.
        output: Weights of the output layer.
        features: Features that the output layer gets, and a traditional stack would.
        outputs: Size K of the output layer.
    """

    cell: str
    layers: dict[str, int]
    extra: int
    output: int
    features: int
    outputs: int

    @property
    def introduced(self) -> int:
        """Weights that the recurrence introduces; the output layer is not among them."""
        return sum(self.layers.values()) + self.extra

    def matched_hidden(self, recurrent_layers: int = 1) -> int:
        """Hidden size of the traditional stack with as many weights, output layers included."""
        target = self.introduced + self.output
        return matched_hidden(target, self.features, self.cell, recurrent_layers, self.outputs)


def budget_of(
    model: nnx.Module,
    layers: Sequence[str] | None = None,
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
        outputs: Size K of the output layer; None is the present one's.
        extra: As for `make_recurrent`.
        output_layer: A foreign network's output layer.

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
    return Budget(cell, counts, extra * each, width * size, width, size)


def matched_hidden_for(
    model: nnx.Module,
    layers: Sequence[str] | None = None,
    cell: str = "gru",
    recurrent_layers: int = 1,
    outputs: int | None = None,
    *,
    shared: bool = False,
    output_layer: str | None = None,
) -> int:
    """Hidden size d for `stack_recurrent` that matches `make_recurrent` in new weights.

    Args:
        model: The network that both start from.
        layers: The layers that PreRNN transforms; None as for `make_recurrent`.
        cell: Of both nets.
        recurrent_layers: Number of traditional layers.
        outputs: Size K of both nets' output layer; None is the present one's.
        shared: Match PreRNN-SIH instead.
        output_layer: A foreign network's output layer.
    """
    budget = budget_of(model, layers, cell, shared, outputs, output_layer=output_layer)
    return budget.matched_hidden(recurrent_layers)


@dataclass(frozen=True)
class Arguments:
    """Weights that recurrence introduces, and the matched traditional hidden size, as JSON."""

    backbone: Literal["vgg16", "c3d", "resnet50"] = "vgg16"
    """The pre-trained network, at its original size."""
    layers: tuple[str, ...] = field(default=())
    """Layers to make recurrent; all that can be when none is named."""
    cell: Literal["vrnn", "lstm", "gru", "gru_cho"] = "gru"
    """The recurrent cell."""
    outputs: int = 136
    """Size of the output layer; 136 are the 68 landmarks of 300VW."""
    recurrent_layers: int | None = None
    """Layers of the traditional net; as many as are transformed when not given."""


_BACKBONES: dict[str, Callable[..., nnx.Module]] = {
    "vgg16": VGG16,
    "c3d": partial(C3D, clip_length=8),
    "resnet50": ResNet50,
}


def table(arguments: Arguments) -> dict[str, object]:
    """The counts for one backbone, with per-gate and with shared input-to-hidden maps."""
    if arguments.outputs < 1:
        raise InputError(f"--outputs is {arguments.outputs}; the output layer needs 1 or more")
    model = nnx.eval_shape(lambda: _BACKBONES[arguments.backbone](rngs=nnx.Rngs(0)))
    result: dict[str, object] = {
        "backbone": arguments.backbone,
        "cell": arguments.cell,
        "outputs": arguments.outputs,
    }
    for name, shared in (("per_gate", False), ("shared", True)):
        budget = budget_of(
            model, arguments.layers or None, arguments.cell, shared, arguments.outputs
        )
        layers = arguments.recurrent_layers
        layers = len(budget.layers) if layers is None else layers
        hidden = budget.matched_hidden(layers)
        result[name] = {
            "layers": budget.layers,
            "introduced": budget.introduced,
            "output": budget.output,
            "traditional": {
                "layers": layers,
                "hidden": hidden,
                "introduced": stack_weights(budget.features, hidden, arguments.cell, layers),
                "output": hidden * arguments.outputs,
            },
        }
    return result


def main(args: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m prernn_jax.budget", args=args)
    try:
        print(json.dumps(table(arguments), indent=2))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
