"""Layers of a network by their dotted names, such as `fc6` or `layer4.2.conv3`."""

from typing import Any

from flax import nnx

from prernn_jax.errors import InputError


def _step(module: Any, part: str, name: str) -> Any:
    try:
        return module[int(part)] if part.isdigit() else getattr(module, part)
    except (AttributeError, IndexError, TypeError, KeyError):
        known = ", ".join(linear_names(module)) if isinstance(module, nnx.Module) else "none"
        raise InputError(
            f"{type(module).__name__} has no layer {part!r} (of {name!r}); "
            f"its linear layers: {known or 'none'}"
        ) from None


def get_layer(module: Any, name: str) -> Any:
    """The layer of that name.

    Raises:
        InputError: There is no such layer; the message lists the linear layers.
    """
    for part in name.split("."):
        module = _step(module, part, name)
    return module


def set_layer(module: Any, name: str, layer: Any) -> None:
    """Puts `layer` in the place of the layer of that name."""
    *parents, last = name.split(".")
    for part in parents:
        module = _step(module, part, name)
    _step(module, last, name)
    if last.isdigit():
        module[int(last)] = layer
    else:
        setattr(module, last, layer)


def linear_names(module: nnx.Module) -> list[str]:
    """Dotted names of all `nnx.Linear` layers in a network."""
    return [
        ".".join(str(part) for part in path)
        for path, node in nnx.iter_graph(module)
        if isinstance(node, nnx.Linear)
    ]
