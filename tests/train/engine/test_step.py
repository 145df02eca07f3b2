"""The training step: devices, pmap, precision, dropout, frozen parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from tiny_task import BATCH, TASK, make_batch, make_model, start

from prernn_jax.errors import InputError
from train.engine.devices import (
    make_mesh,
    parallel_eval_step,
    parallel_train_step,
    replicate,
    split,
)
from train.engine.optim import split_frozen
from train.engine.step import AXIS, make_eval_step

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return make_model()


def run(step, state, devices, steps=3, parallel="shard_map"):
    mesh = make_mesh(devices, BATCH)
    state = replicate(state, mesh)
    compiled = parallel_train_step(step, mesh, parallel)
    losses = []
    for number in range(steps):
        state, metrics = compiled(state, split(make_batch(number), mesh))
        losses.append(float(metrics["loss"]))
    return jax.device_get(state), losses


def assert_same(a, b, rtol, atol):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


@pytest.mark.parametrize("batch_norm", ["train", "frozen"])
def test_four_devices_and_pmap_equal_one(model, batch_norm):
    _, step, state = start(model, batch_norm=batch_norm)
    begin = jax.device_get(state)
    one, losses = run(step, state, 1)
    four, four_losses = run(step, begin, 4)
    np.testing.assert_allclose(losses, four_losses, rtol=1e-4)
    assert_same(one.params, four.params, rtol=1e-3, atol=2e-5)
    assert_same(one.batch_stats, four.batch_stats, rtol=1e-3, atol=2e-5)

    mapped = jax.pmap(step, axis_name=AXIS)
    state = jax.tree.map(lambda x: np.stack([x] * 4), begin)
    for number in range(3):
        shares = {k: v.reshape(4, BATCH // 4, *v.shape[1:]) for k, v in make_batch(number).items()}
        state, metrics = mapped(state, shares)
    assert metrics["loss"][0] == metrics["loss"][3]
    by_pmap = jax.tree.map(lambda x: np.asarray(x)[0], state)
    assert_same(four.params, by_pmap.params, rtol=1e-5, atol=1e-6)
    assert_same(four.batch_stats, by_pmap.batch_stats, rtol=1e-5, atol=1e-6)


def test_both_ways_of_running_a_step_give_the_same_arrays():
    model = make_model(dropout=0.5)
    network, step, state = start(model)
    begin = jax.device_get(state)
    whole, losses = run(step, begin, 4)
    by_pmap, same_losses = run(step, begin, 4, parallel="pmap")
    assert losses == same_losses
    jax.tree.map(np.testing.assert_array_equal, whole, by_pmap)

    mesh = make_mesh(4, BATCH)
    state, batch = replicate(whole, mesh), split(make_batch(9), mesh)
    found = [
        jax.device_get(parallel_eval_step(make_eval_step(network, TASK), mesh, way)(state, batch))
        for way in ("shard_map", "pmap")
    ]
    assert found[0]["scores"].shape[0] == BATCH
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_step_moves_everything_and_leaves_the_model(model):
    _, step, state = start(model)
    before = {k: np.array(v) for k, v in state.params.items()}
    after, losses = run(step, state, 1)
    assert losses[-1] < losses[0] * 1.5
    assert int(after.step) == 3
    unmoved = [k for k, v in after.params.items() if np.array_equal(v, before[k])]
    assert unmoved == []
    assert int(start(model)[2].step) == 0
    np.testing.assert_array_equal(model.backbone.fc.kernel[...], before["backbone.fc.kernel"])


def test_frozen_statistics_stay(model):
    _, step, state = start(model, batch_norm="frozen")
    before = {k: np.array(v) for k, v in state.batch_stats.items()}
    after, _ = run(step, state, 1, steps=1)
    assert before
    assert_same(after.batch_stats, before, rtol=0, atol=0)


def test_batch_statistics_move(model):
    _, step, state = start(model)
    before = {k: np.array(v) for k, v in state.batch_stats.items()}
    after, _ = run(step, state, 1, steps=1)
    assert all(not np.array_equal(after.batch_stats[k], v) for k, v in before.items())


def test_frozen_parameters_stay(model):
    _, step, state = start(model, freeze=(r"backbone\.conv1\..*", r"backbone\.layer1\..*"))
    before = {k: np.array(v) for k, v in state.frozen.items()}
    assert "backbone.layer1.0.conv2.kernel" in before
    after, _ = run(step, state, 1, steps=1)
    assert_same(after.frozen, before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [(("nothing",), "no parameter"), (("(",), "no regular expression"), ((".*",), "leaves no")],
)
def test_bad_freeze(patterns, message):
    with pytest.raises(InputError, match=message):
        split_frozen({"a.kernel": jnp.ones(1)}, patterns)


def test_bfloat16_keeps_parameters_and_nearly_the_loss(model):
    _, step, state = start(model, rate=0.01)
    begin = jax.device_get(state)
    _, losses = run(step, state, 1, steps=6)
    _, step, _ = start(model, precision="bfloat16", rate=0.01)
    after, low = run(step, begin, 1, steps=6)
    np.testing.assert_allclose(low, losses, rtol=0.05)
    assert low != losses
    assert {v.dtype for v in after.params.values()} == {np.dtype(np.float32)}
    assert {v.dtype for v in after.batch_stats.values()} == {np.dtype(np.float32)}
    moments = [v for v in jax.tree.leaves(after.opt_state) if v.ndim]
    assert {v.dtype for v in moments} == {np.dtype(np.float32)}


def test_dropout_draws_anew_each_step_and_not_in_evaluation():
    model = make_model(dropout=0.5)
    network, step, state = start(model, batch_norm="frozen", rate=0.0)
    mesh = make_mesh(1, BATCH)
    compiled = parallel_train_step(step, mesh)
    evaluate = parallel_eval_step(make_eval_step(network, TASK), mesh)
    batch = split(make_batch(0), mesh)
    state = replicate(state, mesh)
    first, second = evaluate(state, batch)["scores"], evaluate(state, batch)["scores"]
    np.testing.assert_array_equal(first, second)
    again = jax.tree.map(jnp.copy, state)
    state, a = compiled(state, batch)
    _, b = compiled(state, batch)
    _, c = compiled(again, batch)
    assert a["loss"] != b["loss"]
    assert a["loss"] == c["loss"]


@pytest.mark.parametrize(("devices", "batch"), [(0, 8), (99, 8), (3, 8), (2, 0)])
def test_devices_that_do_not_fit(devices, batch):
    with pytest.raises(InputError, match="device"):
        make_mesh(devices, batch)


def test_mesh_is_a_line():
    assert isinstance(make_mesh(4, 8), Mesh)
    assert make_mesh(4, 8).shape == {AXIS: 4}
