"""Saving and loading: one safetensors file for a backbone or a sequence model.

The file of a sequence model is like that of a backbone (`backbones.py`), with the parameters of
the sequence model (`backbone.fc6.recurrent_kernel`, `extra.0.kernel`) and one more entry of
metadata, `sequence`: the call of `surgery.py` that made the model from its backbone, as a JSON
object, for example `{"function": "make_recurrent", "layers": ["fc7"], "cell": "gru"}`. A trained
model says in `inference` how a video becomes its input, and what its outputs are
(`prernn_jax/inference.py`). Networks that are not ours: `foreign_models.py`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import nnx

from prernn_jax import surgery
from prernn_jax.errors import InputError
from prernn_jax.files import architectures, backbones, described
from prernn_jax.files.foreign_models import (
    FOREIGN,
    Builder,
    build_foreign,
    complete_foreign,
    describe_foreign,
)
from prernn_jax.foreign import FoldedModel
from prernn_jax.inference import Inference
from prernn_jax.sequence import OverFrames, SequenceModel

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "make_recurrent": surgery.make_recurrent,
    "stack_recurrent": surgery.stack_recurrent,
    "per_frame": surgery.per_frame,
}


def save(path: str | os.PathLike[str], model: Any, *, overwrite: bool = False) -> None:
    """Writes a backbone, a sequence model or any other nnx network to a safetensors file.

    The file says how the model is built again: its backbone's architecture and sizes, what its
    weights expect of an image, the surgery, and for a trained model how a video becomes its input.
    Of a network that is not ours it says the surgery only: `load` needs the network's builder. The
    file is written under a temporary name first.

    Args:
        path: The file.
        model: A backbone, another network, or what `make_recurrent`, `stack_recurrent` or
            `per_frame` made of one.
        overwrite: Replace an existing file.

    Raises:
        InputError: The model cannot be built again from a file, the file exists, or it cannot be
            written.
    """
    parameters: dict[str, Any]
    if _is_ours(model):
        backbone = model.backbone if isinstance(model, SequenceModel) else model
        arrays, metadata = backbones.describe(backbone)
        if isinstance(model, SequenceModel) and model.made_by is not None:
            metadata["sequence"] = model.made_by
        parameters = {k: np.asarray(v) for k, v in backbones.flat_parameters(model).items()}
        wanted = backbones.flat_shapes(_build(metadata, where="the model"))
        backbones.check_fit(parameters, wanted, where="the model was changed after it was made and")
    elif isinstance(model, nnx.Module):
        parameters, arrays, metadata = describe_foreign(model)
    else:
        raise InputError(f"a {type(model).__name__} cannot be saved; expected an nnx.Module")
    if metadata.get("nonfinite") != "allowed":
        described.check_values(parameters, where="the model")
    if isinstance(model, OverFrames) and model.inference is not None:
        _check_outputs(model, model.inference, parameters, where="the model")
        metadata["inference"] = model.inference.to_json()
    backbones.save_parameters(path, parameters | arrays, metadata, overwrite=overwrite)


def _is_ours(model: Any) -> bool:
    if isinstance(model, SequenceModel):
        return model.made_by is not None and architectures.is_ours(model.backbone)
    return architectures.is_ours(model)


def load(path: str | os.PathLike[str], *, builder: Builder | None = None) -> Any:
    """Reads what `save` wrote, or a backbone that `prernn port` converted.

    Args:
        path: The file.
        builder: Makes the network of a file of a network that is not ours, as it was before it
            became recurrent: its class, or a function without arguments.

    Returns:
        A backbone or a sequence model: the file says which. `model.preprocess` is set when the
        file says what the weights expect, so that `model(model.preprocess(frames))` takes uint8
        RGB frames. `model.inference` is set when it says how a video becomes the input, so that
        `model.predict(video)` works.

    Raises:
        InputError: The file is bad, does not say what it holds, does not fit the model, or needs
            a builder.
    """
    parameters, metadata = backbones.read_parameters(path)
    where = str(path)
    foreign = metadata.get("architecture") == FOREIGN
    if foreign and builder is None:
        raise InputError(
            f"{path} holds a {metadata.get('builder', 'network')}, which only its own code can "
            "build: give pj.load(path, builder=...), the class or a function that makes it"
        )
    if builder is not None and not foreign:
        raise InputError(
            f"{path} holds a {metadata.get('architecture', 'network')} that is built without a "
            "builder; leave builder= out"
        )
    # What the metadata say is checked before anything is built.
    preprocess = backbones.read_preprocessing(parameters, metadata, where=where)
    inference = None
    if "inference" in metadata:
        inference = Inference.from_json(metadata["inference"], where=where)
    if builder is not None:
        model: Any = build_foreign(builder, where=where)
        if "sequence" in metadata:
            call = _call(metadata, len(parameters), where=where)
            model = apply_surgery(model, call)
        complete_foreign(model, parameters, metadata, preprocess, where=where)
    else:
        model = _build(metadata, where=where, arrays=len(parameters))
        backbone = model.backbone if isinstance(model, SequenceModel) else model
        backbones.complete(model, backbone, parameters, metadata, preprocess, where=where)
    if inference is not None and isinstance(model, OverFrames):
        _check_outputs(model, inference, parameters, where=where)
        model.inference = inference
    return model


def _check_outputs(
    model: Any, inference: Inference, parameters: Mapping[str, Any], *, where: str
) -> None:
    """Raises an InputError where a model's output layer is not what its file says of it.

    Of a network that is not ours nobody knows which layer that is; `Predictor` finds out.
    """
    if isinstance(model, SequenceModel):
        kernel = parameters[f"backbone.{model.backbone.head[-1].name}.kernel"]
        inference.check_outputs(kernel.shape[-1], where=where)


def _build(metadata: Mapping[str, str], *, where: str, arrays: int | None = None) -> Any:
    build = build_model if "sequence" in metadata else architectures.build
    return build(metadata, where=where, arrays=arrays)


def build_model(
    metadata: Mapping[str, str], *, where: str = "metadata", arrays: int | None = None
) -> SequenceModel:
    """The sequence model that the metadata describe, with abstract arrays.

    Args:
        metadata: The metadata of a file.
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
    call = _call(metadata, arrays, where=where)
    backbone = architectures.constructor(metadata, where=where, arrays=arrays)
    return architectures.build_abstract(lambda: apply_surgery(backbone(), call), where=where)


