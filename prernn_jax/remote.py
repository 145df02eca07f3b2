"""Files on other machines (gs://, s3://, az://), by a copy on this one that follows them.

Programs work on local files: they map arrays, read records at random, rename checkpoints. So each
remote place has a mirror in the cache. `refresh` brings what is new there to here, `publish` what
is new here to there: whole files, in the order in which they were written, so that a copy that was
interrupted holds an earlier state.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import replacing, write_json

PACKAGES = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs", "memory": "fsspec", "file": "fsspec"}
"""Scheme of a remote place -> the package that reads it."""
_INDEX = "index.json"
_mirrors: dict[Path, str] = {}
"""Folder here -> the remote place that it mirrors, in this process."""


def cache_folder() -> Path:
    """Returns the folder of what can be made again: $PRERNN_DATA_DIR or ~/.cache/prernn_jax."""
    return Path(os.environ.get("PRERNN_DATA_DIR") or "~/.cache/prernn_jax").expanduser()


def is_remote(text: str) -> bool:
    """Tells whether a text is the address of a remote place, such as gs://bucket/runs."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def local(path: str | os.PathLike[str]) -> Path:
    """Returns a local path as it is, and the mirror of a remote one with all that is there.

    A `pathlib.Path` that was made of an address, and so has lost one of its slashes, stands for it.

    Raises:
        InputError: There is nothing at a remote place, or it cannot be reached.
    """
    text = os.fspath(path)
    scheme, _, rest = text.partition(":/")
    if not is_remote(text) and scheme in PACKAGES and not Path(text).exists():
        text = f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"
    return fetch(text) if is_remote(text) else Path(path)


def mirror(address: str) -> Path:
    """Returns the path here that follows a remote place; nothing is copied yet.

    Args:
        address: Such as s3://bucket/runs.

    Raises:
        InputError: It is no address that can be followed.
    """
    scheme, _, rest = address.rstrip("/").partition("://")
    name = PurePosixPath(rest).name
    if scheme.lower() not in PACKAGES or not name or name.startswith("."):
        known = ", ".join(f"{name}://" for name in PACKAGES if PACKAGES[name] != "fsspec")
        raise InputError(
            f"{address}: expected a local path, or a file or folder at {known}, as gs://bucket/runs"
        )
    digest = hashlib.blake2b(f"{scheme}://{rest}".encode(), digest_size=8).hexdigest()
    folder = cache_folder() / "remote" / f"{scheme.lower()}-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _mirrors[folder / name] = f"{scheme}://{rest}"
    return folder / name


def fetch(address: str) -> Path:
    """Brings a remote file or folder here, as far as it is not here yet.

    Returns:
        Its path here.

    Raises:
        InputError: There is nothing at that place, it cannot be reached, or a package is missing.
    """
    place = mirror(address)
    if not refresh(place):
        raise InputError(f"there is nothing at {address}")
    return place


def refresh(path: Path) -> bool:
    """Brings what is new at a remote place to the local path that follows it.

    A file that is newer here than what was last copied, and has not changed there, stays as it is.

    Args:
        path: A mirror, or a file or folder in one. With other paths there is nothing to do.

    Returns:
        False if there is nothing at that remote place.

    Raises:
        InputError: It cannot be reached, or a package is missing.
    """
    found = _mirror_of(path)
    if found is None:
        return True
    place, address, below = found
    folder = place.parent
    with _reached(address), FileLock(folder / ".lock"):
        system, root = _open(address)
        there = _listing(system, root, below)
        known = _read_index(folder)
        new = [file for file in there if known.get(file, {}).get("there") != there[file][1]]
        if new:
            size = sum(there[file][0] for file in new) / 1e6
            _say(f"copying {address}: {len(new)} files, {size:.0f} MB")
        for file in new:
            target = place / file if file else place
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target, durable=False) as temporary:
                system.get_file(f"{root}/{file}" if file else root, str(temporary))
            known[file] = {"there": there[file][1], "here": _state(target)}
        gone = [file for file in known if file not in there and _lies_in(file, below)]
        for file in gone:
            (place / file).unlink(missing_ok=True)
            del known[file]
        if new or gone:
            write_json(folder / _INDEX, known)
    return bool(there)


