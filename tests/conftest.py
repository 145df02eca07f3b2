"""Strict settings for every test: dtypes, ranks, warnings, and four virtual CPU devices."""

import os
import shutil
import tempfile
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

import jax  # noqa: E402
import pytest  # noqa: E402

_skipped: list[str] = []

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with small pieces of the real data sets; skips where there is none."""
    given = os.environ.get("PRERNN_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set PRERNN_SHARED_DATA)")
    return folder


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remembers what was skipped."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped.append(f"{report.nodeid}: {report.longrepr[2]}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remembers the files that were skipped as a whole."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _skipped.append(f"{report.nodeid}: {report.longrepr[2]}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where PRERNN_NO_SKIPS is set, as in CI, a skipped test fails the run."""
    hidden = [line for line in _skipped if "needs a GPU" not in line]
    if os.environ.get("PRERNN_NO_SKIPS") and hidden and session.exitstatus == 0:
        print("\nskipped, though PRERNN_NO_SKIPS is set:", *hidden, sep="\n  ")
        session.exitstatus = 1


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the compilation cache; with pytest-xdist its first process made it."""
    if _own_cache:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
