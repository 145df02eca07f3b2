"""What a network's last layers are, so that they can be made recurrent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.layers.recurrent import Activation
from prernn_jax.module_path import get_layer, linear_names


@dataclass(frozen=True)
class HeadLayer:
    """One of the last layers of a backbone.

    A backbone lists them in order in its attribute `head`; the last entry is the output layer.

    Attributes:
        name: Path of the layer in the network, such as `fc6` or `layer4.2.conv3`.
        activation: What the network applies to the layer's output; None for the output layer.
    """

    name: str
    activation: Activation | None = None


def is_backbone(model: Any) -> bool:
    """Whether a network follows the contract of `prernn_jax.backbones`."""
    return all(hasattr(model, name) for name in ("head", "trunk", "features"))


def choose_layers(model: Any, layers: Sequence[str] | None) -> list[str]:
    """The layers to make recurrent; a backbone's in its own order, None being all that can be.

    Raises:
        InputError: None is named, one is named twice, or the network has no such layer.
    """
    kind = type(model).__name__
    chosen = list(layers or ())
    if len(set(chosen)) < len(chosen):
        raise InputError(f"layers {chosen} of {kind}: each can be made recurrent once")
    if not is_backbone(model):
        if not chosen:
            raise InputError(
                f"name the layers of {kind} to make recurrent, of: "
                f"{', '.join(linear_names(model)) or 'it has no nnx.Linear'}"
            )
        return chosen
    able = [entry.name for entry in model.head[:-1]]
    if layers is None:
        return able
    if not chosen or not set(chosen) <= set(able):
        raise InputError(f"layers {chosen} of {kind}; expected some of {able}")
    return [name for name in able if name in chosen]


def output_name(model: Any, given: str | None, wanted_for: str) -> str:
    """Name of a network's output layer; a foreign network's must be given.

    Raises:
        InputError: It was not given, or is no linear layer, or is not the backbone's.
    """
    kind = type(model).__name__
    if is_backbone(model):
        name = model.head[-1].name
        if given not in (None, name):
            raise InputError(f"output_layer is {given!r}; that of {kind} is {name!r}")
        return name
    if given is None:
        raise InputError(
            f"{wanted_for} needs output_layer=, the name of {kind}'s last layer, "
            f"of: {', '.join(linear_names(model))}"
        )
    layer = get_layer(model, given)
    if not isinstance(layer, nnx.Linear):
        raise InputError(f"output_layer {given!r} is a {type(layer).__name__}, not an nnx.Linear")
    return given
