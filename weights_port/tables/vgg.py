"""Tables of VGG-11, 13, 16 and 19, with and without batch-norm, under every name they go by."""

from typing import Any

from weights_port.mapping import Layout, Rows
from weights_port.tables.architecture import BGR, RGB, Architecture, Shapes, axis, side

DEPTHS = {
    "vgg16": (2, 2, 3, 3, 3),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg19": (2, 2, 4, 4, 4),
}
_DIGESTS = (  # of torchvision's files
    "397923af", "8a719046", "bbd30ac9", "19584684", "c768596a", "dcbb9e9d",
    "6002323d", "abd245e5", "6c64b313", "c79401a0",
)  # fmt: skip
# Caffe's weights: jcjohnson/pytorch-vgg, and vgg16_caffe of OpenMMLab.
_CAFFE_DIGESTS = ("00b39a1b", "d01eb7cb", "292e1171")
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_CONV = r"(?P<conv>\d_\d)"
_CAFFE_ROWS: Rows = {
    rf"conv{_CONV}\[0\]": ("conv{conv}.kernel", "conv2d"),
    rf"conv{_CONV}\[1\]": ("conv{conv}.bias", "same"),
    r"fc6\[0\]": ("fc6.kernel", "flatten"),
    r"fc(?P<fc>[78])\[0\]": ("fc{fc}.kernel", "dense"),
    r"fc(?P<fc>[678])\[1\]": ("fc{fc}.bias", "same"),
}
_CAFFE_BN_ROWS: Rows = {
    r"(?:bn\d_\d|conv\d_\d/bn)\[2\]": (None, "divides [0] and [1]"),
    rf"conv{_CONV}/bn\[(?P<stat>[01])\]": ("bn{conv}.{stat}", "divide"),
    rf"bn{_CONV}\[(?P<stat>[01])\]": ("bn{conv}.{stat}", "divide"),
    rf"scale{_CONV}\[(?P<affine>[01])\]": ("bn{conv}.{affine}", "same"),
    rf"conv{_CONV}/scale\[(?P<affine>[01])\]": ("bn{conv}.{affine}", "same"),
}
# caffemodel2pytorch and MMdnn keep Caffe's layer names; MMdnn writes fc6_1 after its flattening.
_NAMED_ROWS: Rows = {
    rf"conv{_CONV}\.weight": ("conv{conv}.kernel", "conv2d"),
    rf"conv{_CONV}\.bias": ("conv{conv}.bias", "same"),
    r"fc6(?:_1)?\.weight": ("fc6.kernel", "flatten"),
    r"fc(?P<fc>[78])(?:_1)?\.weight": ("fc{fc}.kernel", "dense"),
    r"fc(?P<fc>[678])(?:_1)?\.bias": ("fc{fc}.bias", "same"),
    rf"(?:bn|scale){_CONV}\.(?P<norm>\w+)": ("bn{conv}.{norm}", "same"),
}
_K = r"(?:.*/)?block(?P<block>\d_conv\d)"  # the names of models and layers may come before
_KD = r"(?:.*/)?(?P<dense>fc1|fc2|predictions)"
_KERAS_ROWS: Rows = {
    rf"{_K}/kernel(?::0)?": ("conv{block}.kernel", "kept"),
    rf"{_K}/bias(?::0)?": ("conv{block}.bias", "kept"),
    rf"{_KD}/kernel(?::0)?": ("{dense}.kernel", "kept"),
    rf"{_KD}/bias(?::0)?": ("{dense}.bias", "kept"),
}
_KERAS_DENSE = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}


def _dense(first: str, second: str, last: str) -> Rows:
    """Rows of the three fully connected layers; `pre_logits` has 7x7 and 1x1 convolutions."""
    return {
        rf"{first}\.weight": ("fc6.kernel", "flatten"),
        rf"{second}\.weight": ("fc7.kernel", "dense"),
        rf"{last}\.weight": ("fc8.kernel", "dense"),
        rf"{first}\.bias": ("fc6.bias", "same"),
        rf"{second}\.bias": ("fc7.bias", "same"),
        rf"{last}\.bias": ("fc8.bias", "same"),
    }


