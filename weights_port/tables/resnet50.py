"""Tables of ResNet50: torchvision's `resnet50-*.pth` and Caffe's `ResNet-50-model.caffemodel`."""

from typing import Any

from weights_port.mapping import Layout
from weights_port.tables.architecture import Architecture, Shapes, axis
from weights_port.tables.vgg16 import BGR, RGB

Rows = dict[str, tuple[str | None, str]]

_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_TORCH_ROWS: Rows = {
    r"(?P<at>(layer\d\.\d\.)?)conv(?P<n>\d)\.weight": ("{at}conv{n}.kernel", "conv2d"),
    r"(?P<at>(layer\d\.\d\.)?)bn(?P<n>\d)\.(?P<norm>\w+)": ("{at}bn{n}.{norm}", "same"),
    r"(?P<at>layer\d\.\d\.)downsample\.0\.weight": ("{at}downsample.0.kernel", "conv2d"),
    r"(?P<at>layer\d\.\d\.)downsample\.1\.(?P<norm>\w+)": ("{at}downsample.1.{norm}", "same"),
    r"fc\.weight": ("fc.kernel", "dense"),
    r"fc\.bias": ("fc.bias", "same"),
    r".*\.num_batches_tracked": (None, "a counter of PyTorch's training"),
}
# res4b_branch2a is layer3.1.conv1 (stage, block, n), res4a_branch1 is layer3.0.downsample.0.
_CAFFE_NAMES = {
    "stage": {"2": "1", "3": "2", "4": "3", "5": "4"},
    "block": {"a": "0", "b": "1", "c": "2", "d": "3", "e": "4", "f": "5"},
    "n": {"a": "1", "b": "2", "c": "3"},
    "stat": {"0": "mean", "1": "var"},
    "affine": {"0": "scale", "1": "bias"},
}
_BRANCH2 = r"(?P<stage>\d)(?P<block>[a-z])_branch2(?P<n>[abc])"
_BRANCH1 = r"(?P<stage>\d)(?P<block>[a-z])_branch1"
_CAFFE_ROWS: Rows = {
    r"conv1\[0\]": ("conv1.kernel", "conv2d"),
    r"conv1\[1\]": ("conv1.bias", "same"),
    r"bn_conv1\[(?P<stat>[01])\]": ("bn1.{stat}", "divide"),
    r"scale_conv1\[(?P<affine>[01])\]": ("bn1.{affine}", "same"),
    rf"res{_BRANCH2}\[0\]": ("layer{stage}.{block}.conv{n}.kernel", "conv2d"),
    rf"bn{_BRANCH2}\[(?P<stat>[01])\]": ("layer{stage}.{block}.bn{n}.{stat}", "divide"),
    rf"scale{_BRANCH2}\[(?P<affine>[01])\]": ("layer{stage}.{block}.bn{n}.{affine}", "same"),
    rf"res{_BRANCH1}\[0\]": ("layer{stage}.{block}.downsample.0.kernel", "conv2d"),
    rf"bn{_BRANCH1}\[(?P<stat>[01])\]": ("layer{stage}.{block}.downsample.1.{stat}", "divide"),
    rf"scale{_BRANCH1}\[(?P<affine>[01])\]": ("layer{stage}.{block}.downsample.1.{affine}", "same"),
    r"bn.*\[2\]": (None, "divides [0] and [1]"),
    r"fc1000\[0\]": ("fc.kernel", "dense"),
    r"fc1000\[1\]": ("fc.bias", "same"),
}
_CLASSIFIER = r"fc\.(kernel|bias)"  # a file without the classifier is welcome

LAYOUTS = (
    Layout("torchvision", "torch", "torchvision", _TORCH_ROWS, RGB, {"norm": _NORM}, _CLASSIFIER),
    Layout("caffe", "caffe", "caffe", _CAFFE_ROWS, BGR, _CAFFE_NAMES, _CLASSIFIER),
    Layout(
        "caffe-in-torch",
        "torch",
        "caffe",
        {**_TORCH_ROWS, r"conv1\.bias": ("conv1.bias", "same")},
        BGR,
        {"norm": _NORM},
        _CLASSIFIER,
        note="torchvision's keys around Caffe's weights (BGR, Caffe's strides and pooling)",
    ),
)


def infer(shapes: Shapes, layout: Layout) -> dict[str, Any]:
    """Arguments of ResNet from the shapes in a file; the stages are those of ResNet50."""
    return {
        "stage_sizes": [3, 4, 6, 3],
        "width": axis(shapes, "conv1.kernel", 0, 64),
        "num_outputs": axis(shapes, "fc.kernel", -2, 1000),
        "in_channels": axis(shapes, "conv1.kernel", 1, 3),
    }


RESNET50 = Architecture("resnet50", "resnet", LAYOUTS, infer, image_size=224, channels=32)
