"""`--accumulate`: what a step in parts has in common with the step of the whole batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_task import BATCH, make_batch, make_model, start

from prernn_jax.errors import InputError
from train.engine.devices import make_mesh, parallel_train_step, replicate, split
from train.engine.step import Found, TrainState, mean_of_parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return make_model()


def run(model, *batches, devices=1, batch_norm="frozen", accumulate=1, remat="none"):
    """State and metrics after one step from the start, for each of the batches."""
    _, step, state = start(model, batch_norm=batch_norm, accumulate=accumulate, remat=remat)
    mesh = make_mesh(devices, len(batches[0]["labels"]), accumulate=accumulate)
    compiled, begin = parallel_train_step(step, mesh), jax.device_get(state)
    found = [compiled(replicate(begin, mesh), split(batch, mesh)) for batch in batches]
    return jax.device_get(found)


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )


@pytest.fixture(scope="module")
def whole(model):
    """The step of a whole batch with sequences of several lengths."""
    batch = make_batch(0)
    assert len(set(batch["lengths"].tolist())) > 1
    return run(model, batch)[0]


@pytest.mark.parametrize(("devices", "accumulate", "remat"), [(1, 4, "none"), (2, 2, "full")])
def test_with_stored_statistics_it_is_the_step_of_the_whole(
    model, whole, devices, accumulate, remat
):
    batch = make_batch(0)
    ((state, metrics),) = run(model, batch, devices=devices, accumulate=accumulate, remat=remat)
    assert_close(state.params, whole[0].params)
    assert_close(state.opt_state, whole[0].opt_state)
    assert_close(metrics, whole[1])
    start_of = start(model)[2].batch_stats
    jax.tree.map(np.testing.assert_array_equal, state.batch_stats, jax.device_get(start_of))


def test_batch_statistics_are_those_of_a_part(model):
    """The loss is the mean of the parts' own; the stored statistics move once, by the mean."""
    batch = make_batch(0)
    before = jax.device_get(start(model)[2].batch_stats)
    ((state, metrics),) = run(model, batch, batch_norm="train", accumulate=2)
    parts = [{name: rows[i : i + 4] for name, rows in batch.items()} for i in (0, 4)]
    halves = run(model, *parts, batch_norm="train")
    losses = [float(half[1]["loss"]) for half in halves]
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-3
    for name, value in state.batch_stats.items():
        mean = np.mean([half[0].batch_stats[name] for half in halves], axis=0)
        np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-6)
        assert not np.array_equal(value, before[name])


def test_each_part_has_a_key_of_its_own():
    """Dropout draws anew for each part, and each part has its own rows, in order."""
    state = TrainState({}, {}, {"mean": jnp.float32(7)}, (), jnp.int32(0), jnp.zeros(2, jnp.uint32))

    def gradients(state, batch, key):
        drawn = jax.random.uniform(key)
        return Found({"w": batch["x"].sum() * drawn}, {"drawn": drawn}, state.batch_stats)

    key = jax.random.PRNGKey(3)
    found = jax.jit(partial(mean_of_parts, gradients, 2))(state, {"x": jnp.arange(4.0)}, key)
    keys = [jax.random.uniform(jax.random.fold_in(key, part)) for part in range(2)]
    assert keys[0] != keys[1]
    np.testing.assert_allclose(found.metrics["drawn"], np.mean(keys), rtol=1e-6)
    np.testing.assert_allclose(found.grads["w"], (1 * keys[0] + 5 * keys[1]) / 2, rtol=1e-6)
    assert found.stats["mean"] == 7  # they stay as they are, to the bit


@pytest.mark.parametrize(("devices", "accumulate"), [(1, 3), (2, 8), (1, 0), (4, -1)])
def test_parts_that_do_not_divide_the_batch(devices, accumulate):
    with pytest.raises(InputError, match=rf"--accumulate={accumulate}: expected a divisor of"):
        make_mesh(devices, BATCH, accumulate=accumulate)
