"""The face data sets as the training program sees them: random-access splits of records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.embedded_faces import EmbeddedFacesConfig
from prernn_jax.data.embedded_faces_builder import EmbeddedFaces, Kind, builder_config
from prernn_jax.data.prepared import data_folder, prepare_once
from prernn_jax.data.records import PreparedSplit, RandomAccessSource


@dataclass(frozen=True)
class FaceData:
    """A data set of face videos.

    Attributes:
      splits: name of a split -> its records (prernn_jax.data.face_records).
      size: side in pixels of the square picture that a network should be given.
    """

    splits: Mapping[str, RandomAccessSource]
    size: int


def embedded_faces(
    data_dir: Path | None = None, config: EmbeddedFacesConfig | None = None
) -> FaceData:
    """Return the embedded faces; draws them first where that has not been done yet.

    Args:
      data_dir: where to keep them; by default see `data_folder`.
      config: what to draw; its key is part of the folder's name.

    Returns:
      Splits train, validation and test.

    Raises:
      InputError: the folder cannot be written.
    """
    return _embedded("faces", config or EmbeddedFacesConfig(), data_dir)


def embedded_face_stills(
    data_dir: Path | None = None, config: EmbeddedFacesConfig | None = None
) -> FaceData:
    """Return single frames of other people for pre-training; splits train and validation.

    Arguments and errors are those of `embedded_faces`.
    """
    return _embedded("faces_stills", config or EmbeddedFacesConfig(), data_dir)


def _embedded(kind: Kind, settings: EmbeddedFacesConfig, data_dir: Path | None) -> FaceData:
    root = data_folder(data_dir)

    def make() -> EmbeddedFaces:
        config = builder_config(kind, settings)
        return EmbeddedFaces(data_dir=str(root), config=config, file_format="array_record")

    builder = prepare_once(make, root, f"the embedded {kind}")
    splits = {name: PreparedSplit(Path(builder.data_path), name) for name in builder.info.splits}
    return FaceData(splits, settings.size)
