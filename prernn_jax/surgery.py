"""Makes pre-trained networks recurrent (PreRNN), and builds the traditional baseline.

Every function returns a new model and leaves the given one as it was. Our own backbones say in
`head` which layers can become recurrent; in any other network these are named `nnx.Linear`s.
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

from flax import nnx

from prernn_jax.backbones.head import choose_layers, is_backbone, output_name
from prernn_jax.errors import InputError
from prernn_jax.foreign import DropoutSlot, FoldedModel, RecurrentSlot
from prernn_jax.json_values import plain
from prernn_jax.layers.recurrent import Activation, Recurrent, from_linear
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.module_path import get_layer, set_layer
from prernn_jax.new_weights import budget_of_sequence
from prernn_jax.sequence import SequenceModel

Readout = Literal["kept"] | None


def make_recurrent(
    model: nnx.Module,
    layers: str | Sequence[str] | None = None,
    cell: str = "gru",
    shared: bool = False,
    init: Literal["pretrained", "random"] = "pretrained",
    extra: int = 0,
    outputs: int | None = None,
    *,
    readout: Readout = "kept",
    dropout: float = 0.0,
    output_layer: str | None = None,
    rngs: nnx.Rngs | None = None,
) -> SequenceModel | FoldedModel:
    """Makes layers of a pre-trained network recurrent (PreRNN).

    Args:
        model: One of our backbones, or any network with named `nnx.Linear` layers.
        layers: Name or names of the layers to transform. None means all that can be transformed
            in one of our backbones (fc6 and fc7, or the last convolution of a ResNet).
        cell: `vrnn`, `lstm`, `gru` or `gru_cho`.
        shared: One input-to-hidden map for all gates (PreRNN-SIH).
        init: Whether to keep the pre-trained input-to-hidden weights or to draw new ones, the
            control of docs/paper.md, Table 3.
        extra: Further random recurrent layers of the same size before the output layer
            (docs/paper.md, Table 2).
        outputs: Size K of a new output layer that starts at zero; None keeps the present one.
        readout: With `kept` the converted layer hands on what the network's own activation makes
            of its hidden state; the state itself recurs without it. None hands the state on as it
            is. A foreign network's own forward applies the activation, so only `kept` is possible.
        dropout: Share of the output layer's inputs that a call with a `dropout_key` drops.
        output_layer: Name of a foreign network's output layer, for `outputs`, `extra`, `dropout`.
        rngs: Source of the hidden-to-hidden and other new weights; seed 0 when None.

    Returns:
        A model called as `outputs, carry = model(clips, carry=None, lengths=None)`.

    Raises:
        InputError: A layer does not exist or cannot be made recurrent, or an argument is none of
            those above.
    """
    if init not in ("pretrained", "random"):
        raise InputError(f"init is {init!r}; expected 'pretrained' or 'random'")
    if readout not in ("kept", None):
        raise InputError(f"readout is {readout!r}; expected 'kept' or None")
    if extra < 0:
        raise InputError(f"extra is {extra}; expected 0 or more further layers")
    if readout is None and not is_backbone(model):
        raise InputError(
            f"readout=None: {type(model).__name__}'s own forward applies what follows the layer; "
            "use LayerSequence to leave it out"
        )
    rngs = nnx.Rngs(0) if rngs is None else rngs
    model = _copy(model)
    chosen = choose_layers(model, layers)
    made_by = {
        "function": "make_recurrent", "layers": chosen, "cell": cell, "shared": shared,
        "init": init, "extra": extra, "outputs": outputs, "readout": readout, "dropout": dropout,
    }  # fmt: skip
    for index, layer in enumerate(chosen):
        keep = _activation(model, layer) if readout == "kept" else None
        new = _converted(model, layer, cell, shared, keep, rngs)
        if init == "random":
            new.draw_input_kernel(rngs)
        set_layer(model, layer, new if is_backbone(model) else RecurrentSlot([new], index))
    stack: list[Recurrent] = []
    name = output = None
    if outputs is not None or extra or dropout or output_layer is not None:
        name = output_name(model, output_layer, "`outputs`, `extra` or `dropout`")
        output = get_layer(model, name)
        features = output.in_features
        stack = [Recurrent(features, features, cell, shared, rngs=rngs) for _ in range(extra)]
        if outputs is not None:
            output = _zero_linear(features, outputs, rngs)
    return _assembled(model, chosen, stack, name, output, dropout, made_by)


def stack_recurrent(
    model: nnx.Module,
    cell: str = "gru",
    hidden: int | None = None,
    depth: int | None = None,
    outputs: int | None = None,
    *,
    like: SequenceModel | FoldedModel | None = None,
    dropout: float = 0.0,
    output_layer: str | None = None,
    rngs: nnx.Rngs | None = None,
) -> SequenceModel | FoldedModel:
    """Builds the traditional baseline: random recurrent layers on a network's last features.

    Args:
        model: As for `make_recurrent`.
        cell: As for `make_recurrent`.
        hidden: Hidden size d of every layer; not needed where `like` is given.
        depth: Number of layers; by default that of `like`, or 1.
        outputs: Size K of the new output layer; by default that of `like`, or of the network.
        like: A recurrent model that the baseline is to match: its hidden size is the one with as
            nearly as possible the same number of new weights.
        dropout: As for `make_recurrent`.
        output_layer: Name of a foreign network's output layer.
        rngs: Source of the new weights; seed 0 when None.

    Returns:
        A model called like that of `make_recurrent`.

    Raises:
        InputError: Neither or both of `hidden` and `like` are given, or a size is below 1.
    """
    rngs = nnx.Rngs(0) if rngs is None else rngs
    model = _copy(model)
    name = output_name(model, output_layer, "a traditional recurrent layer")
    old = get_layer(model, name)
    if (hidden is None) == (like is None):
        raise InputError("give either hidden=, the size of the layers, or like=, a model to match")
    if like is not None:
        budget = budget_of_sequence(like, output_layer)
        depth = budget.depth if depth is None else depth
        outputs = budget.outputs if outputs is None else outputs
        hidden = budget.matched_hidden(depth, cell, outputs)
    depth = 1 if depth is None else depth
    outputs = old.out_features if outputs is None else outputs
    assert hidden is not None
    if depth < 1 or hidden < 1:
        raise InputError(
            f"{depth} layers of hidden size {hidden}; both depth and hidden must be 1 or more"
        )
    made_by = {
        "function": "stack_recurrent", "cell": cell, "hidden": hidden, "depth": depth,
        "outputs": outputs, "dropout": dropout,
    }  # fmt: skip
    sizes = [old.in_features] + [hidden] * depth
    stack = [Recurrent(a, b, cell, rngs=rngs) for a, b in pairwise(sizes)]
    output = _zero_linear(hidden, outputs, rngs)
    return _assembled(model, [], stack, name, output, dropout, made_by)


def per_frame(
    model: nnx.Module,
    outputs: int | None = None,
    *,
    dropout: float = 0.0,
    output_layer: str | None = None,
    rngs: nnx.Rngs | None = None,
) -> SequenceModel | FoldedModel:
    """Builds the control without recurrence: a network that sees each frame alone.

    Args:
        model: As for `make_recurrent`.
        outputs: Size K of a new output layer that starts at zero; None keeps the present one.
        dropout: As for `make_recurrent`.
        output_layer: Name of a foreign network's output layer, for `outputs` and `dropout`.
        rngs: Source of the new weights; seed 0 when None.

    Returns:
        A model called like that of `make_recurrent`; its carry is empty.

    Raises:
        InputError: The output layer does not exist, or `outputs` is below 1.
    """
    rngs = nnx.Rngs(0) if rngs is None else rngs
    model = _copy(model)
    name = output = None
    if outputs is not None or dropout or output_layer is not None:
        name = output_name(model, output_layer, "`outputs` or `dropout`")
        output = get_layer(model, name)
        if outputs is not None:
            output = _zero_linear(output.in_features, outputs, rngs)
    made_by = {"function": "per_frame", "outputs": outputs, "dropout": dropout}
    return _assembled(model, [], [], name, output, dropout, made_by)


def _copy(model: nnx.Module) -> Any:
    """A copy with arrays of its own: training donates them, and the original must survive that."""
    return nnx.clone(model, arrays=True)


def _zero_linear(in_features: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """An output layer whose every output starts at zero (docs/decisions.md, readout)."""
    if outputs < 1:
        raise InputError(f"outputs is {outputs}; the output layer needs 1 or more")
    zeros = nnx.initializers.zeros_init()
    return nnx.Linear(in_features, outputs, kernel_init=zeros, rngs=rngs)


def _converted(
    model: Any, name: str, cell: str, shared: bool, readout: Activation | None, rngs: nnx.Rngs
) -> Recurrent:
    layer = get_layer(model, name)
    if isinstance(layer, nnx.Linear):
        return from_linear(layer, cell, shared, readout, rngs=rngs)
    if isinstance(layer, nnx.Conv) and is_backbone(model):
        block = get_layer(model, name.rsplit(".", 1)[0])
        new = RecurrentConv.from_conv(layer, block.bn3, cell, shared, readout, rngs=rngs)
        del block.bn3
        return new
    raise InputError(
        f"layer {name!r} is a {type(layer).__name__}; only linear layers and a ResNet's last "
        "convolution can be made recurrent"
    )


def _activation(model: Any, name: str) -> Activation | None:
    """What follows a backbone's layer; a foreign network's own forward applies it itself."""
    entries = model.head if is_backbone(model) else ()
    return next((entry.activation for entry in entries if entry.name == name), None)


def _assembled(
    model: Any,
    converted: list[str],
    stack: list[Recurrent],
    name: str | None,
    output: Any,
    dropout: float,
    made_by: dict[str, Any],
) -> SequenceModel | FoldedModel:
    """The sequence model, with `stack` and then `output` in the place of the layer `name`."""
    if is_backbone(model):
        if name is not None:
            set_layer(model, name, output)
        return SequenceModel(model, converted, stack, dropout, json.dumps(made_by, default=plain))
    made_by = {**made_by, "output_layer": name}
    before: list[nnx.Module] = [RecurrentSlot(stack, len(converted))] if stack else []
    if dropout:
        before.append(DropoutSlot(dropout))
    if before:
        output = nnx.Sequential(*before, output)
    if name is not None:
        set_layer(model, name, output)
    extra_slot = f"{name}.layers.0" if stack else None
    return FoldedModel(model, converted, extra_slot, dropout, json.dumps(made_by, default=plain))
