"""Arrays of any strides written to a file block by block, so that none is held twice."""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

_BLOCK = 64 * 2**20  # bytes that are made contiguous and written at once
_TILE = 32  # columns of a transposed array that are copied at once


class Outgoing(NamedTuple):
    """An array that is converted block by block, while it is written.

    Attributes:
        view: Any strides; its elements in C order are those of the array.
        shape: The array's shape, where it differs from the view's.
        dtype: To which the elements are converted.
    """

    view: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.view.size * self.dtype.itemsize


def write_blocks(file: Any, arrays: Iterable[np.ndarray | Outgoing], digest: Any) -> None:
    """Writes block after block; while one is written, the next is put together.

    Args:
        file: Open for writing.
        arrays: In the order of the file.
        digest: From `hashlib`; takes in all bytes that are written.
    """
    buffers = itertools.cycle([np.empty(_BLOCK, np.uint8), np.empty(_BLOCK, np.uint8)])
    with ThreadPoolExecutor(4) as pool:
        before = [pool.submit(int)]
        for array in arrays:
            for block in _blocks(array, buffers, pool):
                for task in before:
                    task.result()
                content = block.reshape(-1).view(np.uint8).data
                before = [pool.submit(file.write, content), pool.submit(digest.update, content)]
        for task in before:
            task.result()


def _blocks(
    array: np.ndarray | Outgoing, buffers: Iterator[np.ndarray], pool: ThreadPoolExecutor
) -> Iterator[np.ndarray]:
    """The parts of an array of any strides along its first axis, contiguous."""
    view = array.view if isinstance(array, Outgoing) else array
    if array.nbytes == 0:
        return
    if view.flags.c_contiguous and view.dtype == array.dtype:
        yield view
        return
    view = np.atleast_1d(view)
    rows = max(1, _BLOCK * view.shape[0] // array.nbytes)
    for first in range(0, view.shape[0], rows):
        part = view[first : first + rows]
        size = part.size * array.dtype.itemsize
        memory = next(buffers)[:size] if size <= _BLOCK else np.empty(size, np.uint8)
        block = memory.view(array.dtype).reshape(part.shape)
        middle = part.shape[-1] // 2
        halves = (slice(0, middle), slice(middle, None))
        list(pool.map(_fill, [block[..., h] for h in halves], [part[..., h] for h in halves]))
        yield block


def _fill(block: np.ndarray, part: np.ndarray) -> None:
    """Copies in tiles of columns: a transposed matrix is then read by whole cache lines."""
    for column in range(0, part.shape[-1], _TILE):
        block[..., column : column + _TILE] = part[..., column : column + _TILE]
