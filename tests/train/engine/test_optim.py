"""The paper's learning rates (docs/paper.md) and the optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.engine.optim import (
    FACE,
    GESTURE,
    SPATIAL,
    TEMPORAL,
    Schedule,
    has_ended,
    reduction,
    sgd,
)


@pytest.mark.parametrize(
    ("schedule", "epoch", "rate"),
    [
        (SPATIAL, 0, 3e-4),
        (SPATIAL, 9.99, 3e-4),
        (SPATIAL, 10, 1.5e-4),
        (SPATIAL, 25, 7.5e-5),
        (SPATIAL, 89, 3e-4 / 2**8),
        (TEMPORAL, 0, 1e-2),
        (TEMPORAL, 35, 1.25e-3),
        (TEMPORAL, 99, 1e-2 / 2**9),
        (Schedule(1e-4, "halving", hold=5, every=5), 9.9, 1e-4),
        (Schedule(1e-4, "halving", hold=5, every=5), 10, 5e-5),
        (Schedule(1.0, "cosine"), 50, 0.5),
        (Schedule(1.0, "cosine"), 100, 0.0),
        (Schedule(1.0, "constant", warmup=2), 1, 0.5),
        (Schedule(1.0, "constant", warmup=2), 50, 1.0),
    ],
)
def test_rate_at_an_epoch(schedule, epoch, rate):
    np.testing.assert_allclose(schedule.rate(epoch, 100), rate, rtol=1e-3, atol=1e-6)


def test_halving_where_steps_do_not_divide_the_epoch():
    # 9537 videos in batches of 32 are 298.03 steps.
    steps = 9537 / 32
    rates = [float(TEMPORAL.rate(step / steps, 100)) for step in range(2970, 2990)]
    switch = next(i for i, rate in enumerate(rates) if rate < 9e-3)
    assert 2970 + switch == np.ceil(10 * steps)


def test_the_rate_in_each_epoch_of_whole_steps():
    steps = 7
    for epoch in range(100):
        for step in (0, 6):
            found = float(TEMPORAL.rate((epoch * steps + step) / steps, 100))
            np.testing.assert_allclose(found, 1e-2 * 0.5 ** (epoch // 10), rtol=1e-6)


def test_the_face_schedule_at_every_epoch():
    # Our reading of "constant for 10 epochs, then x0.5 after each further 5 epochs".
    wanted = [1e-4] * 15 + [5e-5] * 5 + [2.5e-5] * 5 + [1.25e-5] * 5
    found = [float(FACE.rate(epoch, 30)) for epoch in range(30)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def train_with_losses(losses, schedule, steps_per_epoch=2, state=None, optimizer=None):
    """The rate in force behind each epoch whose steps have that loss; the optimiser's state."""
    optimizer = optimizer or sgd(
        schedule,
        epochs=1,
        steps_per_epoch=steps_per_epoch,
        momentum=0.9,
        weight_decay=0.0,
        clip_norm=None,
    )
    params = {"a": jnp.ones(2)}
    state = optimizer.init(params) if state is None else state
    update = jax.jit(lambda state, value: optimizer.update(params, state, params, value=value)[1])
    rates = []
    for loss in losses:
        for step in range(steps_per_epoch):
            # The mean of an epoch counts, not its last step.
            state = update(state, jnp.float32(loss + (0.5 if step % 2 else -0.5)))
        rates.append(schedule.base * reduction(state))
    return rates, state


def test_the_gesture_schedule_falls_after_40_epochs_without_improvement_until_it_ends():
    losses = [1.0, 0.9] + [0.9] * 40 + [0.8] + [0.8] * 40 + [0.9] * 79
    rates, state = train_with_losses(losses, GESTURE)
    wanted = [3e-3] * 41 + [3e-4] * 41 + [3e-5] * 40 + [3e-6] * 40
    np.testing.assert_allclose(rates, wanted, rtol=1e-5)
    assert not has_ended(GESTURE, state)
    rates, state = train_with_losses([0.9], GESTURE, state=state)
    np.testing.assert_allclose(rates, [3e-7], rtol=1e-5)
    assert has_ended(GESTURE, state)
    assert not has_ended(TEMPORAL, state)


def test_the_plateau_goes_on_where_its_state_was_kept():
    losses = [1.0] * 60
    whole, _ = train_with_losses(losses, GESTURE)
    first, state = train_with_losses(losses[:33], GESTURE)
    second, _ = train_with_losses(losses[33:], GESTURE, state=state)
    assert first + second == whole
    assert whole[39] == pytest.approx(3e-3)
    assert whole[40] == pytest.approx(3e-4)


def test_the_plateau_scales_the_updates():
    schedule = Schedule(1.0, "plateau", patience=1, factor=0.1)
    optimizer = sgd(
        schedule, epochs=1, steps_per_epoch=1, momentum=0.0, weight_decay=0.0, clip_norm=None
    )
    params = {"a": jnp.ones(1)}
    state = optimizer.init(params)
    steps = []
    for _ in range(3):
        updates, state = optimizer.update(params, state, params, value=jnp.float32(1))
        steps.append(float(updates["a"][0]))
    np.testing.assert_allclose(steps, [-1.0, -0.1, -0.01], rtol=1e-6)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_parameters_that_match_are_slower(kind):
    params = {"trunk.kernel": jnp.ones(3), "fc.trunk": jnp.ones(3)}
    taken = {}
    for slower in (None, (r"trunk\..*", 0.1)):
        optimizer = sgd(
            Schedule(0.1, "cosine"), epochs=2, steps_per_epoch=2, momentum=0.9, weight_decay=1e-2,
            clip_norm=1.0, kind=kind, slower=slower,
        )  # fmt: skip
        state = optimizer.init(params)
        for _ in range(3):
            grads = {name: jnp.arange(3.0) for name in params}
            updates, state = optimizer.update(grads, state, params, value=jnp.float32(1))
        taken[slower] = updates
    (plain, slow) = taken.values()
    np.testing.assert_allclose(slow["trunk.kernel"], 0.1 * plain["trunk.kernel"], rtol=1e-6)
    np.testing.assert_array_equal(slow["fc.trunk"], plain["fc.trunk"])


def test_sgd_is_that_of_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    start = np.random.default_rng(0).normal(size=5).astype(np.float32)
    theirs = torch.nn.Parameter(torch.tensor(start))
    reference = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=5e-4)
    optimizer = sgd(
        Schedule(0.1, "constant"),
        epochs=1,
        steps_per_epoch=10,
        momentum=0.9,
        weight_decay=5e-4,
        clip_norm=None,
    )
    ours = {"a": jnp.asarray(start)}
    state = optimizer.init(ours)
    for step in range(5):
        gradient = np.cos(np.arange(5) + step).astype(np.float32)
        theirs.grad = torch.tensor(gradient)
        reference.step()
        updates, state = optimizer.update({"a": jnp.asarray(gradient)}, state, ours)
        ours = {"a": ours["a"] + updates["a"]}
    np.testing.assert_allclose(ours["a"], theirs.detach().numpy(), rtol=1e-5)
