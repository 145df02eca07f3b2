"""Learning rates of SPEC section 1 and the optimiser."""

import jax.numpy as jnp
import numpy as np
import pytest

from train.optim import SPATIAL, TEMPORAL, Schedule, sgd


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
