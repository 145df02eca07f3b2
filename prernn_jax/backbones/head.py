"""What a backbone says of itself: its last layers, and how it was made.

Each of our backbones has

- `head`, its last layers in order; the output layer is the last entry;
- `trunk`, everything before them, and `features`, everything before the output layer;
- `axes`, the letters of the axes of one frame: "HWC", or "LHWC" where a frame is a short clip;
- each argument of its constructor as an attribute of the same name, so that a file can say how to
  build it again.
"""

import inspect
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
    """Whether a network has the `head`, `trunk` and `features` of a backbone of ours."""
    return all(hasattr(model, name) for name in ("head", "trunk", "features"))


def constructor_arguments(model: Any) -> dict[str, Any]:
    """The arguments of a backbone's constructor that differ from their defaults."""
    parameters = inspect.signature(type(model).__init__).parameters
    given = {name: getattr(model, name) for name in parameters if name not in ("self", "rngs")}
    return {name: value for name, value in given.items() if value != parameters[name].default}


def choose_layers(model: Any, layers: str | Sequence[str] | None) -> list[str]:
    """The layers to make recurrent: a backbone's in its own order, all of them for None.

    Raises:
        InputError: No layer is named, one is named twice, or the network has no such layer.
    """
    kind = type(model).__name__
    chosen = [layers] if isinstance(layers, str) else list(layers or ())
    if len(set(chosen)) < len(chosen):
        raise InputError(f"layers {chosen} of {kind}: name each layer once")
    if not is_backbone(model):
        if not chosen:
            raise InputError(
                f"name the layers of {kind} to make recurrent; its linear layers: "
                f"{', '.join(linear_names(model)) or 'none'}"
            )
        return chosen
    able = [entry.name for entry in model.head[:-1]]
    if layers is None:
        return able
    if not chosen or not set(chosen) <= set(able):
        raise InputError(f"layers {chosen} of {kind}; expected some of {able}")
    return [name for name in able if name in chosen]


def output_name(model: Any, given: str | None, wanted_for: str) -> str:
    """The name of a network's output layer; a foreign network's must be given.

    Args:
        model: One of our backbones or a foreign network.
        given: The name, or None.
        wanted_for: What needs the layer, for the message.

    Raises:
        InputError: It was not given, is not a linear layer, or is not the backbone's.
    """
    kind = type(model).__name__
    if is_backbone(model):
        name = model.head[-1].name
        if given not in (None, name):
            raise InputError(f"output_layer is {given!r}; the output layer of {kind} is {name!r}")
        return name
    if given is None:
        raise InputError(
            f"{wanted_for} needs output_layer=, the name of {kind}'s last layer; its linear "
            f"layers: {', '.join(linear_names(model))}"
        )
    layer = get_layer(model, given)
    if not isinstance(layer, nnx.Linear):
        raise InputError(f"output_layer {given!r} is a {type(layer).__name__}, not an nnx.Linear")
    return given
