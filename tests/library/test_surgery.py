"""Surgery: what is kept, copied, drawn and refused; the given network stays as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import Foreign, Tiny, drawn
from flax import nnx

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.foreign import FoldedModel
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.sequence import SequenceModel
from prernn_jax.surgery import make_recurrent, per_frame, stack_recurrent


@pytest.fixture(scope="module")
def ours():
    return drawn(lambda: Tiny(rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def resnet():
    return drawn(lambda: ResNet((1, 1), width=2, num_outputs=3, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def foreign():
    return drawn(lambda: Foreign(rngs=nnx.Rngs(0)))


def _flat(model):
    return {
        ".".join(map(str, path)): np.asarray(leaf[...])
        for path, leaf in nnx.to_flat_state(nnx.state(model))
    }


def _bytes(model):
    return {name: array.tobytes() for name, array in _flat(model).items()}


def _make(name, model, rngs):
    return {
        "make": lambda: make_recurrent(model, cell="lstm", extra=1, outputs=4, rngs=rngs),
        "vrnn": lambda: make_recurrent(model, cell="vrnn", rngs=rngs),
        "random": lambda: make_recurrent(model, shared=True, init="random", rngs=rngs),
        "stack": lambda: stack_recurrent(model, "gru", 6, 2, rngs=rngs),
    }[name]()


@pytest.mark.parametrize(
    ("network", "kind"),
    [*(("ours", kind) for kind in ("make", "vrnn", "random", "stack")), ("resnet", "vrnn")],
)
def test_the_given_network_is_left_as_it_was(request, network, kind):
    """Even when the new model's arrays are changed in place or donated to a training step."""
    model = request.getfixturevalue(network)
    before, graph = _bytes(model), nnx.graphdef(model)
    new = _make(kind, model, nnx.Rngs(1))
    for leaf in jax.tree.leaves(nnx.state(new)):
        leaf.delete()  # what donation does
    assert _bytes(model) == before
    assert nnx.graphdef(model) == graph


def test_a_foreign_network_is_left_as_it_was(foreign):
    before = _bytes(foreign)
    options = {"output_layer": "head.out", "rngs": nnx.Rngs(1)}
    for new in (
        make_recurrent(foreign, ["neck.layers.0"], "gru", extra=1, outputs=2, **options),
        stack_recurrent(foreign, "gru", 6, 2, **options),
        per_frame(foreign, 2, **options),
    ):
        for leaf in jax.tree.leaves(nnx.state(new)):
            leaf.delete()
    assert _bytes(foreign) == before


@pytest.mark.parametrize(("cell", "shared", "blocks"), [("lstm", False, 4), ("gru", True, 1)])
def test_pretrained_weights_come_along_under_their_names(ours, cell, shared, blocks):
    old = _flat(ours)
    new = _flat(make_recurrent(ours, cell=cell, shared=shared, rngs=nnx.Rngs(1)))
    gates = {"lstm": 4, "gru": 3}[cell]
    for name in ("fc6", "fc7"):
        for part in ("kernel", "bias"):
            array = new.pop(f"backbone.{name}.{part}")
            for block in np.split(array, blocks, axis=-1):
                np.testing.assert_array_equal(block, old[f"{name}.{part}"])
        assert new.pop(f"backbone.{name}.recurrent_kernel").shape == (gates, 6, 6)
    for name, array in new.items():
        np.testing.assert_array_equal(array, old[name.removeprefix("backbone.")], err_msg=name)


def test_init_random_keeps_the_structure(ours, resnet):
    for model in (ours, resnet):
        kept = make_recurrent(model, cell="gru", rngs=nnx.Rngs(1))
        anew = make_recurrent(model, cell="gru", init="random", rngs=nnx.Rngs(1))
        assert jax.tree.structure(nnx.state(kept)) == jax.tree.structure(nnx.state(anew))
        for a, b in zip(kept.recurrent_layers, anew.recurrent_layers, strict=True):
            assert not np.any(np.isclose(a.kernel[...], b.kernel[...]))


def test_the_readout_is_the_network_s_own_activation_or_none(ours, resnet):
    for model in (ours, resnet):
        kept = make_recurrent(model, rngs=nnx.Rngs(1))
        plain = make_recurrent(model, readout=None, rngs=nnx.Rngs(1))
        assert all(layer.readout is nnx.relu for layer in kept.recurrent_layers)
        assert all(layer.readout is None for layer in plain.recurrent_layers)
    extra = make_recurrent(ours, extra=1, rngs=nnx.Rngs(1)).recurrent_layers
    stack = stack_recurrent(ours, "gru", 6, rngs=nnx.Rngs(1)).recurrent_layers
    assert [layer.readout for layer in (*extra, *stack)] == [nnx.relu, nnx.relu, None, None]


