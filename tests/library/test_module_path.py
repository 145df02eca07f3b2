"""Layers by dotted names, in modules of every shape."""

import pytest
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.module_path import get_layer, linear_names, set_layer


class Inner(nnx.Module):
    def __init__(self, rngs):
        self.head = nnx.Linear(2, 3, rngs=rngs)
        self.activation = nnx.relu


class Outer(nnx.Module):
    def __init__(self, rngs):
        self.blocks = nnx.List([Inner(rngs), nnx.Sequential(nnx.Linear(3, 2, rngs=rngs), nnx.relu)])
        self.named = nnx.Dict(last=nnx.Linear(2, 2, rngs=rngs))
        self.conv = nnx.Conv(1, 1, (1, 1), rngs=rngs)


@pytest.fixture(scope="module")
def outer():
    return Outer(nnx.Rngs(0))


NAMES = ["blocks.0.head", "blocks.1.layers.0", "named.last"]


def test_all_linear_layers_are_found_by_the_names_that_get_them(outer):
    assert sorted(linear_names(outer)) == NAMES
    found = [get_layer(outer, name) for name in NAMES]
    assert all(isinstance(layer, nnx.Linear) for layer in found)
    assert len({id(layer) for layer in found}) == 3
    assert get_layer(outer, "blocks.0") is outer.blocks[0]
    assert get_layer(outer, "conv") is outer.conv


@pytest.mark.parametrize("name", NAMES)
def test_setting_replaces_that_layer_only(outer, name):
    model = nnx.clone(outer)
    new = nnx.Linear(4, 4, rngs=nnx.Rngs(1))
    others = {other: get_layer(model, other) for other in NAMES if other != name}
    set_layer(model, name, new)
    assert get_layer(model, name) is new
    for other, layer in others.items():
        assert get_layer(model, other) is layer
    assert len(nnx.to_flat_state(nnx.state(model, nnx.Param))) == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fc6", "Outer has no layer 'fc6' .of 'fc6'.; its linear layers: blocks.0.head, "),
        ("blocks.2.head", "List has no layer '2'"),
        ("blocks.0.tail", "Inner has no layer 'tail' .of 'blocks.0.tail'.; .*: head"),
        ("named.first", "Dict has no layer 'first'"),
        ("conv.0", "Conv has no layer '0' .*: none"),
        ("", "Outer has no layer ''"),
        ("blocks.0.activation.x", "no layer 'x' .*: none"),
    ],
)
def test_unknown_names_are_refused_with_a_list(outer, name, message):
    with pytest.raises(InputError, match=message):
        get_layer(outer, name)
    with pytest.raises(InputError, match=message):
        set_layer(outer, name, None)
