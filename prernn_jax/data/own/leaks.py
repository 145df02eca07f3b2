"""What would show the test what was trained on: frames, copies or groups in two parts."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from prernn_jax.data.own.rows import Row
from prernn_jax.errors import InputError

Sample = TypeVar("Sample", bound=Row)


def refuse_leaks(
    parts: Mapping[str, Sequence[Sample]], files_of: Callable[[Sample], tuple[Path, ...]]
) -> None:
    """Refuses a split of which two parts share something.

    Args:
        parts: Part -> its samples.
        files_of: The video of a sample, or its pictures in their order.

    Raises:
        InputError: Frames are in two parts, under whatever name, link or label; or a video is a
            copy of one in another part; or a list puts one group into two parts.
    """
    _refuse_divided_groups(parts)
    leaks = list(_shared(parts, files_of))
    if leaks:
        more = f" (and {len(leaks) - 1} more such videos)" * (len(leaks) > 1)
        raise InputError(f"{leaks[0]}: the test would show what was trained on; remove one{more}")


def _refuse_divided_groups(parts: Mapping[str, Sequence[Row]]) -> None:
    seen: dict[str, tuple[str, Row]] = {}
    for part, rows in parts.items():
        for row in (row for row in rows if row.stated):
            before, other = seen.setdefault(row.group, (part, row))
            if before != part:
                raise InputError(
                    f"{row.where}: the group {row.group!r} is in {part}, and in {before} too "
                    f"({other.where}): the test would show what was trained on; give the group one "
                    "split, or give two groups two names"
                )


def _shared(
    parts: Mapping[str, Sequence[Sample]], files_of: Callable[[Sample], tuple[Path, ...]]
) -> Iterator[str]:
    """Says of each sample that has frames of an earlier part where else they are."""
    samples = [(part, row, files_of(row)) for part, rows in parts.items() for row in rows]
    contents = _contents([(part, files) for part, _, files in samples])
    seen: dict[Hashable, list[tuple[str, Row]]] = defaultdict(list)
    for (part, row, files), content in zip(samples, contents, strict=True):
        # a link is the file that it names; a copy is known by its content
        keys = {file.resolve() for file in files} | ({content} if content else set())
        others = [pair for key in keys for pair in seen[key]]
        for before, other in others:
            apart = (row.stop is not None and row.stop <= other.start) or (
                other.stop is not None and other.stop <= row.start
            )
            if before != part and not apart:
                yield (
                    f"{row.where or row.video}: {row.video.name} is in {part}, and frames of it "
                    f"are in {before} too ({other.where or other.video})"
                )
                break
        for key in keys:
            seen[key].append((part, row))


def _contents(samples: Sequence[tuple[str, tuple[Path, ...]]]) -> list[str | None]:
    """A digest of the files of each sample that may be a copy of one in another part.

    Sizes are compared first, so that hardly a file is read: only samples whose files have the same
    sizes as those of another part have a digest; the others have None.
    """
    sizes = [_sizes(files) for _, files in samples]
    where = defaultdict(set)
    for (part, _), size in zip(samples, sizes, strict=True):
        where[size].add(part)
    return [
        _digest(files) if size and len(where[size]) > 1 else None
        for (_, files), size in zip(samples, sizes, strict=True)
    ]


def _sizes(files: Sequence[Path]) -> tuple[int, ...]:
    """The sizes of files; none where one of them is missing, of which others tell."""
    try:
        sizes = tuple(file.stat().st_size for file in files)
    except OSError:
        return ()
    return sizes if any(sizes) else ()


def _digest(files: Sequence[Path]) -> str | None:
    digest = hashlib.sha256()
    try:
        for path in files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError:  # the preparation tells of it
        return None
    return digest.hexdigest()
