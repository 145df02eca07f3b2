"""Budgets: the paper's three sizes, real parameter trees, the command line."""

import json
import re
import subprocess
import sys

import jax
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from prernn_jax import budget, new_weights
from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet, ResNet50
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.layers.cells import get_cell
from prernn_jax.surgery import make_recurrent, per_frame, stack_recurrent

PAPER = [("vrnn", 2740), ("lstm", 5761), ("gru", 5497)]


def _weights(model):
    """Weights in a parameter tree: all that are no vectors (biases, batch-norms)."""
    return sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)) if x.ndim > 1)


@pytest.mark.parametrize(("cell", "hidden"), PAPER)
def test_the_sizes_of_the_paper(cell, hidden):
    vgg16 = nnx.eval_shape(lambda: VGG16(rngs=nnx.Rngs(0)))
    both = ("fc6", "fc7")
    assert new_weights.matched_hidden(vgg16, both, cell, outputs=136) == hidden
    assert new_weights.matched_hidden(vgg16, None, cell, depth=2, outputs=136) == hidden
    # The paper's own sums, written out.
    g, d, h = get_cell(cell).gates, 25088, 4096
    target = (g - 1) * d * h + g * h**2 + (g - 1) * h**2 + g * h**2 + h * 136
    assert new_weights.nearest_hidden(target, h, cell, 2, 136) == hidden
    found = new_weights.budget_of(vgg16, both, cell, outputs=136)
    assert found.introduced + found.output == target
    assert found.layers["fc6"] == (g - 1) * d * h + g * h**2


def test_resnet50_and_c3d():
    resnet = nnx.eval_shape(lambda: ResNet50(rngs=nnx.Rngs(0)))
    found = new_weights.budget_of(resnet, cell="lstm", outputs=101)
    assert found.layers == {"layer4.2.conv3": 3 * 512 * 2048 + 4 * 2048**2}
    assert (found.features, found.output) == (2048, 2048 * 101)
    shared = new_weights.budget_of(resnet, cell="lstm", shared=True)
    assert shared.layers == {"layer4.2.conv3": 4 * 2048**2}
    assert shared.outputs == 1000
    c3d = nnx.eval_shape(lambda: C3D(clip_length=8, rngs=nnx.Rngs(0)))
    found = new_weights.budget_of(c3d, ["fc6"], "gru")
    assert found.layers == {"fc6": 2 * 8192 * 4096 + 3 * 4096**2}


BACKBONES = {
    "vgg16": lambda: VGG16(5, width=2, hidden=12, image_size=32, rngs=nnx.Rngs(0)),
    "c3d": lambda: C3D(5, width=2, hidden=12, clip_length=8, image_size=32, rngs=nnx.Rngs(0)),
    "resnet": lambda: ResNet((1, 1), width=4, num_outputs=5, rngs=nnx.Rngs(0)),
}


@pytest.mark.parametrize(
    ("name", "cell", "shared"),
    [
        ("vgg16", "lstm", False),
        ("vgg16", "gru", True),
        ("vgg16", "vrnn", False),
        ("c3d", "gru", False),
        ("resnet", "lstm", False),
        ("resnet", "gru", True),
    ],
)
def test_counts_are_those_of_the_parameter_trees(name, cell, shared):
    backbone = BACKBONES[name]
    plain = nnx.eval_shape(backbone)
    before = _weights(plain)
    old_output = getattr(plain, plain.head[-1].name).kernel.size

    def added(make):
        return _weights(nnx.eval_shape(make)) - before + old_output

    found = new_weights.budget_of(plain, None, cell, shared, outputs=7, extra=1)
    real = added(
        lambda: make_recurrent(backbone(), None, cell, shared, extra=1, outputs=7, rngs=nnx.Rngs(1))
    )
    assert found.introduced + found.output == real
    hidden = found.matched_hidden(2)

    def traditional(size):
        return added(lambda: stack_recurrent(backbone(), cell, size, 2, 7, rngs=nnx.Rngs(1)))

    weights = new_weights.stack_weights(found.features, hidden, cell, 2) + hidden * 7
    assert weights == traditional(hidden)
    nearest = min(range(hidden - 2, hidden + 3), key=lambda size: abs(traditional(size) - real))
    assert nearest == hidden


@pytest.mark.parametrize("cell", ["vrnn", "lstm", "gru"])
def test_all_ways_to_the_matched_size_agree(cell, capsys):
    """One converted layer and one more: the function, the command and `like` agree."""
    vgg16 = nnx.eval_shape(VGG16)
    function = new_weights.matched_hidden(vgg16, "fc7", cell, extra=1, outputs=136)
    budget.main(["--layers=fc7", f"--cell={cell}", "--extra=1"])
    found = json.loads(capsys.readouterr().out)["per_gate"]["traditional"]
    made = nnx.eval_shape(
        lambda: stack_recurrent(
            VGG16(),
            cell,
            like=make_recurrent(VGG16(), "fc7", cell, extra=1, outputs=136),
        )
    )
    assert found["depth"] == len(made.extra) == 2
    assert function == found["hidden"] == made.extra[0].features
    assert made.backbone.fc8.out_features == 136
    less = new_weights.matched_hidden(vgg16, "fc7", cell, depth=2, outputs=136)
    assert less < function  # the further layer counts


