"""Files of features: what a frozen trunk made of a data set, one npz file a set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prernn_jax.data.prepared.folder import writable
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import replacing
from prernn_jax.files.npz import NPZ_FAULTS, fault_of, read_npz


class FeatureSet:
    """Samples whose steps are features already.

    Args:
        arrays: By name, each (N, ...): `features` (N, T, ...), an array or a tuple of arrays, and
            what else a batch holds.
    """

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = dict(arrays)

    def __len__(self) -> int:
        return len(self.arrays["labels"])

    def rows(self, numbers: Any) -> dict[str, Any]:
        """The samples with these numbers: one where it is an integer, else a batch."""
        return {
            name: tuple(part[numbers] for part in value)
            if isinstance(value, tuple)
            else value[numbers]
            for name, value in self.arrays.items()
        }


def write_features(path: Path, found: FeatureSet, about: Mapping[str, Any]) -> None:
    """Writes a set to an npz file, under a temporary name first.

    Args:
        path: The file; its folder is made.
        found: The set.
        about: What decides the features, JSON values.

    Raises:
        InputError: The folder cannot be written.
    """
    flat: dict[str, Any] = {"about": np.array(json.dumps(about, sort_keys=True))}
    for name, value in found.arrays.items():
        if isinstance(value, tuple):
            flat |= {f"{name}.{place}": part for place, part in enumerate(value)}
        else:
            flat[name] = value
    with writable(path.parent, path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.savez(temporary, **flat)


def read_features(path: Path, about: Mapping[str, Any]) -> FeatureSet:
    """Reads what `write_features` wrote.

    Raises:
        InputError: The file is damaged, or is about something else.
    """
    try:
        flat: dict[str, Any] = dict(read_npz(path))
        said = json.loads(str(flat.pop("about")))
    except NPZ_FAULTS as error:
        raise InputError(
            f"the features in {path} are damaged ({fault_of(error)}); delete the file: they are "
            "computed anew"
        ) from None
    if said != json.loads(json.dumps(about)):
        raise InputError(
            f"the features in {path} were computed from other data or weights; delete the file: "
            "they are computed anew"
        )
    arrays: dict[str, Any] = {n: value for n, value in flat.items() if "." not in n}
    parts = sorted(name for name in flat if "." in name)
    for name in dict.fromkeys(name.split(".")[0] for name in parts):
        arrays[name] = tuple(flat[part] for part in parts if part.startswith(f"{name}."))
    return FeatureSet(arrays)
