"""Weights for optical flow from weights for RGB images (cross-modality initialisation)."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from prernn_jax.backbones.cross_modality import repeat_mean_channel
from prernn_jax.errors import InputError
from prernn_jax.files import backbones
from prernn_jax.preprocess import Preprocessing

_FIRST = {"vgg16": "conv1_1.kernel", "c3d": "conv1a.kernel", "resnet": "conv1.kernel"}
_FLOW_SCALE = 0.226  # mean of ImageNet's three standard deviations, on the scale 0 to 1


def flow_init(path: Path, channels: int, out: Path, *, overwrite: bool = False) -> None:
    """Average the first convolution over its input channels and repeat the mean.

    Nothing is rescaled and the bias is kept (Wang et al., ECCV 2016, section 3.2).

    Args:
        path: A converted backbone.
        channels: 2L for a stack of L flow fields.
        out: The file to write.
        overwrite: Replace `out`.

    Raises:
        InputError: No converted backbone, an impossible number, or `out` cannot be written.
    """
    arrays, metadata = backbones.read_parameters(path)
    backbones.check_fit(
        {k: v for k, v in arrays.items() if not k.startswith("preprocessing.")},
        backbones.flat_shapes(backbones.build(metadata, where=str(path))),
        where=str(path),
    )
    if channels < 2 or channels % 2:
        raise InputError(f"--channels {channels}; expected 2L for L flow fields: 2, 4, ... 20")
    arrays.pop("preprocessing.mean_volume", None)  # of RGB frames
    first = _FIRST[metadata["architecture"]]
    kernel = repeat_mean_channel(jnp.asarray(arrays[first]), channels)
    arguments = json.loads(metadata.get("arguments", "{}")) | {"in_channels": channels}
    new = dict(metadata)
    new["arguments"] = json.dumps(arguments)
    new["derived"] = f"flow-init: {first} averaged and repeated {channels} times"
    if "preprocessing" in metadata:
        new["preprocessing"] = _for_flow(metadata["preprocessing"]).to_json()
    backbones.save_parameters(out, {**arrays, first: np.asarray(kernel)}, new, overwrite=overwrite)


def _for_flow(text: str) -> Preprocessing:
    """Flow images are 128 where nothing moves; the range stays that of the RGB weights."""
    old = Preprocessing.from_json(text)
    one = old.scale != 1.0  # weights that expect 0 to 1 and a division by the deviation
    scale = 1 / 255 if one else 1.0
    return Preprocessing(
        channels="flow",
        scale=scale,
        mean=(128 * scale,),
        std=(_FLOW_SCALE,) if one else (1.0,),
        resize=old.resize,
        crop=old.crop,
        antialias=old.antialias,
    )
