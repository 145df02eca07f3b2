"""The way back: our backbones and trained sequence models as PyTorch state dicts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.files import architectures, backbones, safetensors
from prernn_jax.files import models as saved_model
from prernn_jax.files.atomic import replacing
from prernn_jax.files.described import read_json_object
from weights_port.mapping import Layout, Move
from weights_port.networks import ARCHITECTURES
from weights_port.transforms import AGAIN, TRANSFORMS, Context

MODEL_FILE = "model.safetensors"  # in the folder of a run
_KEPT = ("architecture", "arguments", "variant", "sequence", "preprocessing",
         "inference", "classes")  # fmt: skip


def export(path: Path, out: Path, *, overwrite: bool = False) -> list[str]:
    """Writes a backbone or a sequence model for PyTorch.

    Args:
        path: A safetensors file of ours, or the folder of a run that holds `model.safetensors`.
        out: `.pth` or `.pt` (a state dict; for sequence models under `state_dict`, beside
            `metadata`), or `.safetensors`.
        overwrite: Replace an existing file.

    Returns:
        Lines that say what was written.

    Raises:
        InputError: The file is not ours, torch is missing, or `out` cannot be written.
    """
    if path.is_dir():
        path = path / MODEL_FILE
    if out.suffix not in (".pth", ".pt", ".safetensors"):
        raise InputError(f"{out}: the name must end in .pth, .pt or .safetensors")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; choose another name or give --overwrite")
    arrays, metadata = backbones.read_parameters(path)
    arrays = {k: v for k, v in arrays.items() if not k.startswith("preprocessing.")}
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError("export needs torch: pip install 'prernn-jax[torch]'") from error
    sequence = "sequence" in metadata
    model = saved_model.build_model if sequence else architectures.build
    wanted = backbones.flat_shapes(model(metadata, where=str(path), arrays=len(arrays)))
    backbones.check_fit(arrays, wanted, where=str(path))
    state, layout = (sequence_state if sequence else _backbone)(arrays, metadata)
    kept = {key: metadata[key] for key in _KEPT if key in metadata} | {"layout": layout}
    _write(out, state, kept, bare=not sequence, overwrite=overwrite)
    kind = "sequence model" if sequence else "backbone"
    lines = [f"written: {out}, {kind} of {len(state)} arrays, keys of {layout}"]
    if metadata.get("variant") == "caffe" and not sequence:
        lines.append(
            "note: Caffe's weights under PyTorch's keys: they need Caffe's pooling and strides and "
            "BGR input (weights_port.torch_networks, variant='caffe'); to convert this file again "
            "give --layout caffe-in-torch"
        )
    return lines


def _backbone(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], str]:
    """Arrays under the keys that they came with, or under those of the reference network."""
    from weights_port import reference

    sources, transforms = (
        read_json_object(metadata, name, where="metadata") for name in ("sources", "transforms")
    )
    layout = metadata.get("layout", "")
    moves = {}
    # Keras's names, and arrays that cannot be undone, have no place in a state dict.
    if metadata.get("source_family") == "torch" and not {"kept", *AGAIN} & {*transforms.values()}:
        moves = {t: Move(sources[t], t, transform) for t, transform in transforms.items()}
    fresh = set(json.loads(metadata.get("fresh", "[]")))
    network = _reference(metadata)
    if not moves or moves.keys() != arrays.keys() - fresh:  # from Caffe, or from scratch
        found = _layout(metadata)
        layout = "torch_networks" if found is None else found.name
        moves = reference.reference_moves(network)
    context = Context(reference.last_channels(network))
    state = {
        move.source: TRANSFORMS[move.transform].undo(arrays[target], context)
        for target, move in moves.items()
    }
    return state, layout


def _layout(metadata: Mapping[str, str]) -> Layout | None:
    """The table of PyTorch's files with the reference network's keys."""
    layouts = [
        layout
        for architecture in ARCHITECTURES.values()
        if architecture.backbone == metadata.get("architecture")
        for layout in architecture.layouts
        if layout.family == "torch"
    ]
    fitting = [layout for layout in layouts if layout.variant == metadata.get("variant")]
    return next(iter(fitting + layouts), None)


def sequence_state(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], str]:
    """Arrays under the keys of `torch_sequence.TorchSequence`."""
    from weights_port import reference, torch_sequence

    plain = _reference(metadata)
    moves = reference.reference_moves(plain)
    modules = set(torch_sequence.chosen_modules(metadata, plain)) if _converts(metadata) else set()
    context = Context(reference.last_channels(plain))
    state: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        layer, _, part = name.removeprefix("backbone.").rpartition(".")
        kernel = moves.get(f"{layer.removesuffix('.norm')}.kernel")
        module = None if kernel is None else kernel.source.removesuffix(".weight")
        if not name.startswith("backbone."):  # extra.0.kernel
            key, transform = f"{layer}.{_RECURRENT[part]}", "dense" if part == "kernel" else "same"
        elif kernel is not None and module in modules:
            # A 1x1 convolution's kernel is a matrix once it is recurrent.
            dense = "dense" if kernel.transform == "conv2d" else kernel.transform
            inner = f"norm.{_NORM[part]}" if layer.endswith(".norm") else _RECURRENT[part]
            key, transform = f"backbone.{module}.{inner}", dense if part == "kernel" else "same"
        else:
            move = moves[name.removeprefix("backbone.")]
            key, transform = f"backbone.{move.source}", move.transform
        if part == "recurrent_kernel":
            state[key] = array.reshape(-1, array.shape[-1])  # (G, F, F) -> (G·F, F)
        else:
            state[key] = TRANSFORMS[transform].undo(array, context)
    return state, "torch_sequence"


_RECURRENT = {"kernel": "weight_ih", "bias": "bias", "recurrent_kernel": "weight_hh"}
_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def _converts(metadata: Mapping[str, str]) -> bool:
    return json.loads(metadata["sequence"])["function"] == "make_recurrent"


def _reference(metadata: Mapping[str, str]) -> Any:
    """The reference network without memory for its weights."""
    import torch

    from weights_port import reference

    with torch.device("meta"):
        return reference.build_reference(metadata)


def _write(
    out: Path,
    state: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    bare: bool,
    overwrite: bool,
) -> None:
    if out.suffix == ".safetensors":
        safetensors.write_safely(out, state, metadata, overwrite=overwrite)
        return
    import torch

    tensors = {key: torch.from_numpy(np.array(array, order="C")) for key, array in state.items()}
    try:
        with replacing(out) as temporary:
            torch.save(
                tensors if bare else {"state_dict": tensors, "metadata": dict(metadata)}, temporary
            )
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"cannot write {out}: {error}; check the folder and the free space"
        ) from error
