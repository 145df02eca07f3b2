"""PreRNN in JAX and Flax: the last layers of a pre-trained CNN made recurrent.

Every name is imported when it is first used, so that `import prernn_jax` is quick and the
processes that only read data do without JAX. docs/api.md shows each name in use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from prernn_jax.errors import InputError

if TYPE_CHECKING:
    from prernn_jax.backbones.c3d import C3D as c3d
    from prernn_jax.backbones.resnet import ResNet50 as resnet50
    from prernn_jax.backbones.vgg import VGG16 as vgg16
    from prernn_jax.cpu.xla import jit
    from prernn_jax.files.models import load, save
    from prernn_jax.inference import Inference
    from prernn_jax.layers.recurrent import Recurrent
    from prernn_jax.new_weights import matched_hidden
    from prernn_jax.preprocess import Preprocessing
    from prernn_jax.sequence import SequenceModel
    from prernn_jax.streaming import Stream
    from prernn_jax.surgery import make_recurrent, per_frame, stack_recurrent

    __version__: str

_HOMES = {
    "Inference": ("inference", "Inference"),
    "Preprocessing": ("preprocess", "Preprocessing"),
    "Recurrent": ("layers.recurrent", "Recurrent"),
    "SequenceModel": ("sequence", "SequenceModel"),
    "Stream": ("streaming", "Stream"),
    "c3d": ("backbones.c3d", "C3D"),
    "jit": ("cpu.xla", "jit"),
    "load": ("files.models", "load"),
    "make_recurrent": ("surgery", "make_recurrent"),
    "matched_hidden": ("new_weights", "matched_hidden"),
    "per_frame": ("surgery", "per_frame"),
    "resnet50": ("backbones.resnet", "ResNet50"),
    "save": ("files.models", "save"),
    "stack_recurrent": ("surgery", "stack_recurrent"),
    "vgg16": ("backbones.vgg", "VGG16"),
}

__all__ = [
    "Inference",
    "InputError",
    "Preprocessing",
    "Recurrent",
    "SequenceModel",
    "Stream",
    "__version__",
    "c3d",
    "jit",
    "load",
    "make_recurrent",
    "matched_hidden",
    "per_frame",
    "resnet50",
    "save",
    "stack_recurrent",
    "vgg16",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for."""
    if name == "__version__":
        found: Any = importlib.import_module("importlib.metadata").version("prernn-jax")
    elif name in _HOMES:
        module, inner = _HOMES[name]
        found = getattr(importlib.import_module(f"{__name__}.{module}"), inner)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