def test_the_layers_and_their_order(ours, resnet):
    both = make_recurrent(ours, ["fc7", "fc6"], "lstm", extra=2, rngs=nnx.Rngs(1))
    assert isinstance(both, SequenceModel)
    assert both.converted == ("fc6", "fc7")
    sizes = [(layer.in_features, layer.features) for layer in both.recurrent_layers]
    assert sizes == [(64, 6), (6, 6), (6, 6), (6, 6)]
    assert make_recurrent(ours, ["fc7"], rngs=nnx.Rngs(1)).converted == ("fc7",)
    last = make_recurrent(resnet, rngs=nnx.Rngs(1))
    assert last.converted == ("layer2.0.conv3",)
    assert isinstance(last.recurrent_layers[0], RecurrentConv)
    assert not hasattr(last.backbone.layer2[0], "bn3")
    stack = stack_recurrent(resnet, "vrnn", 7, 2, rngs=nnx.Rngs(1))
    sizes = [(layer.in_features, layer.features) for layer in stack.recurrent_layers]
    assert sizes == [(16, 7), (7, 7)]


def test_a_name_alone_is_a_layer(ours, foreign):
    one = make_recurrent(ours, "fc7")
    assert one.converted == ("fc7",)
    assert nnx.graphdef(one) == nnx.graphdef(make_recurrent(ours, ["fc7"]))
    assert make_recurrent(foreign, "head.inner").converted == ("head.inner",)
    with pytest.raises(InputError, match=r"layers \['fc9'\] of Tiny"):
        make_recurrent(ours, "fc9")


def test_dropout_of_a_foreign_network_stands_before_its_output_layer(foreign):
    new = stack_recurrent(foreign, hidden=5, dropout=0.5, output_layer="head.out")
    kinds = [type(layer).__name__ for layer in new.network.head.out.layers]
    assert kinds == ["RecurrentSlot", "DropoutSlot", "Linear"]
    with pytest.raises(InputError, match="`dropout` needs output_layer="):
        per_frame(foreign, dropout=0.5)


def test_the_output_layer(ours, foreign):
    kept = make_recurrent(ours, rngs=nnx.Rngs(1))
    np.testing.assert_array_equal(kept.backbone.fc8.kernel[...], ours.fc8.kernel[...])
    options = {"output_layer": "head.out", "rngs": nnx.Rngs(1)}
    fresh = [
        make_recurrent(ours, outputs=9, rngs=nnx.Rngs(1)).backbone.fc8,
        per_frame(ours, 9, rngs=nnx.Rngs(1)).backbone.fc8,
        stack_recurrent(ours, "gru", 6, outputs=9, rngs=nnx.Rngs(1)).backbone.fc8,
        make_recurrent(foreign, ["neck.layers.0"], outputs=9, **options).network.head.out,
        per_frame(foreign, 9, **options).network.head.out,
        stack_recurrent(foreign, "gru", 6, outputs=9, **options).network.head.out.layers[1],
    ]
    for layer in fresh:
        assert layer.out_features == 9
        np.testing.assert_array_equal(layer.kernel[...], 0)
        np.testing.assert_array_equal(layer.bias[...], 0)
    # A traditional stack cannot keep the old one, but has its size.
    assert stack_recurrent(ours, "gru", 7, rngs=nnx.Rngs(1)).backbone.fc8.kernel.shape == (7, 4)


def test_a_foreign_network_keeps_its_names(foreign):
    new = make_recurrent(
        foreign, ["neck.layers.0"], "gru", extra=1, output_layer="head.out", rngs=nnx.Rngs(1)
    )
    assert isinstance(new, FoldedModel)
    assert (new.converted, new.extra_slot) == (("neck.layers.0",), "head.out.layers.0")
    flat = _flat(new)
    old = _flat(foreign)
    np.testing.assert_array_equal(
        flat["network.neck.layers.0.layers.0.kernel"], np.tile(old["neck.layers.0.kernel"], 3)
    )
    np.testing.assert_array_equal(flat["network.head.out.layers.1.kernel"], old["head.out.kernel"])
    assert all(isinstance(layer, Recurrent) for layer in new.recurrent_layers)


