"""Tables of ResNet-18, 34, 50, 101 and 152 under every name they go by."""

from collections.abc import Container
from typing import Any

from weights_port.mapping import Layout, Rows
from weights_port.tables.architecture import BGR, RGB, Architecture, Shapes, axis

DEPTHS: dict[str, tuple[str, tuple[int, ...]]] = {
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
_DIGESTS = (  # of torchvision's files
    "19c8e357", "0676ba61", "11ad3fa6", "5c106cde", "f37072fd", "333f7ec4", "b627a593",
    "5d3b4d8f", "63fe2227", "cd907fc2", "b121ed2d", "394f9c45", "f82ba261",
)  # fmt: skip
# Detectron's weights: resnet50_caffe, resnet50_msra, resnet101_caffe, resnet101_msra of OpenMMLab.
_CAFFE_DIGESTS = ("788b5fa3", "5891d200", "3ad79236", "6cc46731")
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_HEAD = r"fc\.(kernel|bias)"  # a file without the classifier is welcome
_FC: Rows = {r"fc\.weight": ("fc.kernel", "dense"), r"fc\.bias": ("fc.bias", "same")}


def _at(stage: str) -> str:
    """Pattern of a block's place: stage and number."""
    return rf"{stage}(?P<stage>\d)\.(?P<block>\d+)\."


def _block_rows(at: str, conv: str, norm: str, shortcut: str, shortcut_norm: str) -> Rows:
    """The rows of a block, given what stands between its place and the array's own name."""
    to = "layer{stage}.{block}."
    return {
        rf"{at}{conv}\.weight": (to + "conv{n}.kernel", "conv2d"),
        rf"{at}{norm}\.(?P<norm>\w+)": (to + "bn{n}.{norm}", "same"),
        rf"{at}{shortcut}\.weight": (to + "downsample.0.kernel", "conv2d"),
        rf"{at}{shortcut_norm}\.(?P<norm>\w+)": (to + "downsample.1.{norm}", "same"),
    }


def _stem_rows(conv: str, norm: str) -> Rows:
    return {
        rf"{conv}\.weight": ("conv1.kernel", "conv2d"),
        rf"{norm}\.(?P<norm>\w+)": ("bn1.{norm}", "same"),
    }


_OWN = (r"conv(?P<n>[123])", r"bn(?P<n>[123])", r"downsample\.0", r"downsample\.1")
_TORCH: Rows = {**_stem_rows("conv1", "bn1"), **_block_rows(_at("layer"), *_OWN), **_FC}
_CHILDREN: Rows = {  # of nn.Sequential(*model.children())
    **_stem_rows("0", "1"),
    **_block_rows(r"(?P<stage>[4567])\.(?P<block>\d+)\.", *_OWN),
    r"9\.weight": ("fc.kernel", "dense"),
    r"9\.bias": ("fc.bias", "same"),
}
_MMLAB: Rows = {
    **_stem_rows(r"conv1\.conv", r"conv1\.bn"),
    **_block_rows(
        _at("layer"),
        r"conv(?P<n>[123])\.conv",
        r"conv(?P<n>[123])\.bn",
        r"downsample\.conv",
        r"downsample\.bn",
    ),
}
_TSM: Rows = {
    **_stem_rows("conv1", "bn1"),
    **_block_rows(_at("layer"), r"conv(?P<n>[123])(?:\.net)?", *_OWN[1:]),
}
_DETECTRON2: Rows = {
    **_stem_rows(r"stem\.conv1", r"stem\.conv1\.norm"),
    **_block_rows(
        _at("res"),
        r"conv(?P<n>[123])",
        r"conv(?P<n>[123])\.norm",
        "shortcut",
        r"shortcut\.norm",
    ),
    r"(?:stem\.)?fc\.weight": ("fc.kernel", "dense"),
    r"(?:stem\.)?fc\.bias": ("fc.bias", "same"),
}
_HF_LAYER = r"(?:encoder\.)?stages\.(?P<stage>\d)\.layers\.(?P<block>\d+)\."
_HUGGING_FACE: Rows = {
    **_stem_rows(r"embedder\.embedder\.convolution", r"embedder\.embedder\.normalization"),
    **_block_rows(
        _HF_LAYER,
        r"layer\.(?P<n>[012])\.convolution",
        r"layer\.(?P<n>[012])\.normalization",
        r"shortcut\.convolution",
        r"shortcut\.normalization",
    ),
}
_BACK = {str(stage + 1): str(stage) for stage in range(1, 5)}  # Caffe counts the stem as stage 1
_BRANCH = {"a": "1", "b": "2", "c": "3"}
# res4b_branch2a is layer3.1.conv1, res4a_branch1 is layer3.0.downsample.0; deep stages: 4a, 4b1.
_PLACE = r"(?P<stage>[2345])(?P<block>[a-z]\d*)"
_BLOCKS = {
    **{chr(ord("a") + number): str(number) for number in range(26)},
    **{f"b{number}": str(number) for number in range(1, 100)},
}
_CAFFE_NAMES = {
    "stage": _BACK,
    "block": _BLOCKS,
    "n": _BRANCH,
    "stat": {"0": "mean", "1": "var"},
    "affine": {"0": "scale", "1": "bias"},
    "norm": _NORM,
}
_TWO = rf"{_PLACE}_branch2(?P<n>[abc])"
_ONE = rf"{_PLACE}_branch1"
_CONV_TO, _BN_TO = "layer{stage}.{block}.conv{n}", "layer{stage}.{block}.bn{n}"
_SHORT_TO = "layer{stage}.{block}.downsample"
_CAFFE: Rows = {
    r"conv1\[0\]": ("conv1.kernel", "conv2d"),
    r"conv1\[1\]": ("conv1.bias", "same"),
    r"bn_conv1\[(?P<stat>[01])\]": ("bn1.{stat}", "divide"),
    r"scale_conv1\[(?P<affine>[01])\]": ("bn1.{affine}", "same"),
    rf"res{_TWO}\[0\]": (f"{_CONV_TO}.kernel", "conv2d"),
    rf"bn{_TWO}\[(?P<stat>[01])\]": (_BN_TO + ".{stat}", "divide"),
    rf"scale{_TWO}\[(?P<affine>[01])\]": (_BN_TO + ".{affine}", "same"),
    rf"res{_ONE}\[0\]": (f"{_SHORT_TO}.0.kernel", "conv2d"),
    rf"bn{_ONE}\[(?P<stat>[01])\]": (_SHORT_TO + ".1.{stat}", "divide"),
    rf"scale{_ONE}\[(?P<affine>[01])\]": (_SHORT_TO + ".1.{affine}", "same"),
    r"bn.*\[2\]": (None, "divides [0] and [1]"),
    r"fc1000\[0\]": ("fc.kernel", "dense"),
    r"fc1000\[1\]": ("fc.bias", "same"),
}
_NAMED: Rows = {  # Caffe's layer names in a state dict: caffemodel2pytorch, MMdnn
    **_stem_rows("conv1", "(?:bn|scale)_conv1"),
    r"conv1\.bias": ("conv1.bias", "same"),
    rf"res{_TWO}\.weight": (f"{_CONV_TO}.kernel", "conv2d"),
    rf"(?:bn|scale){_TWO}\.(?P<norm>\w+)": (_BN_TO + ".{norm}", "same"),
    rf"res{_ONE}\.weight": (f"{_SHORT_TO}.0.kernel", "conv2d"),
    rf"(?:bn|scale){_ONE}\.(?P<norm>\w+)": (_SHORT_TO + ".1.{norm}", "same"),
    r"fc1000(?:_1)?\.weight": ("fc.kernel", "dense"),
    r"fc1000(?:_1)?\.bias": ("fc.bias", "same"),
}
_CAFFE2_PLACE = r"res(?P<stage>[2345])_(?P<block>\d+)_branch"
_CAFFE2: Rows = {  # Detectron's pickles: the batch-norm is a scale and a shift
    "conv1_w": ("conv1.kernel", "conv2d"),
    "res_conv1_bn_(?P<affine>[sb])": ("bn1.{affine}", "same"),
    rf"{_CAFFE2_PLACE}2(?P<n>[abc])_w": (f"{_CONV_TO}.kernel", "conv2d"),
    rf"{_CAFFE2_PLACE}2(?P<n>[abc])_bn_(?P<affine>[sb])": (_BN_TO + ".{affine}", "same"),
    rf"{_CAFFE2_PLACE}1_w": (f"{_SHORT_TO}.0.kernel", "conv2d"),
    rf"{_CAFFE2_PLACE}1_bn_(?P<affine>[sb])": (_SHORT_TO + ".1.{affine}", "same"),
    r"(?:fc1000|pred)_w": ("fc.kernel", "dense"),
    r"(?:fc1000|pred)_b": ("fc.bias", "same"),
    "conv1_b": ("conv1.bias", "same"),
    r".*_momentum|lr|weight_order": (None, "state of the training, not of the network"),
}
_KERAS_NORM = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
_K, _0 = r"(?:.*/)?", r"(?::0)?"  # the names of models and layers may come before
_OTHER = "(?P<knorm>gamma|beta|moving_variance)"
_FOLDED = "subtracted from the batch-norm's mean"


def _keras_rows(stem: tuple[str, str], main: tuple[str, str], short: tuple[str, str]) -> Rows:
    """Keras's rows; its convolutions have biases, which go into the means that follow them."""
    rows: dict[str, tuple[str | None, str]] = {}
    for (conv, bn), to, bn_to in (
        (stem, "conv1", "bn1"),
        (main, _CONV_TO, _BN_TO),
        (short, f"{_SHORT_TO}.0", f"{_SHORT_TO}.1"),
    ):
        rows[rf"{_K}{conv}/kernel{_0}"] = (f"{to}.kernel", "kept")
        rows[rf"{_K}{conv}/bias{_0}"] = (None, _FOLDED)
        rows[rf"{_K}{bn}/{_OTHER}{_0}"] = (bn_to + ".{knorm}", "kept")
        rows[rf"{_K}{bn}/moving_mean{_0}"] = (f"{bn_to}.mean", "less the convolution's bias")
    for name in ("kernel", "bias"):
        rows[rf"{_K}(?:predictions|probs|fc1000)/{name}{_0}"] = (f"fc.{name}", "kept")
    return rows


_KERAS_BLOCK = r"conv(?P<stage>[2345])_block(?P<from1>\d+)_"
_KERAS_PARTS = _keras_rows(
    ("conv1_conv", "conv1_bn"),
    (rf"{_KERAS_BLOCK}(?P<n>[123])_conv", rf"{_KERAS_BLOCK}(?P<n>[123])_bn"),
    (rf"{_KERAS_BLOCK}0_conv", rf"{_KERAS_BLOCK}0_bn"),
)
_KERAS = {
    pattern: (target and target.replace("{block}", "{from1}"), text)
    for pattern, (target, text) in _KERAS_PARTS.items()
}
_KERAS_2015 = _keras_rows(
    ("conv1", "bn_conv1"), (f"res{_TWO}", f"bn{_TWO}"), (f"res{_ONE}", f"bn{_ONE}")
)
_FROM_1 = {str(number + 1): str(number) for number in range(99)}

_TORCH_NAMES = {"norm": _NORM}
_DETECTRON2_NAMES = {"norm": _NORM, "stage": _BACK}
_HF_NAMES = {
    "norm": _NORM,
    "stage": {str(number): str(number + 1) for number in range(4)},
    "n": {str(number): str(number + 1) for number in range(3)},
}
_CAFFE_NOTE = "weights of Caffe under PyTorch's keys (BGR, stride in the first convolution)"
_FIRST_BIAS: Rows = {r"conv1\.bias": ("conv1.bias", "same")}
_MSRA: dict[str, Any] = {"pool": "both", "stem_bias": False}

LAYOUTS = (
    Layout(
        "torchvision", "torch", "torchvision", _TORCH, RGB, _TORCH_NAMES, _HEAD, digests=_DIGESTS
    ),
    Layout("caffe", "caffe", "caffe", _CAFFE, BGR, _CAFFE_NAMES, _HEAD),
    Layout(
        "caffe-in-torch", "torch", "caffe", {**_TORCH, **_FIRST_BIAS}, BGR, _TORCH_NAMES, _HEAD,
        note=_CAFFE_NOTE, digests=_CAFFE_DIGESTS,
    ),
    Layout("mmlab", "torch", "torchvision", _MMLAB, RGB, _TORCH_NAMES, _HEAD),
    Layout(
        "mmlab-caffe", "torch", "caffe", _MMLAB, BGR, _TORCH_NAMES, _HEAD,
        note=_CAFFE_NOTE, arguments=_MSRA,
    ),
    Layout(
        "tsm", "torch", "torchvision", _TSM, RGB, _TORCH_NAMES, _HEAD,
        needs=r".*conv1\.net\.weight",
        note="TSM shifts features between the frames, which this network does not: the weights are "
        "a start for training, not the same function",
    ),
    Layout("children", "torch", "torchvision", _CHILDREN, RGB,
           {"norm": _NORM, "stage": {str(n + 3): str(n) for n in range(1, 5)}}, _HEAD),
    Layout("hugging-face", "torch", "torchvision", _HUGGING_FACE, RGB, _HF_NAMES, _HEAD,
           outside={r"classifier\.1\.weight": _FC[r"fc\.weight"],
                    r"classifier\.1\.bias": _FC[r"fc\.bias"]}),
    Layout(
        "detectron2", "torch", "caffe", _DETECTRON2, BGR, _DETECTRON2_NAMES, _HEAD,
        note=_CAFFE_NOTE, arguments=_MSRA,
    ),
    Layout(
        "detectron2-torchvision", "torch", "torchvision", _DETECTRON2, RGB, _DETECTRON2_NAMES,
        _HEAD,
    ),
    Layout("caffe-names", "torch", "caffe", _NAMED, BGR, _CAFFE_NAMES, _HEAD),
    Layout(
        "caffe2", "any", "caffe", _CAFFE2, BGR,
        {"stage": _BACK, "n": _BRANCH, "affine": {"s": "scale", "b": "bias"}},
        rf"{_HEAD}|.*\.(mean|var)", arguments=_MSRA,
    ),
    Layout(
        "keras", "any", "caffe", _KERAS, BGR,
        {"stage": _BACK, "from1": _FROM_1, "knorm": _KERAS_NORM}, _HEAD,
        arguments={**_MSRA, "epsilon": 1.001e-5},
    ),
    Layout(
        "keras-2015", "any", "caffe", _KERAS_2015, BGR,
        {**_CAFFE_NAMES, "knorm": _KERAS_NORM}, _HEAD, arguments={**_MSRA, "epsilon": 1e-3},
    ),
)  # fmt: skip


def infer(shapes: Shapes, layout: Layout) -> dict[str, Any]:
    """Arguments of ResNet from the names and shapes in a file."""
    blocks: dict[int, int] = {}
    for name in shapes:
        if name.startswith("layer"):
            stage, block = name.removeprefix("layer").split(".")[:2]
            blocks[int(stage)] = max(blocks.get(int(stage), 0), int(block) + 1)
    stem = axis(shapes, "conv1.kernel", 0, 64)
    width = axis(shapes, "layer1.0.conv1.kernel", 0, stem)
    result: dict[str, Any] = {
        "stage_sizes": [blocks.get(stage, 1) for stage in range(1, max(blocks, default=4) + 1)],
        "width": width,
        "num_outputs": axis(shapes, "fc.kernel", -2, 1000),
        "in_channels": axis(shapes, "conv1.kernel", 1, 3),
        **layout.arguments,
    }
    if stem != width:
        result["stem_width"] = stem
    if blocks and not any(name.endswith("conv3.kernel") for name in shapes):
        result["block"] = "basic"
    if layout.variant == "caffe" and "conv1.bias" not in shapes:
        result["stem_bias"] = False
        if padding(layout, shapes) == "both":
            result["pool"] = "both"
    return result


def padding(layout: Layout, given: Container[str]) -> str:
    """Where the max-pool is padded: on `both` sides or at the `end`.

    Args:
        layout: The table.
        given: The parameters that the file has. Caffe's weights without `conv1.bias` under
            torchvision's keys are Detectron's or mmdetection's, which pad on both sides.
    """
    if "pool" in layout.arguments:
        return str(layout.arguments["pool"])
    detectron = layout.name == "caffe-in-torch" and "conv1.bias" not in given
    return "both" if detectron or layout.variant != "caffe" else "end"


def _resnet(name: str, block: str, sizes: tuple[int, ...]) -> Architecture:
    depth: dict[str, Any] = {"stage_sizes": list(sizes), "block": block} if sizes else {}
    return Architecture(name, "resnet", LAYOUTS, infer, 224, 32, "conv1.kernel", "fc", depth)


RESNETS = tuple(_resnet(name, *depth) for name, depth in DEPTHS.items())
RESNET = _resnet("resnet", "", ())
