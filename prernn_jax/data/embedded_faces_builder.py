"""The embedded faces as a TFDS builder: written once to array_record files, read at random."""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow_datasets as tfds

from prernn_jax.data.embedded_faces import EmbeddedFacesConfig, make_face
from prernn_jax.data.face_records import face_features
from prernn_jax.data.records import encode_picture

Kind = Literal["faces", "faces_stills"]
_SPLITS = {
    "faces": {"train": "train", "validation": "validation", "test": "test"},
    "faces_stills": {"train": "static_train", "validation": "static_validation"},
}
QUALITY = 97  # noise is what makes this task hard; it must survive compression


@dataclasses.dataclass(eq=False)
class EmbeddedFacesBuilderConfig(tfds.core.BuilderConfig):
    """What TFDS needs to know: the name is the key of the settings."""

    settings: EmbeddedFacesConfig = dataclasses.field(default_factory=EmbeddedFacesConfig)
    kind: Kind = "faces"


def builder_config(kind: Kind, settings: EmbeddedFacesConfig) -> EmbeddedFacesBuilderConfig:
    """Return the builder's configuration for some settings; every change has its own name."""
    return EmbeddedFacesBuilderConfig(
        name=f"{kind}-{settings.key}",
        description=f"{kind} of {settings}",
        settings=settings,
        kind=kind,
    )


def make_record(settings: EmbeddedFacesConfig, split: str, index: int) -> dict[str, Any]:
    """Draw one sequence as a record (`data.face_records`); its boxes are the whole pictures."""
    clip = make_face(settings, split, index)
    whole = np.array([-0.5, -0.5, settings.size - 0.5, settings.size - 0.5], np.float32)
    return {
        "frames": [io.BytesIO(encode_picture(picture, QUALITY)) for picture in clip.pictures],
        "landmarks": clip.landmarks,
        "boxes": np.tile(whole, (len(clip.pictures), 1)),
        "name": f"{split} {index}",
        "category": "",
    }


class EmbeddedFaces(tfds.core.GeneratorBasedBuilder):
    """Procedural face videos (`faces`), or single frames of other people (`faces_stills`)."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = []

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(features=face_features(), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        names = _SPLITS[self.builder_config.kind]
        return {name: self._generate_examples(stream) for name, stream in names.items()}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        settings = self.builder_config.settings
        for index in range(settings.count(split)):
            yield index, make_record(settings, split, index)
