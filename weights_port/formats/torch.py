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

_DEPTH = 8  # containers in containers that are looked into
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
        f"{path} looks like a PyTorch file but cannot be read ({reason}): truncated or damaged; "
        "take a whole copy, or save it again in PyTorch (torch.save(model.state_dict(), FILE))"
    )


def _unwrapped(loaded: Any, notes: list[str]) -> Any:
    """The state dict inside lists, tuples and dictionaries, where only one of their parts has it.

    Where several parts hold tensors they stay, and their names become prefixes of the keys.
    """
    import torch

    for _ in range(_DEPTH):
        parts = _parts(loaded)
        able = {name: part for name, part in parts.items() if _holds_tensors(part)}
        if len(able) != 1 or isinstance(next(iter(able.values())), torch.Tensor):
            return loaded
        ((name, loaded),) = able.items()
        notes.append(f"the state dict stands under {name!r}")
        others = [str(other) for other in parts if other != name]
        if others:
            notes.append(f"left out, no tensors: {', '.join(others[:8])}")
    return loaded


def _parts(loaded: Any) -> dict[Any, Any]:
    """What a container holds, by name or by number; nothing where it is none."""
    if isinstance(loaded, Mapping):
        return dict(loaded)
    return dict(enumerate(loaded)) if isinstance(loaded, list | tuple) else {}


def _holds_tensors(value: Any) -> bool:
    import torch

    level: list[Any] = [value]
    seen: set[int] = set()
    for _ in range(_DEPTH):
        if any(isinstance(part, torch.Tensor) for part in level):
            return True
        # A pickle may hold one container a thousand times over: each is looked into once.
        fresh = {id(part): part for part in level if id(part) not in seen}
        seen |= fresh.keys()
        level = [inner for part in fresh.values() for inner in _parts(part).values()]
    return False


def _tensors(path: Path, loaded: Any, notes: list[str]) -> dict[str, Any]:
    """All tensors by their dotted names."""
    if not isinstance(loaded, Mapping):
        raise InputError(
            f"{path} holds a {type(loaded).__name__}, expected a state dict (tensors by name); "
            "save model.state_dict()"
        )
    tensors: dict[str, Any] = {}
    others: list[str] = []
    _collect(loaded, "", tensors, others, set())
    if not tensors:
        raise InputError(
            f"{path} holds no tensors under its {len(others)} keys ({', '.join(others[:8])}); "
            "expected a state dict"
        )
    if others:
        notes.append(f"left out, no tensors: {', '.join(others[:8])}")
    return tensors


def _collect(
    value: Any, prefix: str, tensors: dict[str, Any], others: list[str], seen: set[int]
) -> None:
    """Adds the tensors in a container under their dotted names, and the names of the rest."""
    import torch

    seen.add(id(value))
    for name, part in _parts(value).items():
        key = f"{prefix}{name}"
        if isinstance(part, torch.Tensor):
            tensors[key] = part
        elif prefix.count(".") < _DEPTH and id(part) not in seen and _holds_tensors(part):
            _collect(part, f"{key}.", tensors, others, seen)
        else:
            others.append(key)


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
