"""The thread that feeds the devices: order, positions, faults, and that nobody waits for it."""

import json
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prernn_jax.errors import InputError
from train.engine.devices import make_mesh
from train.engine.evaluate import evaluate
from train.engine.feed import IN_FLIGHT, Feed
from train.engine.log import MetricsLog
from train.engine.loop import Plan, fit
from train.engine.step import TrainState

STEP, READING = 0.1, 0.06  # seconds


class Numbers:
    """Batches of their own number, read in a known time."""

    batches_per_epoch = 20

    def __init__(self, seconds=0.0, fault=None):
        self.number, self.seconds, self.fault = 0, seconds, fault

    def __next__(self):
        time.sleep(self.seconds)
        if self.number == self.fault:
            raise InputError("the file /x is damaged")
        self.number += 1
        return {"x": np.full(4, self.number, np.float32)}

    def get_state(self):
        return {"number": self.number}


@pytest.fixture(scope="module")
def mesh():
    return make_mesh(4, 4)


def test_the_order_is_the_loader_s_and_each_batch_has_its_position(mesh):
    loader = Numbers()
    with Feed(loader, mesh, 5, loader.get_state) as feed:
        found = list(feed)
    assert [int(batch.devices["x"][3]) for batch in found] == [1, 2, 3, 4, 5]
    assert [batch.position["number"] for batch in found] == [1, 2, 3, 4, 5]
    assert all(len(batch.devices["x"].sharding.device_set) == 4 for batch in found)
    assert loader.number == 5  # it has not read what nobody will take


def test_no_more_than_two_are_in_flight_and_closing_ends_the_thread(mesh):
    loader, before = Numbers(), threading.active_count()
    feed = Feed(loader, mesh)
    next(feed)
    time.sleep(0.3)
    assert loader.number == 1 + IN_FLIGHT
    feed.close()
    assert threading.active_count() == before


def test_a_fault_of_the_loader_comes_behind_the_batches_before_it(mesh):
    with Feed(Numbers(fault=2), mesh) as feed:
        assert [int(next(feed).host["x"][0]) for _ in range(2)] == [1, 2]
        for _ in range(2):
            with pytest.raises(InputError, match="/x is damaged"):
                next(feed)


def slow_step(state, _):
    """A step of a known length that does not hold Python's lock, as on a device."""
    time.sleep(STEP)
    return state._replace(step=state.step + 1), {"loss": 1.0, "grad_norm": 1.0}


@pytest.mark.nightly  # it looks at the clock, so it needs a quiet machine
def test_the_devices_wait_for_less_than_a_fiftieth_of_the_time(mesh, tmp_path):
    """Reading takes six tenths of a step. The first batch of an epoch's start does not count."""
    state = TrainState({}, {}, {}, (), jnp.zeros((), jnp.int32), jnp.zeros(2, jnp.uint32))
    log = MetricsLog(tmp_path)
    plan = Plan("known", epochs=1, batch_size=4, rate=lambda *_: 0.1)
    fit(state, slow_step, Numbers(READING), mesh, plan, log)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, second = (line["data_wait_s"] for line in lines if line["kind"] == "train")
    assert first >= READING / 10  # the very first batch has to be read
    assert second < 0.02 * STEP


def test_an_evaluation_keeps_the_order_and_one_batch_in_flight(mesh, monkeypatch):
    """The results of a batch are fetched when the next one runs already."""
    events, fetch = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda x: events.append("fetch") or fetch(x))

    def batches():
        for number in range(3):
            rows = np.arange(4) + 4 * number
            yield {"x": rows.astype(np.float32), "video": rows, "mask": rows < 10}

    def eval_step(state, batch):
        events.append("step")
        return {"y": 2 * batch["x"]}

    found = evaluate(eval_step, None, batches(), mesh)
    np.testing.assert_array_equal(found["y"], 2.0 * np.arange(10))
    np.testing.assert_array_equal(found["video"], np.arange(10))
    assert events == ["step", "step", "fetch", "step", "fetch", "fetch"]
