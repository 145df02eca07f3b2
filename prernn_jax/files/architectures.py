"""The classes of our backbones, and how a file's metadata say to build one of them."""

from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.files.described import checked_arguments, read_json_object

ARCHITECTURES: dict[str, Any] = {
    "vgg16": VGG16,
    "c3d": C3D,
    "resnet": ResNet,
    "compact_vgg": CompactVGG,
}
"""Our backbones by the names that the files have for them."""


def is_ours(model: Any) -> bool:
    """Whether a network is one of our backbones."""
    return type(model) in ARCHITECTURES.values()


def build(
    metadata: Mapping[str, str], *, where: str = "metadata", arrays: int | None = None
) -> Any:
    """The network that the metadata describe, with abstract arrays (shapes and dtypes only).

    Args:
        metadata: The metadata of a file.
        where: What to call the file in messages.
        arrays: How many arrays it holds; no network of more layers is built.

    Raises:
        InputError: The metadata name none of our networks, or no such network can be built.
    """
    return build_abstract(constructor(metadata, where=where, arrays=arrays), where=where)


def constructor(
    metadata: Mapping[str, str], *, where: str = "metadata", arrays: int | None = None
) -> Callable[[], nnx.Module]:
    """A function that makes the network that the metadata describe, with fresh weights.

    The arguments are those of `build`.

    Raises:
        InputError: The metadata name none of our networks, or an argument cannot be its.
    """
    architecture = metadata.get("architecture")
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"{where}: architecture {architecture!r} in the metadata, expected one of "
            f"{', '.join(ARCHITECTURES)}; was the file written by `prernn port convert`?"
        )
    arguments = read_json_object(metadata, "arguments", where=where)
    if "variant" in metadata:
        arguments["variant"] = metadata["variant"]
    given = checked_arguments(ARCHITECTURES[architecture], arguments, arrays, where=where)
    return lambda: ARCHITECTURES[architecture](**given)


def build_abstract(make: Callable[[], Any], *, where: str) -> Any:
    """What `make` makes, with abstract arrays; a wrong argument becomes an InputError."""
    try:
        return nnx.eval_shape(make)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: no network can be built from the metadata: {error}") from error