def test_a_stack_like_a_model_has_about_as_many_new_weights():
    """The same with another cell, another depth, and without pre-trained layers."""
    backbone = BACKBONES["vgg16"]
    before = _weights(nnx.eval_shape(backbone)) - 12 * 5
    model = nnx.eval_shape(lambda: make_recurrent(backbone(), cell="lstm", shared=True, outputs=7))
    target = _weights(model) - before
    for options in ({}, {"cell": "vrnn"}, {"depth": 1}, {"like": "stack"}):
        like = model
        if "like" in options:
            like = nnx.eval_shape(lambda: stack_recurrent(backbone(), "gru", 9, 2, 7))
            target = _weights(like) - before
        options.pop("like", None)
        stack = nnx.eval_shape(
            lambda like=like, o=options: stack_recurrent(backbone(), like=like, **o)
        )
        one_more = new_weights.stack_weights(1, 1, options.get("cell", "gru"), len(stack.extra))
        hidden = stack.extra[0].features
        assert abs(_weights(stack) - before - target) < one_more * 2 * (12 + 2 * hidden + 7)
    assert hidden == 9


def test_a_stack_like_a_foreign_model():
    net = nnx.Sequential(nnx.Linear(8, 6, rngs=nnx.Rngs(0)), nnx.Linear(6, 3, rngs=nnx.Rngs(0)))
    options = {"output_layer": "layers.1"}
    made = make_recurrent(net, "layers.0", extra=1, outputs=4, dropout=0.5, **options)
    stack = stack_recurrent(net, like=made, **options)
    expected = new_weights.matched_hidden(net, "layers.0", extra=1, outputs=4, **options)
    assert [layer.features for layer in stack.recurrent_layers] == [expected] * 2
    assert stack.network.layers[1].layers[-1].out_features == 4
    with pytest.raises(InputError, match="output_layer="):
        new_weights.budget_of_sequence(made)


def test_what_cannot_be_matched():
    vgg = VGG16(5, width=2, hidden=12, image_size=32)
    for like in (per_frame(vgg), vgg):
        with pytest.raises(InputError, match="without recurrent layers has nothing to match"):
            stack_recurrent(vgg, like=like)
    for sizes in ({}, {"hidden": 4, "like": make_recurrent(vgg)}):
        with pytest.raises(InputError, match=r"either hidden=.* or like="):
            stack_recurrent(vgg, **sizes)


def test_a_foreign_network_needs_its_output_layer():
    net = nnx.Sequential(nnx.Linear(8, 6, rngs=nnx.Rngs(0)), nnx.Linear(6, 3, rngs=nnx.Rngs(0)))
    found = new_weights.budget_of(net, ["layers.0"], "gru", output_layer="layers.1")
    assert found.layers == {"layers.0": 2 * 8 * 6 + 3 * 6**2}
    assert (found.output, found.features, found.outputs) == (18, 6, 3)
    with pytest.raises(InputError, match="output_layer="):
        new_weights.budget_of(net, ["layers.0"])
    with pytest.raises(InputError, match=r"layers\.0, layers\.1"):
        new_weights.budget_of(net, output_layer="layers.1")


@given(
    st.integers(1, 10**12), st.integers(1, 30000), st.sampled_from(["vrnn", "lstm", "gru"]),
    st.integers(1, 4), st.integers(0, 1000),
)  # fmt: skip
def test_matched_hidden_is_the_nearest(target, features, cell, layers, outputs):
    def total(hidden):
        return new_weights.stack_weights(features, hidden, cell, layers) + hidden * outputs

    if target < total(1):
        with pytest.raises(InputError, match="one hidden unit"):
            new_weights.nearest_hidden(target, features, cell, layers, outputs)
        return
    hidden = new_weights.nearest_hidden(target, features, cell, layers, outputs)
    distances = [abs(total(h) - target) for h in (hidden - 1, hidden, hidden + 1)]
    assert distances[1] == min(distances)
    assert isinstance(hidden, int)


def test_the_command_prints_the_table(capsys):
    command = ["--backbone=vgg16", "--layers", "fc6", "fc7", "--cell=lstm", "--outputs=136"]
    budget.main(command)
    printed = json.loads(capsys.readouterr().out)
    assert printed["per_gate"]["traditional"]["hidden"] == 5761
    assert printed["per_gate"]["introduced"] == sum(printed["per_gate"]["layers"].values())
    assert printed["shared"]["introduced"] == 2 * 4 * 4096**2
    for flag in ("--depth", "--recurrent_layers"):
        budget.main(["--backbone", "resnet50", flag, "2"])
        printed = json.loads(capsys.readouterr().out)
        assert printed["per_gate"]["traditional"]["depth"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "fc9"], "expected some of ['fc6', 'fc7']"),
        (["--outputs", "0"], "--outputs is 0"),
        (["--depth", "0"], "at least 1"),
        (["--extra", "-1"], "--extra is -1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=re.escape(message)):
        budget.main(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--cell", "elman"], "elman"), (["--layers", "fc9"], "error: ")],
)
def test_the_module_runs_as_a_command(arguments, message):
    command = [sys.executable, "-m", "prernn_jax.budget", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
