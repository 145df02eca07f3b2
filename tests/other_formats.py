"""Files of ONNX, Keras and numpy with the weights of a network, written by the tests."""

import json

import h5py
import numpy as np
import onnx
from onnx import helper, numpy_helper

RNG = np.random.default_rng(7)
KERNEL = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)  # O, I, H, W
BIAS = RNG.normal(size=4).astype(np.float32)
NORM = {
    name: RNG.uniform(0.5, 2, 4).astype(np.float32) for name in ("gamma", "beta", "mean", "var")
}
MATRIX = RNG.normal(size=(5, 16)).astype(np.float32)  # O, I
OFFSET = RNG.normal(size=5).astype(np.float32)


def onnx_model(nodes, arrays, producer="test", **entries):
    """A model of nodes and initialisers, which may be TensorProtos already."""
    tensors = [
        array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array, name)
        for name, array in arrays.items()
    ]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    model = helper.make_model(graph, producer_name=producer)
    helper.set_model_props(model, entries)
    return model.SerializeToString()


def small_onnx(**how):
    """A convolution, batch-norm, ReLU, a shortcut, a pooling and a matrix."""
    turned = how.get("turned", False)
    arrays = {
        "c.weight": KERNEL, "c.bias": BIAS, "bn.weight": NORM["gamma"], "bn.bias": NORM["beta"],
        "bn.running_mean": NORM["mean"], "bn.running_var": NORM["var"],
        "fc.weight": MATRIX.T.copy() if turned else MATRIX, "fc.bias": OFFSET,
        "shape": np.array([1, 16]),
    }  # fmt: skip
    if turned:
        dense = [
            helper.make_node("MatMul", ["f", "fc.weight"], ["m"], "fc"),
            helper.make_node("Add", ["m", "fc.bias"], ["out"], "fc/add"),
        ]
    else:
        dense = [helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["out"], "fc", transB=1)]
    nodes = [
        helper.make_node(
            "Conv", ["x", "c.weight", "c.bias"], ["c"], "c", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node(
            "BatchNormalization",
            ["c", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"],
            ["n"],
            "bn",
            epsilon=0.25,
        ),
        helper.make_node("Relu", ["n"], ["r"], "r"),
        helper.make_node("Add", ["r", "c"], ["s"], "sum"),
        helper.make_node(
            "MaxPool", ["s"], ["p"], "p", kernel_shape=[3, 3], strides=[2, 2],
            pads=[0, 0, 1, 1], ceil_mode=1,
        ),
        helper.make_node("Reshape", ["p", "shape"], ["f"], "f"),
        *dense,
    ]  # fmt: skip
    return onnx_model(nodes, arrays, **{k: v for k, v in how.items() if k != "turned"})


# Keras: a convolution, batch-norm and a dense layer, named by the user or by Keras.
LAYERS = {
    "block1_conv1": ("Conv2D", {"kernel": KERNEL.transpose(2, 3, 1, 0), "bias": BIAS}),
    "bn_x": ("BatchNormalization", {
        "gamma": NORM["gamma"], "beta": NORM["beta"],
        "moving_mean": NORM["mean"], "moving_variance": NORM["var"]}),
    "pool": ("MaxPooling2D", {}),
    "fc1": ("Dense", {"kernel": MATRIX.T, "bias": OFFSET}),
}  # fmt: skip
KEYS = [f"{layer}/{name}" for layer, (_, arrays) in LAYERS.items() for name in arrays]
_SETTINGS = {
    "Conv2D": {"kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "activation": "relu"},
    "BatchNormalization": {"epsilon": 0.25},
    "MaxPooling2D": {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"},
    "Dense": {"activation": "linear"},
}


def keras_config(version):
    """The configuration of a functional model as versions 2 and 3 write it."""
    layers, before = [], None
    for name, (kind, _) in LAYERS.items():
        if before is None:
            inbound = []
        elif version == 2:
            inbound = [[[before, 0, 0, {}]]]
        else:
            tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [before, 0, 0]}}
            inbound = [{"args": [tensor], "kwargs": {}}]
        config = {"name": name, **_SETTINGS[kind]}
        layers.append(
            {"class_name": kind, "config": config, "name": name, "inbound_nodes": inbound}
        )
        before = name
    return json.dumps({"class_name": "Functional", "config": {"name": "m", "layers": layers}})


def write_keras(path, version, *, whole=True, **how):
    """Writes an `.h5` of Keras 1 or 2, or the `.weights.h5` of 3.

    Args:
        path: The file.
        version: 1, 2 or 3.
        whole: As `model.save` writes it, with the configuration; else only the weights.
        how: Settings of the datasets, such as compression.
    """
    with h5py.File(path, "w") as file:
        if version == 3:
            count = {}
            for name, (kind, arrays) in LAYERS.items():
                word = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization",
                        "MaxPooling2D": "max_pooling2d", "Dense": "dense"}[kind]  # fmt: skip
                count[word] = count.get(word, 0) + 1
                group = file.create_group(f"layers/{word}/vars")
                group.attrs["name"] = name
                for number, array in enumerate(arrays.values()):
                    group.create_dataset(str(number), data=array, **how)
            return
        root = file.create_group("model_weights") if whole else file
        if whole:
            file.attrs["model_config"] = keras_config(2)
            file.create_group("optimizer_weights")["step:0"] = np.float32(3)
        root.attrs["layer_names"] = np.array([name.encode() for name in LAYERS])
        root.attrs["keras_version"] = f"{version}.2"
        for name, (_, arrays) in LAYERS.items():
            group = root.create_group(name)
            names = [
                f"{name}/{part}:0" if version == 2 else f"{name}_{part}_1:0" for part in arrays
            ]
            group.attrs["weight_names"] = np.array([n.encode() for n in names])
            for key, array in zip(names, arrays.values(), strict=True):
                group.create_dataset(key, data=array, **how)
