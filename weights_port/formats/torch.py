"""Files of PyTorch: the zip format, the old pickle format, and the wrappers around state dicts.

Only `torch.load(weights_only=True)` reads them: a pickle that wants to run code is refused.
"""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prernn_jax.errors import InputError
from weights_port.formats.numpy_scalars import STAND_INS
from weights_port.formats.source import Source

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "module", "params")
_PREFIXES = ("module.", "backbone.", "model.")
# In torch's message when a pickle names something that is not on its list of harmless types.
_CODE = r"unsupported (global|class|operand)|unrecognized function|cannot instantiate"
# What torch has been seen to raise on truncated and damaged files besides UnpicklingError.
_DAMAGE = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, OSError,
    EOFError, ArithmeticError, ImportError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip


def read_torch(path: Path, *, zipped: bool) -> Source:
    """Reads the state dict of a `.pth`, `.pt` or `.pickle` file without running anything in it.

    Args:
        path: The file.
        zipped: Whether it is of the zip format, which is mapped and not read.

    Raises:
        InputError: Torch is missing, or the file is damaged, wants to run code or holds no state
            dict.
    """
    loaded = load_safely(path, zipped=zipped)
    notes: list[str] = []
    tensors = _tensors(path, _unwrapped(loaded, notes), notes)
    tensors = _without_prefixes(path, tensors, notes)
    arrays = {key: _to_numpy(path, key, tensor) for key, tensor in tensors.items()}
    metadata = _metadata(loaded)
    kind = "torch zip" if zipped else "torch legacy"
    return Source(path, kind, "torch", arrays, notes, metadata)


def load_safely(path: Path, *, zipped: bool) -> Any:
    """What a file of PyTorch holds, read without running anything in it.

    Args:
        path: The file.
        zipped: Whether it is of the zip format, which is mapped and not read.

    Raises:
        InputError: Torch is missing, or the file is damaged or wants to run code.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{path} is a PyTorch file, and torch is not installed: "
            "pip install 'prernn-jax[torch]', or save it as .safetensors elsewhere"
        ) from error
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(STAND_INS):
            warnings.simplefilter("ignore")  # about torch's own old storages
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        reason = _reason(error)
        if re.search(_CODE, str(error), re.IGNORECASE):
            raise InputError(
                f"{path} wants to run code or holds a whole model, not only weights ({reason}); "
                "nothing was run. Ask for a file of its state dict (torch.save(model.state_dict()))"
            ) from error
        raise InputError(_damaged(path, reason)) from error
    except _DAMAGE as error:
        raise InputError(_damaged(path, _reason(error))) from error
    return loaded


def _reason(error: Exception) -> str:
    """The line of torch's long message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if re.search(_CODE, line, re.IGNORECASE)] or lines
    return (lines or [type(error).__name__])[0][:200]


def _damaged(path: Path, reason: str) -> str:
    return (
        f"{path} looks like a PyTorch file but cannot be read ({reason}): truncated, damaged "
        "or no state dict; download it again"
    )


def _unwrapped(loaded: Any, notes: list[str]) -> Any:
    """The state dict inside the usual wrappers."""
    for _ in range(len(_WRAPPERS)):
        if not isinstance(loaded, Mapping):
            return loaded
        name = next((n for n in _WRAPPERS if isinstance(loaded.get(n), Mapping)), None)
        if name is None:
            return loaded
        notes.append(f"the state dict stands under {name!r}")
        loaded = loaded[name]
    return loaded


def _tensors(path: Path, loaded: Any, notes: list[str]) -> dict[str, Any]:
    import torch

    if not isinstance(loaded, Mapping):
        raise InputError(
            f"{path} holds a {type(loaded).__name__}, expected a state dict (tensors by name); "
            "save model.state_dict()"
        )
    tensors = {str(k): v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
    others = [str(k) for k, v in loaded.items() if not isinstance(v, torch.Tensor)]
    if not tensors:
        raise InputError(
            f"{path} holds no tensors under its {len(others)} keys ({', '.join(others[:8])}); "
            "expected a state dict"
        )
    if others:
        notes.append(f"left out, no tensors: {', '.join(others[:8])}")
    return tensors


def _without_prefixes(path: Path, tensors: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Keys without what DataParallel and recognisers put before them."""
    stripped: set[str] = set()
    result: dict[str, Any] = {}
    for key, tensor in tensors.items():
        name = key
        while prefix := next((p for p in _PREFIXES if name.startswith(p)), None):
            stripped.add(prefix)
            name = name.removeprefix(prefix)
        if name in result:
            raise InputError(
                f"{path} has {name!r} twice, under different prefixes; save one network only"
            )
        result[name] = tensor
    if stripped:
        notes.append(f"prefixes taken off the keys: {', '.join(sorted(stripped))}")
    return result


def _to_numpy(path: Path, key: str, tensor: Any) -> np.ndarray:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise InputError(f"{path}: {key} is sparse or quantised; expected an ordinary tensor")
    tensor = tensor.detach()
    if tensor.is_complex():
        raise InputError(f"{path}: {key} is complex; expected real numbers")
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.to(torch.float32)  # numpy has no such type
    return tensor.numpy()


def _metadata(loaded: Any) -> dict[str, str]:
    """What `export` put beside the state dict."""
    metadata = loaded.get("metadata") if isinstance(loaded, Mapping) else None
    if not isinstance(metadata, Mapping):
        return {}
    return {k: v for k, v in metadata.items() if isinstance(k, str) and isinstance(v, str)}
