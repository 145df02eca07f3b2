"""Compiled programs are kept on disk, so that the next start of a command finds them."""

import hashlib
import os
import platform
import sys
from pathlib import Path

_LARGEST = 2 * 2**30  # bytes of all programs; beyond, those that were not used longest go
_FOLDER, _SIZE = "jax_compilation_cache_dir", "jax_compilation_cache_max_size"


def keep_compiled(cache: Path, *, private: bool) -> Path | None:
    """Has JAX keep the programs that it compiles, and look for them before it compiles.

    $JAX_COMPILATION_CACHE_DIR names another folder; where it is empty nothing is kept.

    Args:
        cache: The folder of all that can be made again.
        private: Whether it is for its owner only, if it has to be made.

    Returns:
        The folder; None where nothing can be written, or JAX was told otherwise.
    """
    if _FOLDER.upper() in os.environ:
        return None
    folder = cache / "compiled" / _processor()
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.mkdir(mode=0o700 if private else 0o777, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    if "jax" not in sys.modules:  # a command that does without JAX does not import it
        os.environ[_FOLDER.upper()] = str(folder)
        os.environ.setdefault(_SIZE.upper(), str(_LARGEST))
        return folder
    import jax

    jax.config.update(_FOLDER, str(folder))
    jax.config.update(_SIZE, _LARGEST)
    return folder


def _processor() -> str:
    """A name for this kind of processor: programs for a CPU use its instructions."""
    text = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:12]
