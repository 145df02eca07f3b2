"""Files of other frameworks, written by the tests themselves: Caffe's by hand, byte by byte."""

import math
import struct

import numpy as np
import torch

from weights_port import torch_networks

TINY_VGG = {"num_outputs": 8, "width": 2, "hidden": 16, "image_size": 64}
TINY_C3D = {"num_outputs": 8, "width": 2, "hidden": 16, "clip_length": 16, "image_size": 112}
TINY_RESNET = {"num_outputs": 8, "width": 2, "stem_width": 16}
SHORT = (2, 1, 2, 1)  # stages of a ResNet for --arch resnet, where the depth is not the question


def alive(network, seed=0):
    """Random weights that keep every layer's outputs of one size, in every array."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor, low, high in [
                (module.weight, 0.5, 1.5), (module.bias, -0.2, 0.2),
                (module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0),
            ]:  # fmt: skip
                tensor.data.uniform_(low, high, generator=generator)
        elif hasattr(module, "weight"):
            inputs = math.prod(module.weight.shape[1:])
            module.weight.data.normal_(0, (2 / inputs) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.uniform_(-0.1, 0.3, generator=generator)
    return network.eval()


def vgg16(**arguments):
    return alive(torch_networks.build_vgg16(**{**TINY_VGG, **arguments}))


def c3d(**arguments):
    return alive(torch_networks.build_c3d(**{**TINY_C3D, **arguments}))


def resnet50(**arguments):
    """With the statistics of pictures in the first batch-norm: raw ones where it is Caffe's."""
    network = alive(torch_networks.build_resnet(**{**TINY_RESNET, **arguments}))
    if network.conv1.in_channels == 3:
        seen(network.conv1, network.bn1, RAW if arguments.get("variant") == "caffe" else 1.0)
    return network


RAW = 58.0  # standard deviation of colours from 0 to 255


def pictures(count=4, size=96, seed=5):
    """Noise with a photograph's spectrum, in three like channels of variance 1: (N, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    along = torch.fft.fftfreq(size)
    frequency = torch.hypot(along[:, None], torch.fft.rfftfreq(size)).clamp(min=1 / size)
    white = torch.randn(count, 4, size, size, generator=generator)
    noise = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(size, size))
    noise = noise / noise.std((2, 3), keepdim=True)  # (N, 4, H, W)
    return noise[:, :1] * 0.95 + noise[:, 1:] * 0.3


def seen(conv, norm, deviation=1.0):
    """Sets a first batch-norm to what it stores of pictures of this standard deviation."""
    with torch.no_grad():
        outputs = conv(pictures() * deviation)
    norm.running_mean.copy_(outputs.mean((0, 2, 3)))
    norm.running_var.copy_(outputs.var((0, 2, 3)))


def arrays_of(network):
    """The state dict as numpy arrays, without PyTorch's counters."""
    state = network.state_dict()
    return {k: v.numpy() for k, v in state.items() if "num_batches" not in k}


