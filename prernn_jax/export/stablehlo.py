"""A sequence model as StableHLO (`jax.export`): one file for cpu, cuda and tpu, of any batch."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax import streaming
from prernn_jax.errors import InputError
from prernn_jax.export.onnx_model import Kind
from prernn_jax.precision import products_in

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(model: Any, frame_shape: Sequence[int], kind: Kind) -> bytes:
    """Writes a model with its weights as a serialised function.

    The function takes `frames` and each part of the carry, and returns the outputs and each part
    of the next carry: `jax.export.deserialize(data).call(frames, *carry)`. Frames are as for
    `to_onnx`. Products are in float32 on every device.

    Args:
        model: A sequence model, for evaluation.
        frame_shape: (H, W, C) of a picture, or (L, H, W, C).
        kind: One step (B, ...), or a whole sequence (B, T, ...); B and T are symbolic.

    Raises:
        InputError: The package flatbuffers is missing.
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError:
        raise InputError(
            "--format=stablehlo needs the package flatbuffers: pip install flatbuffers"
        ) from None
    from jax import export

    graphdef, state = nnx.split(model)
    treedef = jax.tree.structure(streaming.init(model, 1))
    preprocess = getattr(model.network_of_frames, "preprocess", None)

    @products_in("float32")
    def run(frames: Any, *parts: Any) -> Any:
        here = nnx.merge(graphdef, state)
        x = frames if preprocess is None else preprocess.normalise(frames)
        x = x[:, None] if kind == "step" else x
        outputs, carry = here(x, carry=jax.tree.unflatten(treedef, parts))
        return (outputs[:, 0] if kind == "step" else outputs, *jax.tree.leaves(carry))

    axes = export.symbolic_shape("batch" if kind == "step" else "batch, time")
    parts = jax.tree.leaves(streaming.init(model, 1))
    specs = [
        jax.ShapeDtypeStruct((*axes, *frame_shape), jnp.float32),
        *(jax.ShapeDtypeStruct((axes[0], part.shape[1]), part.dtype) for part in parts),
    ]
    exported = export.export(jax.jit(run), platforms=PLATFORMS)(*specs)
    return bytes(exported.serialize())
