"""Weights for optical flow from weights for RGB images (cross-modality initialisation)."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from prernn_jax.backbones.cross_modality import FLOW, first_convolution, repeat_mean_channel
from prernn_jax.errors import InputError
from prernn_jax.files import architectures, backbones
from prernn_jax.preprocess import Preprocessing


def flow_init(path: Path, channels: int, out: Path, *, overwrite: bool = False) -> None:
    """Averages the first convolution over its input channels and repeats the mean.

    Nothing is rescaled and the bias is kept (Wang et al., ECCV 2016, section 3.2). The input
    becomes that of the flow streams of the training programs, (value - 128) / 16.

    Args:
        path: A converted backbone.
        channels: 2L for a stack of L flow fields.
        out: The file to write.
        overwrite: Replace `out`.

    Raises:
        InputError: No converted backbone, an impossible number, or `out` cannot be written.
    """
    arrays, metadata = backbones.read_parameters(path)
    model = architectures.build(metadata, where=str(path), arrays=len(arrays))
    backbones.check_fit(
        {k: v for k, v in arrays.items() if not k.startswith("preprocessing.")},
        backbones.flat_shapes(model),
        where=str(path),
    )
    if channels < 2 or channels % 2:
        raise InputError(f"--channels {channels}; expected 2L for L flow fields: 2, 4, ... 20")
    arrays.pop("preprocessing.mean_volume", None)  # of RGB frames
    first = f"{first_convolution(model)}.kernel"
    kernel = repeat_mean_channel(jnp.asarray(arrays[first]), channels)
    arguments = json.loads(metadata.get("arguments", "{}")) | {"in_channels": channels}
    new = dict(metadata)
    new["arguments"] = json.dumps(arguments)
    new["derived"] = f"flow-init: {first} averaged and repeated {channels} times"
    old = Preprocessing.from_json(metadata.get("preprocessing", "{}"))
    flow = dataclasses.replace(FLOW, resize=old.resize, crop=old.crop, antialias=old.antialias)
    new["preprocessing"] = flow.to_json()
    backbones.save_parameters(out, {**arrays, first: np.asarray(kernel)}, new, overwrite=overwrite)
