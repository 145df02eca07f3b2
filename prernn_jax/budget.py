"""Counts the weights that recurrence adds and the traditional size that matches them.

    prernn budget --backbone vgg16 --layers fc6 fc7 --cell lstm --outputs 136

The counting is in `prernn_jax.new_weights`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Literal

import tyro
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet50
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.new_weights import budget_of, stack_weights


@dataclass(frozen=True)
class Arguments:
    """Counts new weights, and matches a traditional net's hidden size to them; prints JSON."""

    backbone: Literal["vgg16", "c3d", "resnet50"] = "vgg16"
    """The pre-trained network, at its original size."""
    layers: tuple[str, ...] = field(default=())
    """Layers to make recurrent; all that can be when none is named."""
    cell: Literal["vrnn", "lstm", "gru", "gru_cho"] = "gru"
    """The recurrent cell."""
    outputs: int = 136
    """Size of the output layer; 136 numbers are the 68 landmarks of 300VW."""
    extra: int = 0
    """Further recurrent layers before the output layer."""
    depth: Annotated[int | None, tyro.conf.arg(aliases=("--recurrent_layers",))] = None
    """Layers of the traditional net; by default as many as PreRNN makes recurrent."""


_BACKBONES: dict[str, Callable[..., nnx.Module]] = {
    "vgg16": VGG16,
    "c3d": partial(C3D, clip_length=8),
    "resnet50": ResNet50,
}


def table(arguments: Arguments) -> dict[str, object]:
    """The counts for one backbone, with an input-to-hidden map for each gate and with one for all.

    Raises:
        InputError: An argument is out of its range, or names a layer that does not exist.
    """
    if arguments.outputs < 1:
        raise InputError(f"--outputs is {arguments.outputs}; the output layer needs 1 or more")
    if arguments.extra < 0:
        raise InputError(f"--extra is {arguments.extra}; expected 0 or more further layers")
    model = nnx.eval_shape(lambda: _BACKBONES[arguments.backbone]())
    result: dict[str, object] = {
        "backbone": arguments.backbone,
        "cell": arguments.cell,
        "outputs": arguments.outputs,
    }
    for name, shared in (("per_gate", False), ("shared", True)):
        budget = budget_of(
            model,
            arguments.layers or None,
            arguments.cell,
            shared,
            arguments.outputs,
            extra=arguments.extra,
        )
        depth = budget.depth if arguments.depth is None else arguments.depth
        hidden = budget.matched_hidden(depth)
        result[name] = {
            "layers": budget.layers,
            "extra": sum(budget.extra),
            "introduced": budget.introduced,
            "output": budget.output,
            "traditional": {
                "depth": depth,
                "hidden": hidden,
                "introduced": stack_weights(budget.features, hidden, arguments.cell, depth),
                "output": hidden * arguments.outputs,
            },
        }
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table as JSON.

    Args:
        argv: The command line without the program's name; None for that of the process.

    Raises:
        InputError: An argument cannot be used.
    """
    arguments = tyro.cli(Arguments, prog="prernn budget", args=argv, use_underscores=True)
    print(json.dumps(table(arguments), indent=2))


if __name__ == "__main__":
    from prernn_jax.command import run_command  # only a program that runs needs it

    run_command(main)
