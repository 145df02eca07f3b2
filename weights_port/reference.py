"""The torch.nn network that belongs to a converted file, and which of its keys is which of ours."""

from collections.abc import Callable, Mapping
from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.files.described import read_json_object
from weights_port import torch_networks
from weights_port.mapping import Move
from weights_port.torch_resnet import TorchResNet

_BUILDERS: dict[str, Callable[..., Any]] = {
    "vgg16": torch_networks.build_vgg16,
    "c3d": torch_networks.build_c3d,
    "resnet": torch_networks.build_resnet,
    "compact_vgg": torch_networks.build_compact_vgg,
}
_LAYER = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def build_reference(metadata: Mapping[str, str]) -> Any:
    """The reference network with the sizes and the variant that the metadata give.

    Raises:
        InputError: There is no such network, or it does not have these arguments.
    """
    name, arguments = metadata.get("architecture"), build_arguments(metadata)
    if name not in _BUILDERS:
        raise InputError(
            f"no network in torch.nn for the architecture {name!r}; there are "
            f"{', '.join(_BUILDERS)}"
        )
    try:
        return _BUILDERS[name](**arguments)
    except TypeError as error:
        raise InputError(f"the network {name} in torch.nn cannot be built: {error}") from error


def build_arguments(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of the network: those of the metadata, with the variant."""
    arguments = read_json_object(metadata, "arguments", where="metadata")
    arguments.pop("dropout", None)
    if "variant" in metadata:
        arguments["variant"] = metadata["variant"]
    return arguments


def reference_moves(network: Any) -> dict[str, Move]:
    """Our name -> the reference network's key and the transform between them."""
    from torch import nn

    moves: dict[str, Move] = {}
    flattened = not isinstance(network, TorchResNet)  # before the first matrix
    for module, layer in network.named_modules():
        norm = isinstance(layer, nn.BatchNorm2d)
        if isinstance(layer, nn.Linear):
            transform, flattened = ("flatten" if flattened else "dense"), False
        elif norm or isinstance(layer, nn.Conv2d | nn.Conv3d):
            transform = "conv3d" if isinstance(layer, nn.Conv3d) else "conv2d"
        else:
            continue
        ours = network.our_names.get(module, module)
        for part, name in (_NORM if norm else _LAYER).items():
            if getattr(layer, part) is not None:
                kernel = name == "kernel"
                target = f"{ours}.{name}"
                moves[target] = Move(f"{module}.{part}", target, transform if kernel else "same")
    return moves


def last_channels(network: Any) -> int:
    """Channels of the feature map that is flattened before the first matrix."""
    from torch import nn

    convolutions = (nn.Conv2d, nn.Conv3d)
    return [m for m in network.modules() if isinstance(m, convolutions)][-1].out_channels
