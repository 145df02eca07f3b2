"""Compiled programs are kept on disk, so that the next start of a command finds them."""

import hashlib
import os
import platform
import sys
from pathlib import Path

_FOLDER = "jax_compilation_cache_dir"
_SETTINGS = {
    "jax_compilation_cache_max_size": 2 * 2**30,  # bytes; beyond, the programs used longest ago go
    # Seconds of compiling. JAX's own limit of 1 s costs 3 s at each start of a program.
    "jax_persistent_cache_min_compile_time_secs": 0.2,
}


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
    early = "jax" not in sys.modules  # a command that does without JAX does not import it
    for name, value in {_FOLDER: str(folder), **_SETTINGS}.items():
        if name.upper() in os.environ:
            continue
        if early:
            os.environ[name.upper()] = str(value)
        else:
            import jax

            jax.config.update(name, value)
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
