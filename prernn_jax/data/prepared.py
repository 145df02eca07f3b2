"""Where prepared data are kept, and how several processes agree on who prepares them."""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from prernn_jax.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EIO)


def data_folder(data_dir: Path | None = None) -> Path:
    """Return where prepared data are kept.

    That is the folder given, else $PRERNN_DATA_DIR, else ~/.cache/prernn_jax.
    """
    given = data_dir or os.environ.get("PRERNN_DATA_DIR") or Path.home() / ".cache" / "prernn_jax"
    return Path(given).expanduser()


def prepare_once(
    make: Callable[[], tfds.core.DatasetBuilder], root: Path, what: str
) -> tfds.core.DatasetBuilder:
    """Return a prepared builder; of several processes one prepares, the others wait for it.

    TFDS writes into a folder of its own and renames it at the end, so an interrupted preparation
    leaves nothing that looks finished; its remains are swept away here, under the lock.

    Args:
      make: makes the builder; called again once the data are there.
      root: the data folder.
      what: for the message to the user.

    Raises:
      InputError: the folder cannot be written.
    """
    with _quiet():
        builder = make()
    final = Path(builder.data_path)
    if (final / "dataset_info.json").is_file():
        return builder
    with writable(root, what):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{builder.name}-{final.parent.name}.lock"), _quiet():
            if not (final / "dataset_info.json").is_file():
                for remains in final.parent.glob("incomplete.*"):
                    shutil.rmtree(remains)
                print(f"preparing {what} in {final} (once)", file=sys.stderr, flush=True)
                make().download_and_prepare()
            return make()


@contextlib.contextmanager
def writable(root: Path, what: str) -> Iterator[None]:
    """Turn the system's refusal to write there into an InputError that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"{what} cannot be written to {root}: the disk is full ({error}); make room and "
                "start again (what is finished stays), or give a folder on another disk"
            ) from error
        if error.errno not in _REFUSED:
            raise
        raise InputError(
            f"{what} cannot be written to {root} ({error}); give a folder that you may write, "
            "or set PRERNN_DATA_DIR"
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock file, and hold it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # freed by the system when the process ends
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TFDS' progress bars, notices and its advice about TensorFlow from the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(level)
