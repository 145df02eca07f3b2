"""Files of encoded pictures (array_record), one for each sample, read picture by picture."""

import contextlib
import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_record.python import array_record_module

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import replacing


class RecordFile:
    """An array_record file whose last record is a JSON object that says how it was made.

    Attributes:
        facts: That JSON object.

    Raises:
        InputError: There is no such file, or it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
        count = self._reader.num_records()
        if count == 0:  # so the library reports an absent or a damaged file
            raise self._damaged()
        try:
            self.facts: dict[str, Any] = dict(json.loads(self.read(count - 1)))
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged() from error

    def _damaged(self) -> InputError:
        return InputError(
            f"the prepared file {self._path} is absent or damaged; delete it and prepare it again"
        )

    def read(self, number: int) -> bytes:
        """Returns one record.

        Raises:
            InputError: The record is damaged; the message names the file.
        """
        try:
            data: bytes = self._reader.read([number])[0]
        except (RuntimeError, IndexError, ValueError, OSError) as error:  # a checksum is wrong
            raise self._damaged() from error
        return data

    def pictures(self, first: int, step: int, count: int) -> Sequence[bytes]:
        """Returns `count` records, every `step`-th from `first` on, each read when it is needed."""
        return _Pictures(self, range(first, first + step * count, step))


class _Pictures(Sequence[bytes]):
    """The encoded pictures of one kind; each is read when it is needed."""

    def __init__(self, file: RecordFile, places: range) -> None:
        self._file, self._places = file, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        return self._file.read(self._places[int(index)])


@contextlib.contextmanager
def record_writer(target: Path) -> Iterator[Callable[[bytes], Any]]:
    """Writes an array_record file that appears under its name when it is complete.

    Yields:
        A function that appends a record. The last record must be `closing_record`.

    Raises:
        OSError: The file cannot be written, for instance because the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, durable=False) as temporary:
        # The pictures are JPEG already: no compression. Groups of one allow random access.
        writer = array_record_module.ArrayRecordWriter(str(temporary), "group_size:1,uncompressed")
        try:
            yield writer.write
        finally:
            try:
                writer.close()  # it reports the faults of earlier writes too
            except RuntimeError as error:
                full = "No space left" in str(error)
                raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def closing_record(facts: Mapping[str, Any]) -> bytes:
    """Returns the last record of a file."""
    return json.dumps(facts).encode()
