"""A small file of features of videos: a class shows in some of the features, at some steps."""

from pathlib import Path
from typing import Any

import numpy as np

CLASSES, GROUPS, CLIPS, STEPS, SIZE = 4, 6, 2, 6, 12


def arrays(seed: int = 0) -> dict[str, Any]:
    """Names as in UCF101; the groups 1 and 2 of each class are for testing."""
    rng = np.random.default_rng(seed)
    names, labels, test = [], [], []
    for label in range(CLASSES):
        for group in range(1, GROUPS + 1):
            for clip in range(1, CLIPS + 1):
                names.append(f"Class{label}/v_Class{label}_g{group:02d}_c{clip:02d}.avi")
                labels.append(label)
                test.append(group <= 2)
    features = rng.uniform(0, 1, (len(names), STEPS, SIZE)).astype(np.float32)
    features[np.arange(len(names)), :, labels] += 2
    return {
        "features": features,
        "labels": np.array(labels, np.int16),
        "names": np.array(names),
        "is_test_split1": np.array(test),
    }


def write(path: Path, **changes: Any) -> Path:
    """Writes the file; `name=None` leaves an array out."""
    found = {name: value for name, value in {**arrays(), **changes}.items() if value is not None}
    np.savez(path, **found)
    return path
