"""Where compiled programs are kept, and where nothing is."""

import os
import subprocess
import sys

import pytest

from prernn_jax.compiled import keep_compiled

CODE = """
import os, sys
from pathlib import Path
from prernn_jax.compiled import keep_compiled
if "late" in sys.argv:
    import jax
print(keep_compiled(Path(os.environ["PRERNN_DATA_DIR"]), private=True))
import jax
assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0  # what the user said
assert jax.config.jax_compilation_cache_max_size == 2 * 2**30
print(float(jax.jit(lambda x: x + 1)(1.0)))
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_program_is_kept_for_the_next_process(tmp_path, when):
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["PRERNN_DATA_DIR"] = str(tmp_path / "cache")
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    command = [sys.executable, "-c", CODE, when]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    folder, result = done.stdout.split()
    assert result == "2.0"
    assert folder.startswith(str(tmp_path / "cache" / "compiled"))
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert any(file.stat().st_size for file in tmp_path.rglob("*-cache"))


def test_what_the_user_says_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    assert keep_compiled(tmp_path / "data", private=True) is None
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    (tmp_path / "data").write_text("no folder", encoding="utf-8")
    assert keep_compiled(tmp_path / "data", private=True) is None
    assert not (tmp_path / "data" / "compiled").exists()