# Protobuf's wire format.


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def piece(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def blob(array, dialect="shape", data="packed", diff=False):
    """A BlobProto: `shape` (BVLC with field 7), `legacy` (BVLC, 4-D) or `fork` (C3D-v1.0, 5-D)."""
    array = np.asarray(array)
    dims = (1,) * ((5 if dialect == "fork" else 4) - array.ndim) + array.shape
    if dialect == "shape":
        out = piece(7, piece(1, b"".join(varint(size) for size in array.shape)))
    else:
        out = b"".join(number(field, size) for field, size in enumerate(dims, start=1))
    field = 6 if dialect == "fork" else 5
    flat = array.astype("<f4").reshape(-1)
    if data == "packed":
        out += piece(field, flat.tobytes())
    elif data == "pieces":
        half = flat.size // 2
        out += piece(field, flat[:half].tobytes()) + piece(field, flat[half:].tobytes())
    elif data == "unpacked":
        out += b"".join(varint(field << 3 | 5) + struct.pack("<f", value) for value in flat)
    elif data == "double":
        out += piece(8, array.astype("<f8").tobytes())
    return out + (piece(field + 1, flat.tobytes()) if diff else b"")


def layer(version, name, kind, blobs):
    """One layer of a NetParameter in the V0, V1 or V2 form, with a bottom and a top."""
    if version == 2:
        inside = piece(1, name) + piece(2, kind) + piece(3, "in") + piece(4, name)
        return piece(100, inside + b"".join(piece(7, b) for b in blobs))
    types = {"Convolution": 4, "InnerProduct": 14, "Convolution3D": 30, "ReLU": 18}
    if version == 1:
        inside = piece(2, "in") + piece(3, name) + piece(4, name) + number(5, types.get(kind, 99))
        return piece(2, inside + b"".join(piece(6, b) for b in blobs))
    inside = piece(1, name) + piece(2, kind) + b"".join(piece(50, b) for b in blobs)
    return piece(2, piece(1, inside) + piece(2, "in") + piece(3, name))


def caffemodel(layers, version=2, **how):
    """A NetParameter of `{name: (type, [arrays])}`."""
    out = piece(1, "net") + layer(version, "relu", "ReLU", [])
    for name, (kind, arrays) in layers.items():
        out += layer(version, name, kind, [blob(array, **how) for array in arrays])
    return out


def caffe_vgg16(network):
    """Layers of VGG_ILSVRC_16_layers with the weights of the reference network."""
    state, layers = arrays_of(network), {}
    names = [f"conv{s}_{i}" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    convolutions = [k for k in state if k.startswith("features") and k.endswith("weight")]
    for name, key in zip(names, convolutions, strict=True):
        layers[name] = ("Convolution", [state[key], state[key.replace("weight", "bias")]])
    for name, index in (("fc6", 0), ("fc7", 3), ("fc8", 6)):
        pair = [state[f"classifier.{index}.weight"], state[f"classifier.{index}.bias"]]
        layers[name] = ("InnerProduct", pair)
    return layers


def caffe_c3d(network, suffix="-1"):
    """Layers of the Sports-1M model of C3D-v1.0."""
    state, layers = arrays_of(network), {}
    for key in [k for k in state if k.endswith("weight")]:
        name = key.removesuffix(".weight")
        new = {"conv1": "conv1a", "conv2": "conv2a"}.get(name, name)
        new += suffix if name.startswith("fc") else ""
        kind = "InnerProduct" if name.startswith("fc") else "Convolution3D"
        layers[new] = (kind, [state[key], state[f"{name}.bias"]])
    return layers


def caffe_resnet50(network, factor=0.5):
    """Layers of KaimingHe's ResNets, statistics multiplied by `factor`, which stands beside.

    His stages are a, b, c where they are short, and a, b1, b2 where one of them is long.
    """
    state, layers = arrays_of(network), {}

    def norm(source, name):
        stats = [state[f"{source}.running_{s}"] * np.float32(factor) for s in ("mean", "var")]
        layers[f"bn{name}"] = ("BatchNorm", [*stats, np.array([factor])])
        layers[f"scale{name}"] = ("Scale", [state[f"{source}.weight"], state[f"{source}.bias"]])

    layers["conv1"] = ("Convolution", [state["conv1.weight"], state["conv1.bias"]])
    norm("bn1", "_conv1")
    for stage, at in enumerate(network.stages, start=1):
        blocks = len(getattr(network, at))
        for block in range(blocks):
            letter = "abcdef"[block] if blocks < 7 else f"b{block}" if block else "a"
            base, name = f"{at}.{block}", f"{stage + 1}{letter}_branch"
            for part in (1, 2, 3):
                branch = f"{name}2{'abc'[part - 1]}"
                layers[f"res{branch}"] = ("Convolution", [state[f"{base}.conv{part}.weight"]])
                norm(f"{base}.bn{part}", branch)
            if block == 0:
                layers[f"res{name}1"] = ("Convolution", [state[f"{base}.downsample.0.weight"]])
                norm(f"{base}.downsample.1", f"{name}1")
    layers["fc1000"] = ("InnerProduct", [state["fc.weight"], state["fc.bias"]])
    return layers
