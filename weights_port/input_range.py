"""Which range of colours a network was trained on, measured from its weights.

Keys do not say it, and a wrong answer gives other numbers without an error. Two measurements can
tell colours from 0 to 1 divided by their deviation (torchvision: a variance of about 1) from raw
colours from 0 to 255 (Caffe: a variance of about 58^2):

- A batch-norm after the first convolution has stored the variance of each of that convolution's
  outputs. Photographs look much alike to such small kernels, so a few of them predict these
  variances: smooth kernels get hundreds of times those of fine ones. Statistics of a trained
  network follow the prediction for the right range. Where they do not follow it, they say nothing:
  random weights with made-up statistics, for example.
- Without a batch-norm, the network is run on a few pictures. The logits of a trained classifier
  differ between pictures by a few units, because the loss is a softmax of them. The wrong range
  makes that about 58 times more or less.

Neither tells RGB from BGR: what images and first kernels have in common (brightness, blue against
yellow, green against magenta) is the same when red and blue are exchanged.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from flax import nnx

from prernn_jax.files import architectures, backbones
from prernn_jax.files.safetensors import Outgoing
from prernn_jax.precision import products_in
from prernn_jax.preprocess import Preprocessing
from weights_port.tables.architecture import BGR, RGB

_RANGES: dict[Literal[1, 255], Preprocessing] = {1: RGB, 255: BGR}
_FOLLOWS = 4.0  # standard errors by which the correlation must lie above none
_NEAR = (1 / 3, 3.0)  # stored variances over those that the photograph gives
# The same where only scales are stored. A batch-norm gives out a variance of 0.02 to 1, rarely 30.
_NEAR_FOLDED = (1 / 30, 100.0)
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
    if kernel.ndim != 4 or kernel.shape[-2] != 3 or max(kernel.shape[:2]) > 11:
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
    near, words = _NEAR, "the variances that the first batch-norm has stored"
    if not mean.any() and (var == var[0]).all():
        if (scale == 1).all() and not bias.any():
            return Told(None, "its batch-norms have seen no images yet")
        var = 1 / np.maximum(np.square(scale.astype(np.float64)), 1e-30)
        near = _NEAR_FOLDED
        words = "the variances that the first batch-norm, without statistics, has in its scales"
    alive = (energy > _DEAD * energy.max(initial=0)) & (var > 0)
    expected = {largest: _variances(kernel, largest) for largest in _RANGES}
    alive &= (expected[1] > 0) & (expected[255] > 0)
    count = int(alive.sum())
    if count <= 3:
        return Told(None, f"its first convolution has {count} outputs, too few to measure")
    found = {}
    for largest, variances in expected.items():
        found[largest] = float(np.median(var[alive] / variances[alive]))
    stored, seen = (np.log(v[alive] / energy[alive]) for v in (var, expected[1]))
    correlation = _correlation(stored, seen)
    reason = (
        f"{words} are {found[1]:.4g} times what a photograph gives in normalised colours and "
        f"{found[255]:.4g} times what it gives in raw ones, with a correlation of "
        f"{correlation:.2f} over {count} outputs"
    )
    # Fisher's: the deviation of this is one where nothing is correlated.
    if np.arctanh(np.clip(correlation, -0.999999, 0.999999)) * np.sqrt(count - 3) < _FOLLOWS:
        return Told(None, f"{reason}: too little to be those of photographs")
    for largest, ratio in found.items():
        if near[0] <= ratio <= near[1]:
            return Told(largest, reason)
    return Told(None, reason)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, 0 where one of the two does not vary."""
    deviations = float(one.std() * other.std())
    if not deviations:
        return 0.0
    return float(((one - one.mean()) * (other - other.mean())).mean()) / deviations


def _variances(kernel: np.ndarray, largest: Literal[1, 255]) -> np.ndarray:
    """The variance of each output (F) of a first convolution (H, W, C, F) on the photograph."""
    flat = kernel.astype(np.float64).transpose(2, 0, 1, 3).reshape(-1, kernel.shape[-1])
    covariance = _covariance(kernel.shape[0], kernel.shape[1], largest)
    return np.einsum("if,ij,jf->f", flat, covariance, flat)


@functools.cache
def _covariance(height: int, width: int, largest: Literal[1, 255]) -> np.ndarray:
    """Covariance of the photograph's patches in that range of input, (C*H*W, C*H*W)."""
    pictures = np.asarray(_RANGES[largest].normalise(_pictures(224)))  # (6, 224, 224, C)
    views = np.lib.stride_tricks.sliding_window_view(pictures, (height, width), (1, 2))
    patches = views[:, ::8, ::8].reshape(-1, 3 * height * width)
    return np.cov(patches.astype(np.float64), rowvar=False)


def by_logits(arrays: Mapping[str, Outgoing], metadata: Mapping[str, str]) -> Told:
    """Judges the range by how far the network's logits differ between pictures."""
    model = architectures.build(metadata)
    backbones.fill(model, {name: _whole(array) for name, array in arrays.items()}, where="weights")
    size = int(model.image_size) if isinstance(model.image_size, int) else max(model.image_size)
    pictures = _pictures(size)
    graph, state = nnx.split(model)
    run = jax.jit(products_in("float32")(lambda state, x: nnx.merge(graph, state)(x)))
    found: dict[int, float] = {}
    for largest, preprocessing in _RANGES.items():
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
