"""Saving and loading: one safetensors file for a backbone or a sequence model.

The file of a sequence model is like that of a backbone (`backbones.py`), with the parameters of
the sequence model (`backbone.fc6.recurrent_kernel`, `extra.0.kernel`) and one more entry of
metadata, `sequence`: the call of `surgery.py` that made the model from its backbone, as a JSON
object, for example `{"function": "make_recurrent", "layers": ["fc7"], "cell": "gru"}`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import nnx

from prernn_jax import surgery
from prernn_jax.errors import InputError
from prernn_jax.files import backbones, described
from prernn_jax.sequence import SequenceModel

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "make_recurrent": surgery.make_recurrent,
    "stack_recurrent": surgery.stack_recurrent,
    "per_frame": surgery.per_frame,
}


def save(path: str | os.PathLike[str], model: Any, *, overwrite: bool = False) -> None:
    """Writes a backbone or a sequence model to a safetensors file.

    The file says how the model is built again: its backbone's architecture and sizes, what its
    weights expect of an image, and the surgery. It is written under a temporary name first.

    Args:
        path: The file.
        model: A backbone, or what `make_recurrent`, `stack_recurrent` or `per_frame` made of one.
        overwrite: Replace an existing file.

    Raises:
        InputError: The model cannot be built again from a file, the file exists, or it cannot be
            written.
    """
    backbone = model.backbone if isinstance(model, SequenceModel) else model
    arrays, metadata = backbones.describe(backbone)
    if isinstance(model, SequenceModel):
        if model.made_by is None:
            raise InputError(
                "this SequenceModel was put together by hand, so a file cannot say how to build "
                "it; make it with make_recurrent, stack_recurrent or per_frame"
            )
        metadata["sequence"] = model.made_by
    parameters: dict[str, Any] = {
        name: np.asarray(value) for name, value in backbones.flat_parameters(model).items()
    }
    if metadata.get("nonfinite") != "allowed":
        described.check_values(parameters, where="the model")
    wanted = backbones.flat_shapes(_build(metadata, where="the model"))
    backbones.check_fit(parameters, wanted, where="the model was changed after it was made and")
    backbones.save_parameters(path, parameters | arrays, metadata, overwrite=overwrite)


def load(path: str | os.PathLike[str]) -> Any:
    """Reads what `save` wrote, or a backbone that `prernn port` converted.

    Returns:
        A backbone or a sequence model: the file says which. `model.preprocess` is set when the
        file says what the weights expect, so that `model(model.preprocess(frames))` takes uint8
        RGB frames.

    Raises:
        InputError: The file is bad, does not say what it holds, or does not fit the model.
    """
    parameters, metadata = backbones.read_parameters(path)
    model = _build(metadata, where=str(path), arrays=len(parameters))
    backbone = model.backbone if isinstance(model, SequenceModel) else model
    backbones.complete(model, backbone, parameters, metadata, where=str(path))
    return model


def _build(metadata: Mapping[str, str], *, where: str, arrays: int | None = None) -> Any:
    build = build_model if "sequence" in metadata else backbones.build
    return build(metadata, where=where, arrays=arrays)


def build_model(
    metadata: Mapping[str, str], *, where: str = "metadata", arrays: int | None = None
) -> SequenceModel:
    """The sequence model that the metadata describe, with abstract arrays.

    Args:
        metadata: Of a file.
        where: What to call the file in messages.
        arrays: How many arrays it holds; no model of more layers is built.

    Raises:
        InputError: There is no `sequence` in the metadata, or no model can be built from it.
    """
    if "sequence" not in metadata:
        raise InputError(
            f"{where}: no `sequence` in the metadata; the file holds a backbone, not a sequence "
            "model"
        )
    call = _renamed(described.read_json_object(metadata, "sequence", where=where))
    function = call.pop("function", None)
    if function not in tuple(_FUNCTIONS):
        raise InputError(
            f"{where}: `sequence` names the function {function!r}; expected one of "
            f"{', '.join(_FUNCTIONS)}"
        )
    checked = described.checked_arguments(_FUNCTIONS[function], call, arrays, where=where)
    call = {"function": function, **checked}
    backbone = backbones.constructor(metadata, where=where, arrays=arrays)
    return backbones.build_abstract(lambda: apply_surgery(backbone(), call), where=where)


def apply_surgery(
    backbone: nnx.Module, surgery: Mapping[str, Any], *, rngs: nnx.Rngs | None = None
) -> SequenceModel:
    """Makes the sequence model that a call of `surgery.py` describes.

    Args:
        backbone: One of our backbones; left as it was.
        surgery: `function` and its arguments by name.
        rngs: Source of the new weights; seed 0 when None.
    """
    arguments = _renamed(surgery)
    function = arguments.pop("function")
    model: SequenceModel = _FUNCTIONS[function](backbone, **arguments, rngs=rngs)
    return model


def _renamed(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = dict(call)
    if arguments.get("function") == "stack_recurrent" and "layers" in arguments:
        arguments["depth"] = arguments.pop("layers")  # what older files call it
    return arguments
