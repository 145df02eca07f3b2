"""Features of videos that someone else has computed, read from one npz file.

The file holds `features` (N, T, D), floating point or, with `scale` (D,), integers; `labels` (N,),
class numbers; `names` (N,), the videos' names, different from one another; and one boolean array
(N,), True for the test set: `is_test`, or `is_test_split1` and so on.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError
from prernn_jax.files.npz import NPZ_FAULTS, fault_of, read_npz

_GROUP = re.compile(r"_g(\d+)(?:_|\.|$)")


class VideoFeatures(NamedTuple):
    """A data set of videos as features.

    Attributes:
        features: (N, T, D), as in the file.
        scale: (D,) float32: features times this are the values.
        labels: (N,) class numbers from 0.
        names: (N,) names.
        groups: (N,) numbers: videos cut from the same recording have the same.
        test: (N,) True for the test set.
    """

    features: NDArray[np.number]
    scale: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    groups: NDArray[np.int64]
    test: NDArray[np.bool_]

    def values(self, numbers: NDArray[np.integer], steps: int) -> NDArray[np.float32]:
        """The features of some videos at evenly placed steps, (n, steps, D) float32."""
        count = self.features.shape[1]
        places = ((np.arange(steps) + 0.5) * count / steps).astype(int)
        return self.features[numbers][:, places].astype(np.float32) * self.scale


def read_video_features(path: Path, test: str | None = None) -> VideoFeatures:
    """Reads and checks a file of features.

    Args:
        path: The npz file.
        test: Name of the array that says which videos are for testing; by default the only one
            whose name begins with `is_test`.

    Raises:
        InputError: The file cannot be read, an array is missing, does not fit the others or holds
            values that are no numbers, or a group of a class is in both sets.
    """
    try:
        arrays = read_npz(path)
    except NPZ_FAULTS as error:
        raise InputError(
            f"cannot read {path} as an npz file of features ({fault_of(error)})"
        ) from None

    def wrong(what: str, do: str) -> InputError:
        return InputError(f"{path}: {what}; {do}")

    for name in ("features", "labels", "names"):
        if name not in arrays:
            raise wrong(
                f"no array {name!r}; found {', '.join(arrays) or 'none'}",
                "expected features (N, T, D), labels (N,), names (N,) and is_test (N,)",
            )
    features, labels, names = (arrays[name] for name in ("features", "labels", "names"))
    if features.ndim != 3 or 0 in features.shape or features.dtype.kind not in "fiu":
        raise wrong(
            f"features are {features.dtype} of shape {features.shape}", "expected numbers (N, T, D)"
        )
    count, _, size = features.shape
    found = [name for name in arrays if name.startswith("is_test")]
    if test is None and len(found) != 1:
        raise wrong(
            f"{len(found)} arrays say what is for testing ({', '.join(found) or 'none'})",
            "expected one array is_test (N,); name one of several with --test_set",
        )
    test = test or found[0]
    if test not in arrays:
        raise wrong(f"no array {test!r}", f"found {', '.join(arrays)}")
    for name, kinds in (("labels", "iu"), ("names", "U"), (test, "b")):
        value = arrays[name]
        if value.shape != (count,) or value.dtype.kind not in kinds:
            expected = {"iu": "integers", "U": "texts", "b": "booleans"}[kinds]
            raise wrong(
                f"{name} is {value.dtype} of shape {value.shape}", f"expected {expected} ({count},)"
            )
    scale = arrays.get("scale", np.ones(size, np.float32)).astype(np.float32)
    if scale.shape != (size,):
        raise wrong(f"scale has shape {scale.shape}", f"expected ({size},)")
    finite = np.isfinite(features).all(axis=(1, 2)) if features.dtype.kind == "f" else True
    if not (np.all(finite) and np.isfinite(scale).all()):
        where = "scale" if np.all(finite) else f"features of {names[int(np.argmin(finite))]}"
        raise wrong(f"the {where} hold NaN or infinite values", "compute them anew")
    if labels.min() < 0:
        raise wrong(f"labels from {labels.min()}", "expected class numbers from 0")
    different, first = np.unique(names, return_index=True)
    if len(different) < count:
        twice = names[np.setdiff1d(np.arange(count), first)[0]]
        raise wrong(f"the name {twice} is there twice", "expected different names")
    is_test = arrays[test]
    if is_test.all() or not is_test.any():
        raise wrong(f"{test} leaves one of the two sets empty", "expected videos in both")
    groups = _groups(labels, names)
    both = np.intersect1d(groups[is_test], groups[~is_test])
    if len(both):
        one = names[groups == both[0]]
        raise wrong(
            f"videos of one group are in both sets, such as {one[0]} and {one[-1]}",
            "move each group to one set: they are cut from the same recording",
        )
    return VideoFeatures(features, scale, labels.astype(np.int64), names, groups, is_test)


def _groups(labels: NDArray[np.integer], names: NDArray[np.str_]) -> NDArray[np.int64]:
    """A number for each class and group `_gNN` of a name; a video without one is its own group."""
    keys = []
    for label, name in zip(labels.tolist(), names.tolist(), strict=True):
        match = _GROUP.search(name)
        keys.append(f"{label} {match.group(1)}" if match else f"{label} {name}")
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)
