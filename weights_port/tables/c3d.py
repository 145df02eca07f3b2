"""Tables of C3D: the Sports-1M model of Caffe (C3D-v1.0) and three PyTorch ports of it."""

from typing import Any

from prernn_jax.preprocess import Preprocessing
from weights_port.mapping import Layout, Rows
from weights_port.tables.architecture import Architecture, Shapes, axis, side

SPORTS1M = Preprocessing(
    channels="bgr",
    mean=(90.0, 98.0, 102.0),
    resize=(128, 171),
    crop=(112, 112),
    antialias=False,
)
# The pytorch port's demo: RGB as it is; its author tested it by eye only.
_C3D_PYTORCH = Preprocessing(channels="rgb", resize=(112, 200), crop=(112, 112))
_MMACTION = Preprocessing(
    channels="rgb", mean=(104.0, 117.0, 128.0), resize=128, crop=(112, 112), antialias=False
)
_CLASSIFIER = r"fc8\.(kernel|bias)"  # not in every port
_DENSE: Rows = {
    r"fc6\.weight": ("fc6.kernel", "flatten"),
    r"fc(?P<fc>[78])\.weight": ("fc{fc}.kernel", "dense"),
    r"fc(?P<fc>[678])\.bias": ("fc{fc}.bias", "same"),
}
_C3D_PYTORCH_ROWS: Rows = {
    r"conv(?P<conv>[12]|[345][ab])\.weight": ("conv{conv}.kernel", "conv3d"),
    r"conv(?P<conv>[12]|[345][ab])\.bias": ("conv{conv}.bias", "same"),
    **_DENSE,
}
_FIRST_TWO = {"1": "1a", "2": "2a"} | {name: name for name in ["3a", "3b", "4a", "4b", "5a", "5b"]}
_FEATURES = {
    "0": "1a", "3": "2a", "6": "3a", "8": "3b", "11": "4a", "13": "4b", "16": "5a", "18": "5b",
}  # fmt: skip
_RECOGNITION_ROWS: Rows = {
    r"features\.(?P<conv>\d+)\.weight": ("conv{conv}.kernel", "conv3d"),
    r"features\.(?P<conv>\d+)\.bias": ("conv{conv}.bias", "same"),
    r"classifier\.0\.weight": ("fc6.kernel", "flatten"),
    r"classifier\.3\.weight": ("fc7.kernel", "dense"),
    r"classifier\.(?P<fc>[03])\.bias": ("fc{fc}.bias", "same"),
    r"classifier\.[4-9].*": (None, "the classifier: this port's loader ignores it too"),
}
_MMACTION_ROWS: Rows = {
    r"conv(?P<conv>[12]a|[345][ab])\.conv\.weight": ("conv{conv}.kernel", "conv3d"),
    r"conv(?P<conv>[12]a|[345][ab])\.conv\.bias": ("conv{conv}.bias", "same"),
    **_DENSE,
}
# fc6-1, fc7-1, fc8-1 in the Sports-1M prototxt, fc6, fc7, fc8 in the fine-tuning one.
_CAFFE_ROWS: Rows = {
    r"conv(?P<conv>[12]a|[345][ab])\[0\]": ("conv{conv}.kernel", "conv3d"),
    r"conv(?P<conv>[12]a|[345][ab])\[1\]": ("conv{conv}.bias", "same"),
    r"fc6(-1)?\[0\]": ("fc6.kernel", "flatten"),
    r"fc(?P<fc>[78])(-1)?\[0\]": ("fc{fc}.kernel", "dense"),
    r"fc(?P<fc>[678])(-1)?\[1\]": ("fc{fc}.bias", "same"),
}
_NAMED_ROWS: Rows = {  # Caffe's layer names in a state dict
    r"conv(?P<conv>[12]a|[345][ab])\.weight": ("conv{conv}.kernel", "conv3d"),
    r"conv(?P<conv>[12]a|[345][ab])\.bias": ("conv{conv}.bias", "same"),
    r"fc6(?:[-_]1)?\.weight": ("fc6.kernel", "flatten"),
    r"fc(?P<fc>[78])(?:[-_]1)?\.weight": ("fc{fc}.kernel", "dense"),
    r"fc(?P<fc>[678])(?:[-_]1)?\.bias": ("fc{fc}.bias", "same"),
}
_KERAS_ROWS: Rows = {
    r"(?:.*/)?conv(?P<conv>[12]|[345][ab])/(?P<part>kernel|bias)(?::0)?": (
        "conv{conv}.{part}",
        "kept",
    ),
    r"(?:.*/)?fc(?P<fc>[678])/(?P<part>kernel|bias)(?::0)?": ("fc{fc}.{part}", "kept"),
}
LAYOUTS = (
    Layout(
        "c3d-pytorch",
        "torch",
        "pytorch",
        _C3D_PYTORCH_ROWS,
        _C3D_PYTORCH,
        {"conv": _FIRST_TWO},
        fresh=_CLASSIFIER,
        note="its author tested the input only by eye: whether RGB is right is not proven",
    ),
    Layout(
        "pytorch-video-recognition",
        "torch",
        "pytorch",
        _RECOGNITION_ROWS,
        SPORTS1M,
        {"conv": _FEATURES, "fc": {"0": "6", "3": "7"}},
        fresh=_CLASSIFIER,
    ),
    Layout("mmaction2", "torch", "pytorch", _MMACTION_ROWS, _MMACTION, fresh=_CLASSIFIER),
    Layout("caffe", "caffe", "caffe", _CAFFE_ROWS, SPORTS1M, fresh=_CLASSIFIER),
    Layout(
        "caffe-in-torch",
        "torch",
        "caffe",
        _C3D_PYTORCH_ROWS,
        SPORTS1M,
        {"conv": _FIRST_TWO},
        fresh=_CLASSIFIER,
        note="c3d-pytorch's keys around Caffe's weights (BGR, Caffe's pooling)",
    ),
    Layout("caffe-names", "torch", "caffe", _NAMED_ROWS, SPORTS1M, fresh=_CLASSIFIER),
    Layout(
        "keras",
        "any",
        "pytorch",
        _KERAS_ROWS,
        SPORTS1M,
        {"conv": _FIRST_TWO},
        fresh=_CLASSIFIER,
        note="the Keras port pads before its last pooling, which is PyTorch's padding",
    ),
)


def infer(shapes: Shapes, layout: Layout) -> dict[str, Any]:
    """Arguments of C3D from the shapes in a file; a clip has 16 frames if that fits."""
    width = axis(shapes, "conv1a.kernel", 0, 64)
    places = side(axis(shapes, "fc6.kernel", -1, 0) // (8 * max(width, 1)), 4)
    if places == 4:
        size = 112  # as published; 97 to 128 give the same
    else:
        size = 32 * places if layout.variant == "caffe" else max(32 * (places - 1), 16)
    return {
        "num_outputs": axis(shapes, "fc8.kernel", -2, 487),
        "width": width,
        "hidden": axis(shapes, "fc6.kernel", -2, 4096),
        "clip_length": 16,
        "image_size": size,
        "in_channels": axis(shapes, "conv1a.kernel", 1, 3),
    }


C3D = Architecture("c3d", "c3d", LAYOUTS, infer, 112, 8, "conv1a.kernel", "fc8")
