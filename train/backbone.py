"""The pre-trained network that a run starts from."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.cross_modality import for_flow
from prernn_jax.errors import InputError
from prernn_jax.pretrained import load_pretrained, read_parameters


class Backbone(NamedTuple):
    """A network, the metadata from which it is built again, and what to call its origin."""

    model: Any
    metadata: dict[str, str]
    source: str


def with_channels(backbone: Backbone, channels: int) -> Backbone:
    """Cross-modality initialisation, see `prernn_jax.cross_modality`."""
    arguments = json.loads(backbone.metadata.get("arguments", "{}"))
    arguments["in_channels"] = channels
    return Backbone(
        for_flow(backbone.model, channels),
        {**backbone.metadata, "arguments": json.dumps(arguments)},
        backbone.source,
    )


def read_resnet(path: Path, channels: int) -> Backbone:
    """Reads a ResNet for inputs of so many channels.

    A network for RGB becomes one for flow where flow is asked for.

    Raises:
      InputError: The file is bad, holds another architecture, or takes other channels.
    """
    _, metadata = read_parameters(path)
    model = load_pretrained(path)
    if not isinstance(model, ResNet):
        raise InputError(
            f"--weights {path} holds a {metadata.get('architecture')}; action recognition needs a "
            "resnet (prernn-port convert FILE --arch resnet50)"
        )
    if "sequence" in metadata:
        raise InputError(
            f"--weights {path} holds a trained sequence model; expected the backbone alone"
        )
    backbone = Backbone(model, metadata, path.name)
    found = model.conv1.in_features
    if found == channels:
        return backbone
    if found == 3:
        return with_channels(backbone, channels)
    raise InputError(
        f"--weights {path} takes {found} channels; expected {channels} (3 for RGB frames, 2 for "
        "each of --stack flow fields), or 3, from which a network for flow can be made"
    )
