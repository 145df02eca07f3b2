"""Sequence models on disk: one safetensors file, from which the model is built again.

The file is like that of a backbone (`pretrained.py`), with the parameters of the sequence model
(`backbone.fc6.recurrent_kernel`, `extra.0.kernel`) and one more entry of metadata, `sequence`:
the call of `surgery.py` that made the model from its backbone, as a JSON object, for example
`{"function": "make_recurrent", "layers": ["fc7"], "cell": "gru", "outputs": 10}`.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from prernn_jax import surgery
from prernn_jax.errors import InputError
from prernn_jax.files import backbones
from prernn_jax.preprocess import Preprocessing
from prernn_jax.sequence import SequenceModel

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "make_recurrent": surgery.make_recurrent,
    "stack_recurrent": surgery.stack_recurrent,
    "per_frame": surgery.per_frame,
}
_VOLUME = "preprocessing.mean_volume"


def save_model(
    path: str | os.PathLike[str],
    model: SequenceModel,
    backbone_metadata: Mapping[str, str],
    surgery: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Writes a sequence model, under a temporary name first.

    What the backbone's `preprocess` says travels along where the metadata do not say it.

    Args:
        path: The file.
        model: Made by `surgery.make_recurrent`, `stack_recurrent` or `per_frame` from a backbone.
        backbone_metadata: `architecture`, `arguments` and whatever else belongs to the backbone,
            see `pretrained.py`.
        surgery: `function` (the name of one of the three) and its arguments by name, without the
            model and `rngs`.
        overwrite: Replace an existing file.

    Raises:
        InputError: Metadata and call do not give this model again, the file exists, or it cannot
            be written.
    """
    try:
        call = json.dumps(dict(surgery))
    except (TypeError, ValueError) as error:
        raise InputError(f"the surgery's arguments must be what JSON holds: {error}") from error
    metadata = {**backbone_metadata, "sequence": call}
    parameters: dict[str, Any] = dict(backbones.flat_parameters(model))
    wanted = backbones.flat_shapes(build_model(metadata))
    backbones.check_fit(parameters, wanted, where="the model, rebuilt from metadata and surgery,")
    preprocess = getattr(model.backbone, "preprocess", None)
    if isinstance(preprocess, Preprocessing):
        metadata.setdefault("preprocessing", preprocess.to_json())
        if preprocess.mean_volume is not None:
            parameters[_VOLUME] = preprocess.mean_volume
    backbones.save_parameters(path, parameters, metadata, overwrite=overwrite)


def load_model(path: str | os.PathLike[str]) -> SequenceModel:
    """Builds the sequence model that a file describes and fill it with the file's arrays.

    Returns:
        The model, called as `outputs, carry = model(clips, carry=None, lengths=None)`, with
        `model.backbone.preprocess` set when the file says what its weights expect.

    Raises:
        InputError: The file is bad, holds no sequence model, or does not fit the model.
    """
    parameters, metadata = backbones.read_parameters(path)
    model = build_model(metadata, where=str(path))
    volume = parameters.pop(_VOLUME, None)
    backbones.fill(model, parameters, where=str(path))
    if "preprocessing" in metadata:
        model.backbone.preprocess = Preprocessing.from_json(metadata["preprocessing"], volume)
    return model


def build_model(metadata: Mapping[str, str], *, where: str = "metadata") -> SequenceModel:
    """The sequence model that the metadata describe, with abstract arrays.

    Raises:
        InputError: There is no `sequence` in the metadata, or no model can be built from it.
    """
    if "sequence" not in metadata:
        raise InputError(
            f"{where}: no `sequence` in the metadata: the file holds a backbone, not a sequence "
            "model; read it with prernn_jax.files.backbones.load_pretrained"
        )
    call = backbones.read_json_object(metadata, "sequence", where=where)
    name = call.pop("function", None)
    if not isinstance(name, str) or name not in _FUNCTIONS:
        raise InputError(
            f"{where}: `sequence` names the function {name!r}; expected one of "
            f"{', '.join(_FUNCTIONS)}"
        )
    backbone = backbones.constructor(metadata, where=where)
    return backbones.build_abstract(
        lambda: _FUNCTIONS[name](backbone(), **call, rngs=nnx.Rngs(0)), where=where
    )


def apply_surgery(
    backbone: nnx.Module, surgery: Mapping[str, Any], *, rngs: nnx.Rngs
) -> SequenceModel:
    """Makes the sequence model that a surgery call describes, as `save_model` takes it.

    Args:
        backbone: One of our backbones; left as it was.
        surgery: `function` and its arguments by name.
        rngs: Source of the new weights.
    """
    arguments = dict(surgery)
    model: SequenceModel = _FUNCTIONS[arguments.pop("function")](backbone, **arguments, rngs=rngs)
    return model
