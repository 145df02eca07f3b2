"""A trained model as the content of an ONNX file."""

from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.export.onnx_graph import require_onnx
from prernn_jax.export.onnx_model import Kind, Names, to_onnx
from prernn_jax.inference import Inference

LARGEST = 2 * 10**9  # bytes that a protobuf file can hold


def frame_shape(inference: Inference) -> tuple[int, ...]:
    """The pictures of one step: (H, W, C), or (L, H, W, C) of gestures."""
    picture = (inference.size, inference.size, inference.channels)
    return (inference.clip_length, *picture) if inference.application == "gesture" else picture


def onnx_bytes(
    model: Any, inference: Inference, kind: Kind, *, gates: bool = False
) -> tuple[bytes, Names]:
    """A model as the content of an ONNX file, which says in its metadata what the model's does.

    Raises:
        InputError: It is too large for such a file, or of a kind that is not written.
    """
    proto, names = to_onnx(model, frame_shape(inference), kind, gates=gates)
    facts = {"inference": inference.to_json(), "preprocessing": model.preprocess.to_json()}
    require_onnx().helper.set_model_props(proto, facts)
    if proto.ByteSize() > LARGEST:
        raise InputError(
            f"the model has {proto.ByteSize() / 1e9:.1f} GB, an ONNX file holds 2: use "
            "--format=stablehlo or --format=torch"
        )
    return proto.SerializeToString(), names
