"""The convolutions of our backbones as ONNX nodes; inside they are channels first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import Bottleneck, ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError
from prernn_jax.export.onnx_graph import Graph


def trunk(graph: Graph, backbone: Any, x: str) -> Any:
    """What `backbone.trunk` does.

    Args:
        graph: Grows by the nodes.
        backbone: One of our backbones.
        x: Prepared images (N, H, W, C), or clips (N, L, H, W, C) for C3D.

    Returns:
        The features (N, D). A ResNet gives the pair (N, D, h, w) and (N, F, h, w).

    Raises:
        InputError: It is none of our backbones.
    """
    if isinstance(backbone, ResNet):
        return _resnet(graph, backbone, channels_first(graph, x, 2))
    if isinstance(backbone, VGG16):
        return flat(graph, _vgg(graph, backbone, channels_first(graph, x, 2)), 2)
    if isinstance(backbone, CompactVGG):
        x = channels_first(graph, x, 2)
        for name in backbone.convs:
            x = graph.add("Relu", _conv(graph, getattr(backbone, name), x, name))
        return flat(graph, x, 2)
    if isinstance(backbone, C3D):
        return flat(graph, _c3d(graph, backbone, channels_first(graph, x, 3)), 3)
    raise InputError(
        f"--format=onnx writes VGG, C3D and ResNet; this is a {type(backbone).__name__}: "
        "use --format=stablehlo"
    )


def resnet_features(graph: Graph, backbone: ResNet, y: str, shortcut: str) -> str:
    """What `backbone.features` makes of what the trunk gave: (N, F)."""
    block = getattr(backbone, f"layer{len(backbone.stage_sizes)}")[-1]
    return average(graph, _last(graph, block, y, shortcut, "last"))


def channels_first(graph: Graph, x: str, spatial: int) -> str:
    """(N, spatial..., C) -> (N, C, spatial...)."""
    return str(graph.add("Transpose", x, perm=[0, spatial + 1, *range(1, spatial + 1)]))


def flat(graph: Graph, x: str, spatial: int) -> str:
    """(N, C, spatial...) -> (N, D), with the channels last in D."""
    last = graph.add("Transpose", x, perm=[0, *range(2, spatial + 2), 1])
    return str(graph.add("Flatten", last, axis=1))


def average(graph: Graph, x: str) -> str:
    """The mean over the image: (N, C, H, W) -> (N, C)."""
    return str(graph.add("ReduceMean", x, axes=[2, 3], keepdims=0))


def folded_norm(norm: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A batch-norm with its stored statistics as y = x factor + offset, each (C,)."""
    scale, bias, mean, var = (
        np.asarray(getattr(norm, name)[...], np.float32)
        for name in ("scale", "bias", "mean", "var")
    )
    factor = scale / np.sqrt(var + np.float32(norm.epsilon))
    return factor, bias - mean * factor


def _norm(graph: Graph, norm: Any, x: str, name: str) -> str:
    factor, offset = (part.reshape(-1, 1, 1) for part in folded_norm(norm))
    return graph.affine(x, factor, offset, name)


def _conv(graph: Graph, conv: Any, x: str, name: str) -> str:
    kernel = np.asarray(conv.kernel[...], np.float32)  # (spatial..., I, O)
    spatial = kernel.ndim - 2
    weights = kernel.transpose(spatial + 1, spatial, *range(spatial))  # (O, I, spatial...)
    inputs = [x, graph.constant(f"{name}.kernel", weights)]
    if conv.bias is not None:
        inputs.append(graph.constant(f"{name}.bias", np.asarray(conv.bias[...], np.float32)))
    strides = [conv.strides] * spatial if isinstance(conv.strides, int) else list(conv.strides)
    assert isinstance(conv.padding, int)  # in all of our backbones
    pads = [conv.padding] * 2 * spatial
    return str(graph.add("Conv", *inputs, strides=strides, pads=pads))


def _max_pool(
    graph: Graph, x: str, window: Sequence[int], strides: Sequence[int], pads: Any
) -> str:
    before, after = zip(*pads, strict=True)
    return str(
        graph.add(
            "MaxPool", x, kernel_shape=list(window), strides=list(strides), pads=[*before, *after]
        )
    )


def _vgg(graph: Graph, vgg: VGG16, x: str) -> str:
    size = vgg.image_size
    sides = [size, size] if isinstance(size, int) else list(size)
    for stage, count in enumerate(vgg.stages, start=1):
        for index in range(1, count + 1):
            name = f"conv{stage}_{index}"
            x = _conv(graph, getattr(vgg, name), x, name)
            if vgg.batch_norm:
                norm = f"bn{stage}_{index}"
                x = _norm(graph, getattr(vgg, norm), x, norm)
            x = graph.add("Relu", x)
        odd = [side % 2 if vgg.variant == "caffe" else 0 for side in sides]
        x = _max_pool(graph, x, (2, 2), (2, 2), [(0, more) for more in odd])
        sides = [(side + more) // 2 for side, more in zip(sides, odd, strict=True)]
    return x


def _c3d(graph: Graph, c3d: C3D, x: str) -> str:
    size = c3d.image_size
    image = [size, size] if isinstance(size, int) else list(size)
    sizes = (c3d.clip_length, *(-(-side // c3d.stride) for side in image))
    for stage, names in enumerate(c3d.stages, start=1):
        for name in names:
            x = graph.add("Relu", _conv(graph, getattr(c3d, name), x, name))
        window, pads = c3d.pooling(stage, sizes)
        x = _max_pool(graph, x, window, window, pads)
        sizes = tuple(
            (side + low + high - k) // k + 1
            for side, k, (low, high) in zip(sizes, window, pads, strict=True)
        )
    return x


def _resnet(graph: Graph, resnet: ResNet, x: str) -> tuple[str, str]:
    x = _conv(graph, resnet.conv1, x, "conv1")
    x = graph.add("Relu", _norm(graph, resnet.bn1, x, "bn1"))
    x = _max_pool(graph, x, (3, 3), (2, 2), [resnet.padding, resnet.padding])
    blocks = [
        (f"layer{number}.{index}", block)
        for number in range(1, len(resnet.stage_sizes) + 1)
        for index, block in enumerate(getattr(resnet, f"layer{number}"))
    ]
    for name, block in blocks[:-1]:
        x = _last(graph, block, *_before_last(graph, block, x, name), name)
    return _before_last(graph, blocks[-1][1], x, blocks[-1][0])


def _before_last(graph: Graph, block: Any, x: str, name: str) -> tuple[str, str]:
    y = _conv(graph, block.conv1, x, f"{name}.conv1")
    y = graph.add("Relu", _norm(graph, block.bn1, y, f"{name}.bn1"))
    if isinstance(block, Bottleneck):
        y = _conv(graph, block.conv2, y, f"{name}.conv2")
        y = graph.add("Relu", _norm(graph, block.bn2, y, f"{name}.bn2"))
    shortcut = x
    if len(block.downsample):
        projection, norm = block.downsample
        shortcut = _conv(graph, projection, x, f"{name}.downsample.0")
        shortcut = _norm(graph, norm, shortcut, f"{name}.downsample.1")
    return y, shortcut


def _last(graph: Graph, block: Any, y: str, shortcut: str, name: str) -> str:
    conv, norm = ("conv3", "bn3") if isinstance(block, Bottleneck) else ("conv2", "bn2")
    y = _conv(graph, getattr(block, conv), y, f"{name}.{conv}")
    y = _norm(graph, getattr(block, norm), y, f"{name}.{norm}")
    return str(graph.add("Relu", graph.add("Add", y, shortcut)))
