"""Making pre-trained networks recurrent (PreRNN), and the traditional baseline.

Every function gives a new model and leaves the given one as it was. Our own backbones say in
`head` which layers can become recurrent; in any other network they are named `nnx.Linear`s.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

from flax import nnx

from prernn_jax.backbones.head import choose_layers, is_backbone, output_name
from prernn_jax.errors import InputError
from prernn_jax.layers.recurrent import Activation, Recurrent
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.module_path import get_layer, set_layer
from prernn_jax.sequence import FoldedModel, RecurrentSlot, SequenceModel

Readout = Literal["kept"] | None


def make_recurrent(
    model: nnx.Module,
    layers: Sequence[str] | None = None,
    cell: str = "gru",
    shared: bool = False,
    init: Literal["pretrained", "random"] = "pretrained",
    extra: int = 0,
    outputs: int | None = None,
    *,
    readout: Readout = "kept",
    output_layer: str | None = None,
    rngs: nnx.Rngs,
) -> SequenceModel | FoldedModel:
    """Makes layers of a pre-trained network recurrent (PreRNN).

    Args:
        model: One of our backbones, or any network with named `nnx.Linear` layers.
        layers: Names of the layers to transform; with one of our backbones None means all that
            can be (fc6 and fc7, or the last convolution of a ResNet).
        cell: `vrnn`, `lstm`, `gru` or `gru_cho`.
        shared: One input-to-hidden map for all gates (PreRNN-SIH).
        init: Keep the pre-trained input-to-hidden weights, or draw them anew (Table 3's control).
        extra: Further random recurrent layers of the same size before the output layer (Table 2).
        outputs: Size K of a fresh output layer that starts at zero; None keeps the present one.
        readout: `kept`: the converted layer hands on what the network's own activation makes of
            its hidden state, which itself recurs as it is. None: the hidden state goes on
            unchanged.
            In a foreign network its own forward decides, so only `kept` is possible.
        output_layer: A foreign network's output layer, needed for `outputs` and `extra`.
        rngs: Source of the hidden-to-hidden and other new weights.

    Returns:
        A model called as `outputs, carry = model(clips, carry=None, lengths=None)`.

    Raises:
        InputError: A layer does not exist, or cannot be made recurrent.
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
    model = _copy(model)
    chosen = choose_layers(model, layers)
    for index, name in enumerate(chosen):
        keep = _activation(model, name) if readout == "kept" else None
        new = _converted(model, name, cell, shared, keep, rngs)
        if init == "random":
            new.draw_input_kernel(rngs)
        set_layer(model, name, new if is_backbone(model) else RecurrentSlot([new], index))
    if outputs is None and not extra and output_layer is None:
        return _assembled(model, chosen, [], None, None)
    name = output_name(model, output_layer, "`outputs` or `extra`")
    output = get_layer(model, name)
    features = output.in_features
    stack = [Recurrent(features, features, cell, shared, rngs=rngs) for _ in range(extra)]
    if outputs is not None:
        output = _zero_linear(features, outputs, rngs)
    return _assembled(model, chosen, stack, name, output)


def stack_recurrent(
    model: nnx.Module,
    cell: str,
    hidden: int,
    layers: int = 1,
    outputs: int | None = None,
    *,
    output_layer: str | None = None,
    rngs: nnx.Rngs,
) -> SequenceModel | FoldedModel:
    """The traditional baseline: random recurrent layers on a network's last features.

    Args:
        model: As for `make_recurrent`.
        cell: As for `make_recurrent`.
        hidden: Hidden size d of every layer.
        layers: Number of layers.
        outputs: Size K of the fresh output layer; None keeps the present one's.
        output_layer: A foreign network's output layer.
        rngs: Source of the new weights.

    Returns:
        A model called like that of `make_recurrent`.
    """
    if layers < 1 or hidden < 1:
        raise InputError(f"{layers} layers of hidden size {hidden}; both must be 1 or more")
    model = _copy(model)
    name = output_name(model, output_layer, "a traditional recurrent layer")
    old = get_layer(model, name)
    sizes = [old.in_features] + [hidden] * layers
    stack = [Recurrent(a, b, cell, rngs=rngs) for a, b in pairwise(sizes)]
    output = _zero_linear(hidden, old.out_features if outputs is None else outputs, rngs)
    return _assembled(model, [], stack, name, output)


def per_frame(
    model: nnx.Module,
    outputs: int | None = None,
    *,
    output_layer: str | None = None,
    rngs: nnx.Rngs,
) -> SequenceModel | FoldedModel:
    """The control without recurrence: a network on every frame by itself.

    Args:
        model: As for `make_recurrent`.
        outputs: Size K of a fresh output layer that starts at zero; None keeps the present one.
        output_layer: A foreign network's output layer, needed for `outputs`.
        rngs: Source of the new weights.
    """
    model = _copy(model)
    if outputs is None:
        return _assembled(model, [], [], None, None)
    name = output_name(model, output_layer, "`outputs`")
    output = _zero_linear(get_layer(model, name).in_features, outputs, rngs)
    return _assembled(model, [], [], name, output)


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
        return Recurrent.from_linear(layer, cell, shared, readout, rngs=rngs)
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
    model: Any, converted: list[str], stack: list[Recurrent], name: str | None, output: Any
) -> SequenceModel | FoldedModel:
    """The sequence model, with `stack` and then `output` in the place of the layer `name`."""
    if is_backbone(model):
        if name is not None:
            set_layer(model, name, output)
        return SequenceModel(model, converted, stack)
    slots = list(converted)
    if stack:
        output = nnx.Sequential(RecurrentSlot(stack, len(slots)), output)
        slots.append(f"{name}.layers.0")
    if name is not None:
        set_layer(model, name, output)
    return FoldedModel(model, slots)