def publish(path: Path | None) -> None:
    """Brings what is new below a local path to the remote place that it mirrors, if it does.

    Hidden files, such as locks, stay here.

    Args:
        path: A mirror, or a file or folder in one. Other paths, and None, need nothing.

    Raises:
        InputError: The place cannot be reached or written. What is here stays; the next call goes
            on.
    """
    found = _mirror_of(path)
    if found is None or path is None:
        return
    place, address, below = found
    folder = place.parent
    with _reached(address), FileLock(folder / ".lock"):
        system, root = _open(address)
        known = _read_index(folder)
        here = {
            "" if file == place else file.relative_to(place).as_posix(): file
            for file in ([path] if path.is_file() else sorted(path.rglob("*")))
            if file.is_file() and not _is_hidden(file.relative_to(place))
        }
        new = [name for name in here if known.get(name, {}).get("here") != _state(here[name])]
        for name in sorted(new, key=lambda name: here[name].stat().st_mtime_ns):
            target, state = f"{root}/{name}" if name else root, _state(here[name])
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(here[name]), target)
            known[name] = {"there": _token(system.info(target)), "here": state}
        gone = [name for name in known if name not in here and _lies_in(name, below)]
        for name in gone:
            if system.exists(f"{root}/{name}"):
                system.rm_file(f"{root}/{name}")
            del known[name]
        if new or gone:
            write_json(folder / _INDEX, known)
    if new:
        _say(f"copied to {address}: {len(new)} files")


def shown(path: object) -> str:
    """Returns a path as it was given: the address of a remote place that is mirrored here."""
    found = _mirror_of(path) if isinstance(path, Path) else None
    return f"{found[1]}/{found[2]}".rstrip("/") if found else str(path)


def _mirror_of(path: Path | None) -> tuple[Path, str, str] | None:
    """The mirror in which a path lies, its address, and the name below it."""
    for place, address in _mirrors.items():
        if path is not None and path.is_relative_to(place):
            return place, address, "/".join(path.relative_to(place).parts)
    return None


def _open(address: str) -> tuple[Any, str]:
    package = PACKAGES[address.partition("://")[0].lower()]
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise InputError(f"{address} needs the package {package}: pip install {package}") from error
    return system, root.rstrip("/")


@contextmanager
def _reached(address: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each package has errors of its own
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise InputError(
            f"{address} cannot be reached ({type(error).__name__}: {reason}); is the address "
            "right, and have you the rights and credentials?"
        ) from error


def _listing(system: Any, root: str, below: str) -> dict[str, tuple[int, str]]:
    """The files at a place, by name below the root: size, and what tells it from other versions."""
    system.invalidate_cache()
    start = f"{root}/{below}" if below else root
    if system.isfile(start):
        info = system.info(start)
        return {below: (int(info.get("size") or 0), _token(info))}
    found = {}
    for path, info in system.find(start, detail=True).items():
        name = PurePosixPath(path.removeprefix(root).lstrip("/"))
        if ".." in name.parts or not name.parts:
            raise InputError(f"{path}: this name leads out of its folder; remove it")
        if not _is_hidden(name):
            found[name.as_posix()] = int(info.get("size") or 0), _token(info)
    return found


def _token(info: Mapping[str, Any]) -> str:
    facts = json.dumps({key: str(info[key]) for key in sorted(info)})
    return hashlib.blake2b(facts.encode(), digest_size=8).hexdigest()


def _state(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _lies_in(name: str, folder: str) -> bool:
    return not folder or name == folder or name.startswith(f"{folder}/")


def _is_hidden(name: Path | PurePosixPath) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _read_index(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        found = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return {str(name): dict(entry) for name, entry in found.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}  # everything is copied again


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
