"""Runs of a program in one process with two devices, and in two with one device each."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 1800  # seconds; other work on the machine may take most of its time


def in_one(program, *flags):
    """Runs the program in one process with two devices."""
    subprocess.run(
        [sys.executable, "-m", f"train.{program}", *flags],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        check=True,
        timeout=PATIENCE,
    )


def in_two(program, *flags, second=()):
    """Runs the program in two processes; `second` are further flags of the second.

    Returns:
        Their exit statuses, and what each has said on stdout and on stderr.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = [
        subprocess.Popen(
            [
                sys.executable, "-m", f"train.{program}", *flags, f"--coordinator=127.0.0.1:{port}",
                "--num_processes=2", f"--process_id={number}", *more,
            ],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, more in enumerate([(), second])
    ]  # fmt: skip
    try:
        texts = [process.communicate(timeout=PATIENCE) for process in running]
    finally:
        for process in running:
            process.kill()
    return [process.returncode for process in running], texts


def lines_of(run):
    """The lines of the log without what depends on the clock."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [
        {k: v for k, v in x.items() if k not in ("sequences_per_s", "data_wait_s")} for x in lines
    ]
