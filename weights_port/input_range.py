"""Which range of colours a network was trained on, measured from its weights.

Keys do not say it, and a wrong answer gives other numbers without an error. Two measurements can
tell colours from 0 to 1 divided by their deviation (torchvision: a variance of about 1) from raw
colours from 0 to 255 (Caffe: a variance of about 58^2):

- A batch-norm after the first convolution has stored the variance of that convolution's outputs.
  Divided by the sum of the squared weights of each output, it is the variance of the inputs, up to
  a factor that depends on how smooth images and kernels are. Its median over the outputs is used.
- Without a batch-norm, the network is run on a few pictures. The logits of a trained classifier
  differ between pictures by a few units, because the loss is a softmax of them. The wrong range
  makes that about 58 times more or less.

Neither tells RGB from BGR: what images and first kernels have in common (brightness, blue against
yellow, green against magenta) is the same when red and blue are exchanged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from flax import nnx

from prernn_jax.files import architectures, backbones
from prernn_jax.files.safetensors import Outgoing
from weights_port.tables.architecture import BGR, RGB

# A variance of inputs below the first is that of normalised colours, above the second of raw ones.
_NORMALISED, _RAW = 20.0, 100.0
_DEAD = 1e-6  # share of the largest kernel's energy below which an output has died
_USUAL = (0.5, 12.0)  # how far logits of a trained classifier differ between pictures
_FAR = (0.2, 20.0)  # the other range must give less, or more


class Told(NamedTuple):
    """What a measurement says.

    Attributes:
        scale: Largest value of a colour, 1 or 255; None where it is left open.
        reason: The measurement in words.
    """

    scale: Literal[1, 255] | None
    reason: str


def measure(arrays: Mapping[str, Outgoing], metadata: Mapping[str, str], first: str) -> Told:
    """Judges on which range of colours a network was trained.

    Args:
        arrays: The network's parameters by our names.
        metadata: From which the network is built.
        first: Name of the first convolution's kernel, (..., C, F).
    """
    kernel = _whole(arrays[first])
    if kernel.ndim != 4 or kernel.shape[-2] != 3:
        return Told(None, "its input is no single RGB image, so its range was not measured")
    norm = first.removesuffix("kernel").replace("conv", "bn")
    if norm + "var" in arrays:
        parts = {name: _whole(arrays[norm + name]) for name in ("scale", "bias", "mean", "var")}
        return by_batch_norm(kernel, **parts)
    return by_logits(arrays, metadata)


def by_batch_norm(
    kernel: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, var: np.ndarray
) -> Told:
    """Judges the range by the first batch-norm.

    Args:
        kernel: Of the first convolution, (H, W, C, F).
        scale: Of the batch-norm after it, (F).
        bias: (F).
        mean: The stored mean, (F).
        var: The stored variance, (F).
    """
    energy = np.square(kernel.astype(np.float64)).sum((0, 1, 2))  # (F)
    alive = (energy > _DEAD * energy.max(initial=0)) & (var > 0)
    if not alive.any():
        return Told(None, "the first convolution's weights are all zero")
    if not mean.any() and (var == var[0]).all():
        if (scale == 1).all() and not bias.any():
            return Told(None, "its batch-norms have seen no images yet")
        # What the layer gives out has a variance of about one or less.
        inputs = float(np.median(1 / np.maximum(energy * np.square(scale), 1e-30)[alive]))
        reason = (
            "its batch-norms hold no statistics, only scales and shifts, as Detectron's do "
            f"(with first weights for inputs of a variance of {inputs:.3g})"
        )
        return Told(255 if inputs > _RAW else None, reason)
    inputs = float(np.median((var / energy)[alive]))
    reason = (
        f"the first batch-norm's statistics show inputs of a variance of about {inputs:.3g}: "
        f"below {_NORMALISED:g} from normalised colours, above {_RAW:g} from raw ones"
    )
    return Told(1 if inputs < _NORMALISED else 255 if inputs > _RAW else None, reason)


def by_logits(arrays: Mapping[str, Outgoing], metadata: Mapping[str, str]) -> Told:
    """Judges the range by how far the network's logits differ between pictures."""
    model = architectures.build(metadata)
    backbones.fill(model, {name: _whole(array) for name, array in arrays.items()}, where="weights")
    size = int(model.image_size) if isinstance(model.image_size, int) else max(model.image_size)
    pictures = _pictures(size)
    graph, state = nnx.split(model)
    run = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    found: dict[int, float] = {}
    for largest, preprocessing in ((1, RGB), (255, BGR)):
        inputs = preprocessing.normalise(pictures)
        # One picture at a time: a network at full size needs the memory.
        logits = np.concatenate([np.asarray(run(state, x[None]), np.float64) for x in inputs])
        found[largest] = float(np.sqrt(logits.var(0, ddof=1).mean()))  # over N, then over K
    reason = (
        f"its outputs for {len(pictures)} pictures differ by {found[1]:.2g} with normalised "
        f"colours and by {found[255]:.2g} with raw ones; those of a trained classifier differ by "
        f"{_USUAL[0]:g} to {_USUAL[1]:g}"
    )
    if _usual(found[1]) and found[255] > _FAR[1]:
        return Told(1, reason)
    if _usual(found[255]) and found[1] < _FAR[0]:
        return Told(255, reason)
    return Told(None, reason)


def _usual(spread: float) -> bool:
    return _USUAL[0] <= spread <= _USUAL[1]


def photograph() -> np.ndarray:
    """The photograph that comes with matplotlib, uint8 RGB (H, W, 3)."""
    import cv2
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, path
    return picture[..., ::-1]


def _pictures(size: int) -> np.ndarray:
    """Six parts of the photograph, uint8 RGB (6, size, size, 3)."""
    import cv2

    photo = np.ascontiguousarray(photograph())
    height, width = photo.shape[0] // 2, photo.shape[1] // 2
    corners = [(0, 0), (0, width), (height, 0), (height, width), (height // 2, width // 2)]
    parts = [photo[y : y + height, x : x + width] for y, x in corners] + [photo]
    return np.stack([cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in parts])


def _whole(array: Outgoing) -> np.ndarray:
    """The array that is written, put together."""
    return np.asarray(array.view, array.dtype).reshape(array.shape)
