"""`prernn memory`: the counted bytes are those of the state, and each flag saves what it should."""

import re
from dataclasses import replace

import jax
import pytest
from flax import nnx

from prernn_jax.errors import InputError
from train.applications import APPLICATIONS
from train.engine.devices import make_mesh, set_up
from train.engine.optim import sgd
from train.memory import main
from train.run.application import configuration
from train.run.memory import largest_rows, memory_of, other_rows
from train.run.stage_two import surgery_call

pytestmark = pytest.mark.slow

TINY = ["--trunk=trained", "--batch_norm=frozen", "--steps=4", "--crop=32", "--batch_size=8"]


@pytest.fixture(scope="module")
def config():
    return configuration(APPLICATIONS["action"], TINY, "memory")


def measured(config, platform="cpu", rows=8):
    return memory_of(config, APPLICATIONS["action"].sizes(config), rows, platform)


@pytest.fixture(scope="module")
def plain(config):
    return measured(config)


def test_the_state_has_the_bytes_of_a_run_s(config, plain):
    from prernn_jax.files.models import apply_surgery
    from train.run.backbone import Backbone

    sizes = APPLICATIONS["action"].sizes(config)
    backbone = sizes.make(rngs=nnx.Rngs(0))
    call = surgery_call(config, Backbone(backbone, ""), sizes.outputs)
    optimizer = sgd(config.schedule, epochs=1, steps_per_epoch=1, momentum=0.9, weight_decay=0.0,
                    clip_norm=None, kind=config.optimizer)  # fmt: skip
    task = sizes.task(None)
    model = apply_surgery(backbone, call, rngs=nnx.Rngs(0))
    state = set_up(model, task, optimizer, make_mesh(1, 8), seed=0).state

    def count(tree):
        return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))

    assert plain.parameters == count((state.params, state.frozen, state.batch_stats))
    assert plain.optimizer == count((state.opt_state, state.step, state.rng))
    assert plain.gradients == count(state.params)
    assert plain.batch == 8 * (4 * 32 * 32 * 4 + 4 + 4)
    assert plain.total == plain.parameters + plain.optimizer + plain.batch + plain.temporaries
    assert plain.least == plain.total - plain.temporaries + plain.gradients + plain.residuals
    assert plain.temporaries > plain.gradients


def test_each_flag_saves_what_it_is_for(config, plain):
    parts = measured(replace(config, accumulate=4))
    assert parts.residuals < 0.3 * plain.residuals
    assert parts.temporaries < 0.6 * plain.temporaries
    assert parts.gradients == 2 * plain.gradients
    blocks = measured(replace(config, remat="blocks"))
    assert blocks.residuals < 0.7 * plain.residuals
    half = measured(replace(config, precision="bfloat16"))
    assert half.residuals < 0.7 * plain.residuals
    assert half.parameters == plain.parameters


def test_the_command_says_which_batch_fits(capsys):
    main(["action", *TINY, "--accumulate=2", "--devices=2"])
    said = capsys.readouterr().out
    assert "4 sequences a device and step in 2 part(s)" in said
    assert "whole step" in said
    lines = [line for line in said.splitlines() if line.startswith("largest --batch_size")]
    batches = [[int(n) for n in re.findall(r"(\d+) as", line)] for line in lines]
    assert len(batches) == 3
    assert sorted(batches) == batches
    assert all(planned <= counted for planned, counted in batches)
    assert all(batch % 4 == 0 for both in batches for batch in both)


def test_the_largest_batch_lies_on_the_line():
    assert largest_rows((4, 140), (2, 120), 200, 1) == 10
    assert largest_rows((4, 140), (2, 120), 200, 4) == 8
    assert largest_rows((4, 140), (2, 120), 100, 1) == 0
    assert [other_rows(*given) for given in ((32, 4), (1, 1), (4, 4))] == [16, 2, 8]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["dog"], "expected one of action, face, gesture"),
        (["action"], "--trunk=cached: .*give --trunk=trained"),
        (["action", *TINY, "--accumulate=3"], "--accumulate=3: expected a divisor"),
        (["action", *TINY, "--devices=3"], "--batch_size=8 cannot be split over 3"),
        (["action", *TINY, "--momentum=2"], "--momentum=2.0"),
    ],
)
def test_what_no_run_can_have(argv, message):
    with pytest.raises(InputError, match=message):
        main(argv)