def _call(metadata: Mapping[str, str], arrays: int | None, *, where: str) -> dict[str, Any]:
    """The call of `surgery.py` that `sequence` describes, checked."""
    call = _renamed(described.read_json_object(metadata, "sequence", where=where))
    function = call.pop("function", None)
    if function not in tuple(_FUNCTIONS):
        raise InputError(
            f"{where}: `sequence` names the function {function!r}; expected one of "
            f"{', '.join(_FUNCTIONS)}"
        )
    # Only models of networks that are not ours name it.
    output = {"output_layer": call.pop("output_layer")} if "output_layer" in call else {}
    checked = described.checked_arguments(_FUNCTIONS[function], call, arrays, where=where)
    return {"function": function, **checked, **output}


def apply_surgery(
    backbone: nnx.Module, surgery: Mapping[str, Any], *, rngs: nnx.Rngs | None = None
) -> Any:
    """Makes the sequence model that a call of `surgery.py` describes.

    Args:
        backbone: One of our backbones, or another network; left as it was.
        surgery: `function` and its arguments by name.
        rngs: Source of the new weights; seed 0 when None.
    """
    arguments = _renamed(surgery)
    function = arguments.pop("function")
    model: SequenceModel | FoldedModel = _FUNCTIONS[function](backbone, **arguments, rngs=rngs)
    return model


def _renamed(call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = dict(call)
    if arguments.get("function") == "stack_recurrent" and "layers" in arguments:
        arguments["depth"] = arguments.pop("layers")  # what older files call it
    return arguments
