"""A set of clips of which each stands for eight: turned by quarters and mirrored."""

from collections.abc import Sequence

from prernn_jax.data.media.square import SYMMETRIES
from prernn_jax.data.records import RandomAccessSource, Record


class Turned:
    """Records of a source, each in all eight symmetries of the square one after the other.

    A record says its `symmetry`, which the loader applies to the decoded pictures; `label` and
    `spatial_label` are those of the turned clip.

    Args:
        source: Records of square pictures.
        labels: [symmetry][label]: the label after the symmetry.
        spatial_labels: The same for `spatial_label`.
    """

    def __init__(
        self,
        source: RandomAccessSource,
        labels: Sequence[Sequence[int]],
        spatial_labels: Sequence[Sequence[int]],
    ) -> None:
        self._source = source
        self._labels, self._spatial_labels = labels, spatial_labels

    def __len__(self) -> int:
        return SYMMETRIES * len(self._source)

    def __getitem__(self, index: int) -> Record:
        number, symmetry = divmod(index, SYMMETRIES)
        record = self._source[number]
        return {
            **record,
            "symmetry": symmetry,
            "label": self._labels[symmetry][int(record["label"])],
            "spatial_label": self._spatial_labels[symmetry][int(record["spatial_label"])],
            "name": f"{record['name']}, symmetry {symmetry}",
        }
