"""Strict settings for every test: dtypes, ranks, warnings, and four virtual CPU devices."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)

# Most of the tests' time is compilation, often of one program in several tests and processes.
_own_cache = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if _own_cache:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="prernn-jax-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # see `pytest_runtest_setup`

import jax  # noqa: E402
import pytest  # noqa: E402

_skipped: list[str] = []

# Files that are parity tests as a whole import torch at their top.
_needs_torch = re.compile(
    r"^(import (torch|reference_files)"
    r"|from (torch|reference_files|exported_alike|weights_port\.torch_))",
    re.M,
)
collect_ignore: list[str] = []
if importlib.util.find_spec("torch") is None:
    _tests = Path(__file__).parent
    collect_ignore += [
        str(file.relative_to(_tests))
        for file in sorted(_tests.rglob("test_*.py"))
        if _needs_torch.search(file.read_text())
    ]
    _skipped += [f"{name}: torch is not installed" for name in collect_ignore]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says which files are left out, and why."""
    left_out = ", ".join(collect_ignore)
    return [f"left out, since torch is not installed: {left_out}"] if left_out else []


jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Chooses how a test, its fixtures and the programs that it starts are compiled.

    Compilation is most of the tests' time, and they run small shapes, so the compiler leaves its
    optimisations out, except for tests that are marked `optimised`.
    """
    plain = item.get_closest_marker("optimised") is None
    if jax.config.read("jax_disable_most_optimizations") != plain:
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", plain)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(plain))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with small pieces of the real data sets; skips where there is none."""
    given = os.environ.get("PRERNN_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set PRERNN_SHARED_DATA)")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can make the small file system that this test fills")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is run by night is slow too, so that `-m "not slow"` leaves it out."""
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.slow)


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped.append(f"{report.nodeid}: {report.longrepr[2]}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remembers what was skipped."""
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remembers the files that were skipped as a whole."""
    _note_skip(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where PRERNN_NO_SKIPS is set, as in CI, a skipped test fails the run."""
    if os.environ.get("PRERNN_NO_SKIPS") and _skipped and session.exitstatus == 0:
        print("\nskipped, though PRERNN_NO_SKIPS is set:", *_skipped, sep="\n  ")
        session.exitstatus = 1


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the compilation cache; with pytest-xdist its first process made it."""
    if _own_cache:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
