"""All networks that can be ported, by the names that `--arch` takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prernn_jax.errors import InputError
from weights_port.tables.architecture import Architecture
from weights_port.tables.c3d import C3D
from weights_port.tables.resnet import RESNET, RESNETS
from weights_port.tables.vgg import DEPTHS, VGG, VGGS

# Single networks first, and then the families, whose depth the file decides.
ARCHITECTURES: dict[str, Architecture] = {a.name: a for a in (*VGGS, C3D, *RESNETS, VGG, RESNET)}
_DEFAULTS = {"block": "bottleneck", "stages": list(DEPTHS["vgg16"]), "batch_norm": False}


def network_of(backbone: str | None, arguments: Mapping[str, Any]) -> Architecture | None:
    """The network with this backbone and depth; the family where no network has that depth."""
    found = _DEFAULTS | dict(arguments)
    able = (a for a in ARCHITECTURES.values() if a.backbone == backbone)
    return next((a for a in able if a.depth.items() <= found.items()), None)


def check_depth(path: Path, architecture: Architecture, arguments: Mapping[str, Any]) -> None:
    """Checks that a file holds the network that was named.

    Raises:
        InputError: It holds a sibling of another depth.
    """
    found = _DEFAULTS | dict(arguments)
    if architecture.depth.items() <= found.items():
        return
    sibling = network_of(architecture.backbone, arguments)
    said = ", ".join(f"{name} {found[name]}" for name in architecture.depth)
    raise InputError(
        f"{path} holds no {architecture.name}, but a network with {said}; give --arch "
        f"{sibling.name if sibling else architecture.backbone}"
    )
