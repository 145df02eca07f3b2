"""Tables of VGG16: torchvision's `vgg16-397923af.pth` and Caffe's `VGG_ILSVRC_16_layers`."""

from typing import Any

from prernn_jax.preprocess import Preprocessing
from weights_port.mapping import Layout
from weights_port.tables.architecture import Architecture, Shapes, axis, side

_CONVOLUTIONS = {
    "0": "1_1", "2": "1_2", "5": "2_1", "7": "2_2", "10": "3_1", "12": "3_2", "14": "3_3",
    "17": "4_1", "19": "4_2", "21": "4_3", "24": "5_1", "26": "5_2", "28": "5_3",
}  # fmt: skip
_TORCH_ROWS: dict[str, tuple[str | None, str]] = {
    r"features\.(?P<conv>\d+)\.weight": ("conv{conv}.kernel", "conv2d"),
    r"features\.(?P<conv>\d+)\.bias": ("conv{conv}.bias", "same"),
    r"classifier\.0\.weight": ("fc6.kernel", "flatten"),
    r"classifier\.3\.weight": ("fc7.kernel", "dense"),
    r"classifier\.6\.weight": ("fc8.kernel", "dense"),
    r"classifier\.(?P<fc>[036])\.bias": ("fc{fc}.bias", "same"),
}
_TORCH_NAMES = {"conv": _CONVOLUTIONS, "fc": {"0": "6", "3": "7", "6": "8"}}
_CAFFE_ROWS: dict[str, tuple[str | None, str]] = {
    r"conv(?P<conv>\d_\d)\[0\]": ("conv{conv}.kernel", "conv2d"),
    r"conv(?P<conv>\d_\d)\[1\]": ("conv{conv}.bias", "same"),
    r"fc6\[0\]": ("fc6.kernel", "flatten"),
    r"fc(?P<fc>[78])\[0\]": ("fc{fc}.kernel", "dense"),
    r"fc(?P<fc>[678])\[1\]": ("fc{fc}.bias", "same"),
}
RGB = Preprocessing(
    channels="rgb",
    scale=1 / 255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize=256,
    crop=(224, 224),
)
BGR = Preprocessing(
    channels="bgr", mean=(103.939, 116.779, 123.68), resize=256, crop=(224, 224), antialias=False
)
_CLASSIFIER = r"fc8\.(kernel|bias)"  # a file without the classifier is welcome

LAYOUTS = (
    Layout(
        "torchvision", "torch", "torchvision", _TORCH_ROWS, RGB, _TORCH_NAMES, fresh=_CLASSIFIER
    ),
    Layout(
        "caffe",
        "caffe",
        "caffe",
        _CAFFE_ROWS,
        BGR,
        {"conv": {name: name for name in _CONVOLUTIONS.values()}},
        fresh=_CLASSIFIER,
    ),
    Layout(
        "caffe-in-torch",
        "torch",
        "caffe",
        _TORCH_ROWS,
        BGR,
        _TORCH_NAMES,
        fresh=_CLASSIFIER,
        note="torchvision's keys around Caffe's weights (BGR, 0..255)",
    ),
)


def infer(shapes: Shapes, layout: Layout) -> dict[str, Any]:
    """Arguments of VGG16 from the shapes in a file."""
    width = axis(shapes, "conv1_1.kernel", 0, 64)
    places = axis(shapes, "fc6.kernel", -1, 0) // (8 * max(width, 1))
    return {
        "num_outputs": axis(shapes, "fc8.kernel", -2, 1000),
        "width": width,
        "hidden": axis(shapes, "fc6.kernel", -2, 4096),
        "image_size": 32 * side(places, 7),
        "in_channels": axis(shapes, "conv1_1.kernel", 1, 3),
    }


VGG16 = Architecture("vgg16", "vgg16", LAYOUTS, infer, image_size=224, channels=8)
