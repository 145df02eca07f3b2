"""The small form of benchmarks/reliability.py: one disturbance of each kind that needs no root."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["kill", "term", "interrupt", "kill_with_workers", "worker", "clock", "twice"]


def test_disturbed_programs_come_to_the_same_end(tmp_path):
    out = tmp_path / "trials.jsonl"
    flags = ["--kinds", *KINDS, "--programs", "face", "prepare", "--trials", "2", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.reliability", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(found) == 2 * len(KINDS)
    assert [trial for trial in found if not trial["survived"]] == []
