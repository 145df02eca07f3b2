"""Worker processes of the loader: none outlives its parent, and a fault in one is one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import status_of

from prernn_jax.data.batches import TrainLoader, eval_batches, train_batches
from prernn_jax.errors import InputError, RunStopped

pytestmark = pytest.mark.slow  # each starts processes that import JAX

CODE = """
import multiprocessing, time
import numpy as np
from prernn_jax.data.batches import train_batches

class Numbers:
    def __len__(self): return 64
    def __getitem__(self, index): return {"index": index}

def draw(record, rng): return {"index": np.int32(record["index"])}

if __name__ == "__main__":
    loader = train_batches(Numbers(), draw, batch_size=4, seed=0, workers=2)
    next(loader)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    while True:
        next(loader)
        time.sleep(0.01)
"""


class Numbers:
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, int]:
        return {"index": index}


def draw(record, rng):
    return {"index": np.int32(record["index"]), "process": np.int64(os.getpid())}


def bad_input(record, rng):
    raise InputError("the file /x/y is damaged; delete it")


def failing(record, rng):
    raise KeyError("a fault\nof this program")


def numbers(how=draw, workers: int = 1) -> TrainLoader:
    return train_batches(Numbers(), how, batch_size=4, seed=0, workers=workers)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for_the_end(processes: list[int]) -> list[int]:
    end = time.monotonic() + 20
    while (left := [p for p in processes if is_alive(p)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_worker_outlives_a_killed_run():
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = [int(word) for word in process.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(is_alive, workers))
    process.kill()
    process.communicate(timeout=30)
    assert wait_for_the_end(workers) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_worker_is_one_line_and_the_position_stays(capsys):
    loader = numbers()
    worker = int(next(loader)["process"][0])
    assert worker != os.getpid()
    os.kill(worker, signal.SIGINT)  # as a terminal does; the run decides when to end
    next(loader)
    assert is_alive(worker)
    os.kill(worker, signal.SIGKILL)

    def go_on(_: object) -> None:
        for _ in range(100):
            next(loader)

    assert status_of(go_on, []) == 1
    error = capsys.readouterr().err
    assert error.startswith("stopped: a process that reads the data was killed.")
    assert len(error.splitlines()) == 1
    state, other = loader.get_state(), numbers(workers=0)
    other.set_state(state)
    loader.set_state(state)  # starts a new worker
    np.testing.assert_array_equal(next(loader)["index"], next(other)["index"])
    loader.close()
    other.close()


def test_bad_input_in_a_worker_is_told_as_without_one():
    loader = numbers(bad_input)
    with pytest.raises(InputError, match="the file /x/y is damaged; delete it"):
        next(loader)
    loader.close()


def test_a_fault_of_the_program_in_a_worker_is_one_line():
    loader = numbers(failing)
    with pytest.raises(
        RunStopped, match=r"data failed \(KeyError: .*; --workers=0 shows"
    ) as caught:
        next(loader)
    assert "\n" not in str(caught.value)
    loader.close()
    with pytest.raises(KeyError):
        next(numbers(failing, workers=0))


def test_testing_with_workers_gives_the_same_batches_each_time():
    def read(row):
        return {"row": np.int32(row), "process": np.int64(os.getpid())}

    alone = list(eval_batches(10, read, batch_size=4))
    loader = eval_batches(10, read, batch_size=4, workers=2)
    for _ in range(2):
        found = list(loader)
        for batch, expected in zip(found, alone, strict=True):
            np.testing.assert_array_equal(batch["row"], expected["row"])
            np.testing.assert_array_equal(batch["mask"], expected["mask"])
        processes = {int(batch["process"][0]) for batch in found}
        assert len(processes) == 2
        assert os.getpid() not in processes
        assert wait_for_the_end(list(processes)) == []


def test_bad_input_in_testing_is_told_as_without_workers():
    def read(row):
        raise InputError("the file /x/y is damaged; delete it")

    with pytest.raises(InputError, match="the file /x/y is damaged; delete it"):
        next(iter(eval_batches(10, read, batch_size=4, workers=1)))