def test_the_same_keys_give_the_same_model(ours):
    models = [make_recurrent(ours, cell="gru", extra=1, rngs=nnx.Rngs(seed)) for seed in (1, 1, 2)]
    first, same, other = (_flat(model) for model in models)
    name = "backbone.fc6.recurrent_kernel"
    np.testing.assert_array_equal(first[name], same[name])
    assert not np.any(np.isclose(first[name], other[name]))


BAD = [
    ("ours", {"layers": ["fc9"]}, r"layers \['fc9'\] of Tiny; expected some of \['fc6', 'fc7'\]"),
    ("ours", {"layers": ["fc8"]}, r"expected some of"),
    ("ours", {"layers": ["conv"]}, r"expected some of"),
    ("ours", {"layers": []}, r"expected some of"),
    ("ours", {"layers": ["fc6", "fc6"]}, "once"),
    ("ours", {"output_layer": "fc7"}, "output_layer is 'fc7'; the output layer of Tiny is 'fc8'"),
    ("ours", {"cell": "elman"}, "unknown cell 'elman'"),
    ("ours", {"init": "imagenet"}, "init is 'imagenet'; expected 'pretrained' or 'random'"),
    ("ours", {"readout": "relu"}, "readout is 'relu'; expected 'kept' or None"),
    ("ours", {"extra": -1}, "extra is -1"),
    ("ours", {"outputs": 0}, "outputs is 0"),
    ("resnet", {"layers": ["layer1.0.conv3"]}, r"expected some of \['layer2.0.conv3'\]"),
    ("foreign", {}, "name the layers of Foreign .*: .*neck.layers.0"),
    ("foreign", {"layers": ["fc6"]}, "Foreign has no layer 'fc6'"),
    ("foreign", {"layers": ["neck"]}, "'neck' is a Sequential; only linear layers"),
    ("foreign", {"layers": ["convs.0"]}, "'convs.0' is a Conv; only linear layers"),
    ("foreign", {"layers": ["neck.layers.0"], "extra": 1}, "needs output_layer="),
    ("foreign", {"layers": ["neck.layers.0"], "outputs": 2}, "needs output_layer=.*: .*out"),
    (
        "foreign",
        {"layers": ["neck.layers.0"], "outputs": 2, "output_layer": "neck"},
        "output_layer 'neck' is a Sequential, not an nnx.Linear",
    ),
    ("foreign", {"layers": ["neck.layers.0"], "readout": None}, "use LayerSequence"),
]


@pytest.mark.parametrize(("network", "arguments", "message"), BAD)
def test_what_cannot_be_done_is_refused(request, network, arguments, message):
    model = request.getfixturevalue(network)
    with pytest.raises(InputError, match=message):
        make_recurrent(model, **arguments, rngs=nnx.Rngs(1))


def test_bad_stacks(ours, foreign):
    rngs = nnx.Rngs(1)
    for arguments, message in [
        ({"hidden": 0}, "1 layers of hidden size 0"),
        ({"hidden": 4, "depth": 0}, "0 layers of hidden size 4"),
        ({"hidden": 4, "outputs": 0}, "outputs is 0"),
    ]:
        with pytest.raises(InputError, match=message):
            stack_recurrent(ours, "gru", **arguments, rngs=rngs)
    with pytest.raises(InputError, match="a traditional recurrent layer needs output_layer="):
        stack_recurrent(foreign, "gru", 4, rngs=rngs)
    with pytest.raises(InputError, match="`outputs` or `dropout` needs output_layer="):
        per_frame(foreign, 4, rngs=rngs)


def test_a_model_that_is_recurrent_already_is_refused(ours):
    model = make_recurrent(ours, rngs=nnx.Rngs(1))
    with pytest.raises(InputError, match=r"'backbone.fc6' is a Recurrent; only linear layers"):
        make_recurrent(model, ["backbone.fc6"], rngs=nnx.Rngs(1))


def test_it_works_on_abstract_networks():
    """A model's shapes can be had without its memory (VGG16 at full size)."""
    made = nnx.eval_shape(
        lambda: make_recurrent(VGG16(rngs=nnx.Rngs(0)), cell="lstm", outputs=136, rngs=nnx.Rngs(1))
    )
    assert made.backbone.fc6.kernel.shape == (25088, 4 * 4096)
    clips = jax.ShapeDtypeStruct((2, 3, 224, 224, 3), jnp.float32)
    outputs, carry = nnx.eval_shape(lambda model, clips: model(clips), made, clips)
    assert outputs.shape == (2, 3, 136)
    assert [part.shape for layer in carry for part in layer] == [(2, 4096)] * 4
