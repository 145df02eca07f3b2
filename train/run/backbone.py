"""The pre-trained network that a run starts from."""

from pathlib import Path
from typing import Any, NamedTuple

from prernn_jax.backbones.cross_modality import FLOW, for_flow
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained
from prernn_jax.preprocess import TORCHVISION, Preprocessing

RGB = TORCHVISION


class Backbone(NamedTuple):
    """A network and where it comes from.

    Attributes:
        model: The network.
        source: What to call its origin.
        path: Its file, where it has one.
    """

    model: Any
    source: str
    path: Path | None = None

    @property
    def preprocess(self) -> Preprocessing:
        """The normalisation of the network's input."""
        found: Preprocessing = self.model.preprocess
        return found


def expecting(backbone: Backbone, preprocess: Preprocessing) -> Backbone:
    """The backbone with another normalisation of its input, which a saved file states too."""
    backbone.model.preprocess = preprocess
    return backbone


def with_channels(backbone: Backbone, channels: int) -> Backbone:
    """Cross-modality initialisation, see `prernn_jax.backbones.cross_modality`."""
    return expecting(Backbone(for_flow(backbone.model, channels), backbone.source), FLOW)


def read_backbone(path: Path) -> Backbone:
    """Reads a pre-trained network; its `preprocess` is what the file says, if it says it.

    Raises:
        InputError: The file is bad or holds no network that we know.
    """
    return Backbone(load_pretrained(path), path.name, path)


def read_weights(
    path: Path, kind: type | tuple[type, ...], port: str, otherwise: Preprocessing
) -> Backbone:
    """Reads the network that --weights names.

    Args:
        path: The file.
        kind: The class that the application needs, the published network's last.
        port: Its name for `prernn port convert --arch`.
        otherwise: How its input is normalised where the file does not say it.

    Raises:
        InputError: The file is bad or holds another architecture.
    """
    backbone = read_backbone(path)
    if not isinstance(backbone.model, kind):
        wanted = kind[-1] if isinstance(kind, tuple) else kind
        raise InputError(
            f"--weights {path} holds a {type(backbone.model).__name__}; this application "
            f"needs a {wanted.__name__} (prernn port convert FILE --arch {port})"
        )
    return backbone if hasattr(backbone.model, "preprocess") else expecting(backbone, otherwise)


def read_resnet(path: Path, channels: int) -> Backbone:
    """Reads a ResNet for inputs of `channels` channels.

    A network for RGB becomes one for flow where flow is asked for. The input is normalised as
    the file says, by default as torchvision's weights expect.

    Raises:
        InputError: The file is bad, holds another architecture, or takes other channels.
    """
    backbone = read_weights(path, ResNet, "resnet50", RGB if channels == 3 else FLOW)
    found = backbone.model.conv1.in_features
    if found == channels:
        return backbone
    if found == 3:
        return with_channels(backbone, channels)
    raise InputError(
        f"--weights {path} takes {found} channels; expected {channels} (3 for RGB frames, 2 for "
        "each of --stack flow fields), or 3, from which a network for flow can be made"
    )
