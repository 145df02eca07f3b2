"""What a Keras file says of its layers: the names of their variables, and the graph."""

import re
from collections.abc import Mapping
from typing import Any

from weights_port.formats.source import Kind, Node

VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
_KINDS: dict[str, Kind] = {
    "Conv2D": "conv", "Convolution2D": "conv", "Conv3D": "conv", "Convolution3D": "conv",
    "Dense": "dense", "BatchNormalization": "batch_norm", "ReLU": "relu", "Add": "add",
    "Flatten": "flatten", "Concatenate": "concat", "MaxPooling2D": "pool", "MaxPooling3D": "pool",
    "AveragePooling2D": "pool", "AveragePooling3D": "pool", "GlobalAveragePooling2D": "pool",
    "GlobalAveragePooling3D": "pool", "GlobalMaxPooling2D": "pool", "GlobalMaxPooling3D": "pool",
}  # fmt: skip
Settings = Mapping[str, Any]
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)


def variable_names(
    place: str, attributes: Mapping[str, Mapping[str, list[str]]], settings: Settings
) -> str:
    """The key of the array at a place in the HDF5 file: `layer/kernel`.

    Args:
        place: Path of the array, without `model_weights/`.
        attributes: Of the file's groups; version 3 keeps the layer's name there.
        settings: The model's configuration, or {}.
    """
    group, _, last = place.rpartition("/")
    if not group.endswith("vars"):  # versions 1 and 2, and the .h5 of version 3
        layer, _, rest = place.partition("/")
        scope, _, variable = rest.partition("/")
        if scope.startswith(layer) and variable.removesuffix(":0") in VARIABLES:
            return f"{layer}/{variable}"
        return rest or place
    owner = group.removesuffix("/vars")
    word = owner.rpartition("/")[2]
    classes = _classes(settings)
    named = attributes.get(group, {}).get("name", [])
    layer = named[0] if named else classes.get(word, (word, ""))[0]
    kind = next((c for name, c in classes.values() if name == layer), "") or word
    names = _variables(re.sub(r"_\d+$", "", _snake(kind)), settings, layer)
    if last.isdigit() and int(last) < len(names):
        return f"{layer}/{names[int(last)]}"
    return f"{layer}/{last}"


def _variables(kind: str, settings: Settings, layer: str) -> list[str]:
    """The variables of a layer in the order in which it numbers them."""
    if kind.startswith(("conv", "dense")):
        return ["kernel", "bias"]
    if kind != "batch_normalization":
        return []
    config = next((c for c in _layers(settings) if c.get("name") == layer), {})
    left_out = [name for flag, name in (("scale", "gamma"), ("center", "beta"))
                if config.get(flag) is False]  # fmt: skip
    return [name for name in VARIABLES[2:] if name not in left_out]


def _classes(settings: Settings) -> dict[str, tuple[str, str]]:
    """The group that version 3 gives to each layer -> the layer's name and class."""
    count: dict[str, int] = {}
    found = {}
    for config in _layers(settings):
        word = _snake(config["class_name"])
        number = count.get(word, 0)
        count[word] = number + 1
        found[f"{word}_{number}" if number else word] = (config["name"], config["class_name"])
    return found


def _snake(name: str) -> str:
    """As Keras does it: Conv2D is conv2d, BatchNormalization is batch_normalization."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def layer_names(settings: Settings) -> list[str]:
    """The layers in their order; none where the file does not tell them."""
    return [config["name"] for config in _layers(settings)]


def _layers(settings: Settings) -> list[dict[str, Any]]:
    """The configuration of each layer, with its name, class and inputs in it."""
    try:
        config = settings["config"]
        layers = config if isinstance(config, list) else config["layers"]
        return [
            {
                **layer["config"],
                "name": str(layer["config"].get("name", layer.get("name"))),
                "class_name": str(layer["class_name"]),
                "inbound_nodes": layer.get("inbound_nodes"),
            }
            for layer in layers
        ]
    except _FAULTS:
        return []


def make_graph(settings: Settings, arrays: Mapping[str, Any]) -> tuple[Node, ...] | None:
    """The layers as nodes; None where the file does not describe the model."""
    own: dict[str, list[str]] = {}
    for key in arrays:
        own.setdefault(key.split("/")[0], []).append(key)
    graph: list[Node] = []
    try:
        for config in _layers(settings):
            inputs = _inputs(config["inbound_nodes"])
            if not inputs and config["inbound_nodes"] is None and graph:  # a Sequential
                inputs = list(graph[-1].outputs)
            name, kind = config["name"], _KINDS.get(config["class_name"], "other")
            if config["class_name"] == "Activation" and config.get("activation") == "relu":
                kind = "relu"
            attributes = _attributes(kind, config)
            keys = tuple(own.get(name, ()))
            graph.append(Node(name, kind, tuple(inputs), (name,), keys, attributes))
    except _FAULTS:
        return None
    return tuple(graph) or None


def _inputs(value: Any) -> list[str]:
    """Names of the layers before, in the nested lists of versions 1 and 2 or the objects of 3."""
    if isinstance(value, Mapping):
        history = value.get("keras_history")
        if isinstance(history, list) and history:
            return [str(history[0])]
        return [name for part in value.values() for name in _inputs(part)]
    if not isinstance(value, list):
        return []
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        return [value[0]]
    return [name for part in value for name in _inputs(part)]


def _attributes(kind: Kind, config: Mapping[str, Any]) -> dict[str, Any]:
    word = config["class_name"]
    found: dict[str, Any] = {"type": word}
    if config.get("activation", "linear") not in ("linear", None):
        found["activation"] = str(config["activation"])
    if kind in ("conv", "pool"):
        kernel = _tuple(config.get("kernel_size", config.get("pool_size")))
        found |= {
            "kernel": kernel,
            "stride": _tuple(config.get("strides")) or (1,) * len(kernel),
            "dilation": _tuple(config.get("dilation_rate")) or (1,) * len(kernel),
            "group": config.get("groups", 1),
        }
        if config.get("padding", config.get("border_mode", "valid")) == "same":
            found["auto_pad"] = "same"
        else:
            found["pad"] = (0,) * len(kernel)
    if kind == "pool":
        found["operation"] = "max" if "Max" in word else "average"
        found["ceil_mode"] = False
        found["global"] = word.startswith("Global")
    elif kind == "batch_norm":
        found["eps"] = config.get("epsilon", 1e-3)
    elif kind == "concat":
        found["axis"] = config.get("axis", -1)
    elif word.startswith("ZeroPadding"):
        found["pad"] = config.get("padding")
    return found


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else ()
