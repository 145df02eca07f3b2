"""Which files a prepared file was made from, so that it never stands for another video.

Each prepared file says it itself. `sources.json` says it for all of them, so that opening a data
set opens none of them. It also remembers that a source has moved without a change.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prernn_jax.data.prepared.lists import Listed
from prernn_jax.data.prepared.record_file import RecordFile
from prernn_jax.errors import InputError

INDEX = "sources.json"
Fingerprint = Mapping[str, str]
"""`path`; `stat`, a digest of names, sizes and times; `content`, a digest of the contents."""


def stat_digest(files: Sequence[Path]) -> str:
    """Returns a digest of names, sizes and modification times."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        facts = path.stat()
        digest.update(f"{path.name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def content_digest(files: Sequence[Path]) -> str:
    """Returns a digest of names and contents. Endings do not count, since they may be renamed."""
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        digest.update(f"{path.stem}\0{content.hexdigest()}\0".encode())
    return digest.hexdigest()


def fingerprint(files: Sequence[Path]) -> Fingerprint:
    """Returns what is remembered about the files that a prepared file is made from.

    Raises:
        InputError: One of them cannot be read.
    """
    try:
        stat = stat_digest(files)
        return {
            "path": str(files[0].absolute()),
            "stat": stat,
            "content": content_digest(files),
        }
    except OSError as error:
        raise InputError(f"{files[0]} cannot be read: {error}") from error


@dataclass
class Compared:
    """The result of comparing prepared files with their sources.

    Attributes:
        todo: Samples that are not prepared.
        changed: Samples whose prepared file was made from other files or does not say from which.
        known: Name -> fingerprint of all other samples.
    """

    todo: list[Listed] = field(default_factory=list)
    changed: list[Listed] = field(default_factory=list)
    known: dict[str, Fingerprint] = field(default_factory=dict)


def compare(
    items: Mapping[Path, Listed],
    files_of: Callable[[Listed], list[Path]],
    known: Mapping[str, Fingerprint],
) -> Compared:
    """Compares prepared files with their sources.

    Contents are read only where name, size or time differ.

    Args:
        items: Path of the prepared file, which may be absent, -> the sample.
        files_of: Returns the files that a sample is made from.
        known: Name -> fingerprint, from `sources.json`.
    """
    result = Compared()
    for path, item in items.items():
        if not path.is_file():
            result.todo.append(item)
            continue
        made_from = known.get(item.name) or stated(path)
        try:
            now = _same(made_from, files_of(item)) if made_from else None
        except InputError:  # preparing it again says what is wrong
            now = None
        if now is None:
            result.changed.append(item)
        else:
            result.known[item.name] = now
    return result


def stated(path: Path) -> Fingerprint | None:
    """Returns what a prepared file itself says of its source; None where it says nothing."""
    try:
        source = RecordFile(path).facts.get("source")
    except InputError:  # damaged
        return None
    return source if isinstance(source, dict) else None


def _same(before: Fingerprint, files: Sequence[Path]) -> Fingerprint | None:
    """Returns the present fingerprint of files that have not changed; otherwise None."""
    if not files:
        return None
    try:
        path, stat = str(files[0].absolute()), stat_digest(files)
        if before.get("path") == path and before.get("stat") == stat:
            return before
        content = content_digest(files)
    except OSError:  # preparing it again says what is wrong
        return None
    if content != before.get("content"):
        return None
    return {"path": path, "stat": stat, "content": content}


def read_index(folder: Path) -> dict[str, Fingerprint]:
    """Returns what `sources.json` knows; nothing if it is absent or damaged."""
    try:
        content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, dict)}