# Dropout stood before each dense layer in torchvision until 2017.
_CLASSIFIERS: dict[str, Rows] = {
    "torchvision": _dense(r"classifier\.0", r"classifier\.3", r"classifier\.6"),
    "torchvision-2017": _dense(r"classifier\.1", r"classifier\.4", r"classifier\.6"),
    "timm": _dense(r"pre_logits\.fc1", r"pre_logits\.fc2", r"head\.fc"),
}
_EITHER = _dense(r"classifier\.[01]", r"classifier\.[34]", r"classifier\.6")
_FEATURES: Rows = {
    r"features\.(?P<conv>\d+)\.weight": ("conv{conv}.kernel", "conv2d"),
    r"features\.(?P<conv>\d+)\.bias": ("conv{conv}.bias", "same"),
}
_NORM_FEATURES: Rows = {
    r"features\.(?P<bn>\d+)\.(?P<norm>weight|bias|running_mean|running_var)": (
        "bn{bn}.{norm}",
        "same",
    )
}
_MMLAB_ROWS: Rows = {
    r"features\.(?P<module>\d+)\.conv\.weight": ("conv{module}.kernel", "conv2d"),
    r"features\.(?P<module>\d+)\.conv\.bias": ("conv{module}.bias", "same"),
    r"features\.(?P<module>\d+)\.bn\.(?P<norm>\w+)": ("bn{module}.{norm}", "same"),
    **_CLASSIFIERS["torchvision"],
}
_HEAD = r"fc8\.(kernel|bias)"  # a file without the classifier is welcome


def _places(stages: tuple[int, ...], modules: int) -> dict[str, str]:
    """Index in `features` -> 1_1, 1_2, ...: so many modules a convolution, one a pooling."""
    places, index = {}, 0
    for stage, count in enumerate(stages, start=1):
        for number in range(1, count + 1):
            places[str(index)] = f"{stage}_{number}"
            index += modules
        index += 1
    return places


def layouts(stages: tuple[int, ...], batch_norm: bool) -> tuple[Layout, ...]:
    """The tables of one depth."""
    arguments: dict[str, Any] = {}
    if stages != DEPTHS["vgg16"]:
        arguments["stages"] = list(stages)
    if batch_norm:
        arguments["batch_norm"] = True
    conv = _places(stages, 3 if batch_norm else 2)
    names = {
        "conv": conv,
        "bn": {str(int(index) + 1): name for index, name in conv.items()},
        "module": _places(stages, 1),
        "norm": _NORM,
    }
    own = {"conv": {name: name for name in conv.values()}}
    features = {**_FEATURES, **(_NORM_FEATURES if batch_norm else {})}
    caffe = {**_CAFFE_ROWS, **(_CAFFE_BN_ROWS if batch_norm else {})}
    stats = {"stat": {"0": "mean", "1": "var"}, "affine": {"0": "scale", "1": "bias"}}

    def layout(name: str, family: str, variant: str, rows: Rows, **more: Any) -> Layout:
        preprocessing = BGR if variant == "caffe" or name == "keras" else RGB
        return Layout(
            name,
            family,
            variant,
            rows,
            preprocessing,
            more.pop("names", names),
            _HEAD,
            arguments=arguments,
            expects=frozenset(f"conv{place}.kernel" for place in conv.values()),
            **more,
        )

    keras = {
        "block": {place.replace("_", "_conv"): place for place in conv.values()},
        "dense": _KERAS_DENSE,
    }
    published = {**features, **_CLASSIFIERS["torchvision"]}
    return (
        layout("torchvision", "torch", "torchvision", published, digests=_DIGESTS),
        layout("caffe", "caffe", "caffe", caffe, names=own | stats),
        layout(
            "caffe-in-torch",
            "torch",
            "caffe",
            {**features, **_EITHER},
            digests=_CAFFE_DIGESTS,
            note="torchvision's keys around Caffe's weights (BGR, 0..255)",
        ),
        *(
            layout(name, "torch", "torchvision", {**features, **_CLASSIFIERS[name]})
            for name in ("torchvision-2017", "timm")
        ),
        layout("mmlab", "torch", "torchvision", _MMLAB_ROWS),
        layout("caffe-names", "torch", "caffe", _NAMED_ROWS, names=own | {"norm": _NORM}),
        layout("keras", "any", "torchvision", _KERAS_ROWS, names=keras),
    )


def infer(shapes: Shapes, layout: Layout) -> dict[str, Any]:
    """Arguments of VGG16 from the shapes in a file; the layout gives its depth."""
    width = axis(shapes, "conv1_1.kernel", 0, 64)
    places = axis(shapes, "fc6.kernel", -1, 0) // (8 * max(width, 1))
    return {
        "num_outputs": axis(shapes, "fc8.kernel", -2, 1000),
        "width": width,
        "hidden": axis(shapes, "fc6.kernel", -2, 4096),
        "image_size": 32 * side(places, 7),
        "in_channels": axis(shapes, "conv1_1.kernel", 1, 3),
        **layout.arguments,
    }


def vgg(name: str, tables: tuple[Layout, ...], depth: dict[str, Any] | None = None) -> Architecture:
    """The network with these tables; without a depth, the whole family."""
    return Architecture(name, "vgg16", tables, infer, 224, 8, "conv1_1.kernel", "fc8", depth or {})


VGGS = tuple(
    vgg(
        name + ("_bn" if norm else ""),
        layouts(stages, norm),
        {"stages": list(stages), "batch_norm": norm},
    )
    for norm in (False, True)
    for name, stages in DEPTHS.items()
)
VGG = vgg("vgg", tuple(layout for network in VGGS for layout in network.layouts))
