"""The torch.nn network that belongs to a converted file, and which of its keys is which of ours."""

from collections.abc import Callable, Mapping
from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import read_json_object
from weights_port import mapping, torch_networks
from weights_port.mapping import Layout, Move
from weights_port.networks import network_of
from weights_port.tables.architecture import Architecture

_BUILDERS: dict[str, Callable[..., Any]] = {
    "vgg16": torch_networks.build_vgg16,
    "c3d": torch_networks.build_c3d,
    "resnet": torch_networks.build_resnet,
}


def architecture_of(metadata: Mapping[str, str], where: str) -> Architecture:
    """The architecture that a file's metadata name.

    Raises:
        InputError: None that can be ported.
    """
    name = metadata.get("architecture")
    found = network_of(name, read_json_object(metadata, "arguments", where=where))
    if found is not None:
        return found
    raise InputError(f"{where}: architecture {name!r} in the metadata cannot be ported")


def build_reference(metadata: Mapping[str, str]) -> Any:
    """The reference network with the sizes and the variant that the metadata give."""
    return _BUILDERS[metadata["architecture"]](**build_arguments(metadata))


def build_arguments(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of the network: those of the metadata, with the variant."""
    arguments = read_json_object(metadata, "arguments", where="metadata")
    arguments.pop("dropout", None)
    if "variant" in metadata:
        arguments["variant"] = metadata["variant"]
    return arguments


def reference_layout(architecture: Architecture, metadata: Mapping[str, str]) -> Layout:
    """The table of the reference network's keys for the weights' variant."""
    variant = metadata.get("variant")
    able = [layout for layout in architecture.layouts if layout.family == "torch"]
    return next((layout for layout in able if layout.variant == variant), able[0])


def reference_moves(network: Any, layout: Layout) -> dict[str, Move]:
    """Our name -> the reference network's key and the transform between them."""
    moves = mapping.assign(layout, network.state_dict()).moves
    return {move.target: move for move in moves}
