"""The embedded faces as a TFDS builder: written once to array_record files, read at random."""

import functools
import io
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import tensorflow_datasets as tfds

from prernn_jax.data.drawn.builder import DrawnBuilder, DrawnConfig, drawn_splits
from prernn_jax.data.drawn.faces import EmbeddedFacesConfig, make_face
from prernn_jax.data.face.records import face_features
from prernn_jax.data.records import RandomAccessSource, encode_picture

Kind = Literal["faces", "faces_stills"]
_SPLITS = {
    "faces": {"train": "train", "validation": "validation", "test": "test"},
    "faces_stills": {"train": "static_train", "validation": "static_validation"},
}
QUALITY = 97  # noise is what makes this task hard; it must survive compression


def make_record(
    settings: EmbeddedFacesConfig, kind: Kind, split: str, index: int
) -> dict[str, Any]:
    """Draws one sequence as a record of `data.face.records`; its boxes are the whole pictures."""
    stream = _SPLITS[kind][split]
    clip = make_face(settings, stream, index)
    whole = np.array([-0.5, -0.5, settings.size - 0.5, settings.size - 0.5], np.float32)
    return {
        "frames": [io.BytesIO(encode_picture(picture, QUALITY)) for picture in clip.pictures],
        "landmarks": clip.landmarks,
        "boxes": np.tile(whole, (len(clip.pictures), 1)),
        "name": f"{stream} {index}",
        "category": "",
    }


class EmbeddedFaces(DrawnBuilder):
    """Procedural face videos (`faces`), or single frames of other people (`faces_stills`)."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = []


def embedded_splits(
    kind: Kind, settings: EmbeddedFacesConfig, cache_dir: Path | None
) -> dict[str, RandomAccessSource]:
    """Returns the splits of one kind; see `drawn_splits`."""
    config = DrawnConfig(
        name=f"{kind}-{settings.key}",
        description=f"{kind} of {settings}",
        features=face_features(),
        counts={name: settings.count(stream) for name, stream in _SPLITS[kind].items()},
        draw=functools.partial(make_record, settings, kind),
        facts={"opencv": cv2.__version__},
        frames=settings.frames if kind == "faces" else 1,
    )
    return drawn_splits(EmbeddedFaces, config, cache_dir, f"the embedded {kind}")
