"""The scripts in examples/ run as they are, and say what they should."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_it_runs(script, tmp_path, monkeypatch, capsys):
    if script.stem == "onnx_step":
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    said = capsys.readouterr().out
    assert said
    for number in re.findall(r"(?:parts|again|sequence|JAX): ([0-9.e-]+)", said):
        assert float(number) < 1e-4


def test_they_are_short():
    scripts = list(EXAMPLES.glob("*.py"))
    assert len(scripts) >= 4
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60
