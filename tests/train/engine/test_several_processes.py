"""Several processes on 127.0.0.1: equal to one, and what happens when one of them ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import several_program

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("several_program.py")
EPOCHS = 6
RESUME = "start all processes again with --resume"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(devices):
    paths = [str(ROOT), str(ROOT / "tests")]
    return {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": os.pathsep.join(paths),
    }


class Group:
    """Processes of a command; `{number}` and `{address}` in it differ."""

    def __init__(self, command, count, devices):
        address = f"127.0.0.1:{free_port()}"
        self.processes = [
            subprocess.Popen(
                [word.format(number=number, address=address) for word in command],
                env=environment(devices // count),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]

    def end(self, seconds=300):
        """Their exit statuses, and what each has said on stdout and on stderr."""
        try:
            texts = [process.communicate(timeout=seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.stdout.close()
                process.stderr.close()
        return [process.returncode for process in self.processes], texts


def start(folder, count, devices=2, pause=0.0):
    command = [sys.executable, str(PROGRAM), str(folder), str(devices), str(EPOCHS), str(pause)]
    return Group([*command, "{address}", str(count), "{number}"], count, devices)


def result(folder, number=0):
    with np.load(folder / f"result-{number}.npz") as file:
        return {name: file[name] for name in file.files}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)
        assert values.dtype == second[name].dtype


def assert_close(first, second):
    """Equal but for the last bits."""
    assert first.keys() == second.keys()
    np.testing.assert_array_equal(first["video"], second["video"])
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process with two devices found.

    A process of its own: the number of virtual devices that a process has changes the last bits.
    """
    folder = tmp_path_factory.mktemp("alone")
    statuses, texts = start(folder, 1).end()
    assert statuses == [0], texts
    return result(folder)


def test_two_processes_equal_one_bit_for_bit(alone, tmp_path):
    statuses, texts = start(tmp_path, 2).end()
    assert statuses == [0, 0], texts
    assert len(alone["video"]) == 14
    assert alone["video"][0] == 2**40
    for number in range(2):
        assert_same(alone, result(tmp_path, number))
    assert "epoch 6/6" in texts[0][0]
    assert "epoch" not in texts[1][0]


@pytest.mark.nightly
def test_four_processes_equal_one_but_for_the_order_of_sums(tmp_path_factory, tmp_path):
    """Between processes the four gradients are summed in another order than within one."""
    folder = tmp_path_factory.mktemp("alone")
    several_program.main([str(folder), "4", str(EPOCHS), "0", "", "1", "0"])
    statuses, texts = start(tmp_path, 4, devices=4).end()
    assert statuses == [0] * 4, texts
    found = [result(tmp_path, number) for number in range(4)]
    for other in found[1:]:
        assert_same(found[0], other)
    assert_close(result(folder), found[0])


def after_some_steps(folder, group, count=2):
    """Waits until a checkpoint is written and the training goes on."""
    limit = time.monotonic() + 240
    while len(list((folder / "checkpoints").glob("*.sha256"))) < count:
        assert time.monotonic() < limit
        if group.processes[0].poll() is not None:
            pytest.fail(f"ended too early: {group.end()}")
        time.sleep(0.05)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_all_and_another_number_goes_on(alone, tmp_path, victim):
    group = start(tmp_path, 2, pause=0.3)
    after_some_steps(tmp_path, group)
    group.processes[victim].kill()
    killed = time.monotonic()
    statuses, texts = group.end()
    assert time.monotonic() - killed < 60
    assert statuses[victim] == -signal.SIGKILL
    assert statuses[1 - victim] == 1
    last = texts[1 - victim][1].strip().splitlines()[-1]
    assert last.startswith("stopped: ")
    assert last.endswith(RESUME)
    assert "Traceback" not in texts[1 - victim][1]

    statuses, texts = start(tmp_path, 1).end()
    assert statuses == [0], texts
    assert "resumed at step" in texts[0][0]
    assert_same(alone, result(tmp_path))


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)]
)
def test_a_signal_to_one_saves_once_and_ends_all(alone, tmp_path, number):
    group = start(tmp_path, 2, pause=0.3)
    after_some_steps(tmp_path, group, count=1)
    group.processes[1].send_signal(number)
    statuses, texts = group.end()
    assert statuses == [128 + number] * 2, texts
    for _, errors in texts:
        last = errors.strip().splitlines()[-1]
        assert last.startswith(f"stopped: {number.name}: step ")
        assert last.endswith(" is saved; go on with --resume")

    statuses, texts = start(tmp_path, 1).end()
    assert statuses == [0], texts
    assert "resumed at step" in texts[0][0]
    assert_same(alone, result(tmp_path))


@pytest.mark.nightly
def test_what_one_process_began_goes_on_in_two(alone, tmp_path):
    group = start(tmp_path, 1, pause=0.3)
    after_some_steps(tmp_path, group, count=1)
    group.processes[0].kill()
    group.end()
    statuses, texts = start(tmp_path, 2).end()
    assert statuses == [0, 0], texts
    assert "resumed at step" in texts[0][0]
    for number in range(2):
        assert_same(alone, result(tmp_path, number))
