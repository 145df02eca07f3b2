"""The original networks in torch.nn, with the originals' key names: the witness of `verify`.

VGG16 and ResNet have torchvision's keys, C3D those of DavideA/c3d-pytorch, and the compact VGG our
own. Sizes are parameters, and `variant="caffe"` gives the pooling, strides and biases of the Caffe
originals (windows that stick out at the right and the bottom are kept, PyTorch's `ceil_mode`).
Input is channels first. `our_names` says which module is which of our layers; where it does not
name a module, the two have the same name. Written from the layer tables, not from our own
networks, so that a fault in those shows.
"""

from string import ascii_lowercase

import torch
from torch import nn
from torch.nn import functional

from weights_port.torch_resnet import TorchResNet

Size = int | tuple[int, int]
VGG_FACTORS = (1, 2, 4, 8, 8)  # channels of the stages in units of width
C3D_STAGES = (1, 1, 2, 2, 2)  # convolutions before each pooling; channels double up to 8 width


def _pair(size: Size) -> tuple[int, ...]:
    """Height and width."""
    return (size, size) if isinstance(size, int) else tuple(size)


class TorchVGG16(nn.Module):
    """VGG16 with torchvision's keys: `features.N`, `classifier.{0,3,6}`."""

    def __init__(
        self,
        num_outputs: int,
        width: int,
        hidden: int,
        image_size: Size,
        in_channels: int,
        ceil: bool,
        stages: tuple[int, ...],
        batch_norm: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.our_names = {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
        inputs, sizes = in_channels, _pair(image_size)
        for stage, (factor, count) in enumerate(zip(VGG_FACTORS, stages, strict=True), start=1):
            for number in range(1, count + 1):
                self.our_names[f"features.{len(layers)}"] = f"conv{stage}_{number}"
                layers.append(nn.Conv2d(inputs, factor * width, 3, padding=1))
                if batch_norm:
                    self.our_names[f"features.{len(layers)}"] = f"bn{stage}_{number}"
                    layers.append(nn.BatchNorm2d(factor * width))
                layers.append(nn.ReLU())
                inputs = factor * width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=ceil))
            sizes = tuple((size + 1) // 2 if ceil else size // 2 for size in sizes)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * sizes[0] * sizes[1], hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, num_outputs),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        return self.classifier(self.features(x).flatten(1))  # flattened in C, H, W order


class TorchC3D(nn.Module):
    """C3D with the keys `conv1`, `conv2`, `conv3a` ... `conv5b`, `fc6`, `fc7`, `fc8`."""

    def __init__(
        self,
        num_outputs: int,
        width: int,
        hidden: int,
        length: int,
        image_size: Size,
        in_channels: int,
        ceil: bool,
        stage_sizes: tuple[int, ...],
        stride: int,
    ) -> None:
        super().__init__()
        self.ceil = ceil
        self.our_names: dict[str, str] = {}
        self.stages: list[list[str]] = []
        inputs = in_channels
        for stage, count in enumerate(stage_sizes, start=1):
            outputs = width * min(2 ** (stage - 1), 8)
            names = [f"conv{stage}{letter}" for letter in ascii_lowercase[:count]]
            plain = [f"conv{stage}"] if stage <= 2 and count == 1 else names  # conv1, conv2
            for name, ours in zip(plain, names, strict=True):
                step = (1, stride, stride) if ours == "conv1a" else 1
                setattr(self, name, nn.Conv3d(inputs, outputs, 3, step, padding=1))
                self.our_names[name] = ours
                inputs = outputs
            self.stages.append(plain)
        with torch.no_grad():  # what the trunk leaves of a clip decides the inputs of fc6
            features = self.trunk(torch.zeros(1, in_channels, length, *_pair(image_size))).numel()
        self.fc6 = nn.Linear(features, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, num_outputs)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """Clips (N, C, L, H, W) -> (N, C', l, h, w)."""
        for stage, names in enumerate(self.stages, start=1):
            for name in names:
                x = functional.relu(getattr(self, name)(x))
            x = self._pool(x, stage)
        return x

    def _pool(self, x: torch.Tensor, stage: int) -> torch.Tensor:
        window = [1 if stage == 1 else 2, 2, 2]
        if self.ceil:  # Caffe: the last window may stick out
            return functional.max_pool3d(x, window, window, ceil_mode=True)
        window[0] = min(window[0], x.shape[2])
        padding = (0, 1, 1) if stage == len(self.stages) else (0, 0, 0)
        return functional.max_pool3d(x, window, window, padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Clips (N, C, L, H, W) -> logits (N, K)."""
        x = self.trunk(x).flatten(1)  # in C, L, H, W order
        x = functional.relu(self.fc6(x))
        x = functional.relu(self.fc7(x))
        return self.fc8(x)


class TorchCompactVGG(nn.Module):
    """3x3 convolutions of stride 2, `conv1`, `conv2`, ..., then `fc6`, `fc7`, `fc8`."""

    def __init__(
        self,
        num_outputs: int,
        channels: tuple[int, ...],
        hidden: int,
        image_size: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.our_names: dict[str, str] = {}
        self.convs = [f"conv{number}" for number in range(1, len(channels) + 1)]
        inputs, side = in_channels, image_size
        for name, outputs in zip(self.convs, channels, strict=True):
            setattr(self, name, nn.Conv2d(inputs, outputs, 3, 2, padding=1))
            inputs, side = outputs, (side + 1) // 2
        self.fc6 = nn.Linear(inputs * side * side, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, num_outputs)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> (N, C', h, w)."""
        for name in self.convs:
            x = functional.relu(getattr(self, name)(x))
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> outputs (N, K)."""
        x = self.trunk(x).flatten(1)  # in C, H, W order
        x = functional.relu(self.fc6(x))
        x = functional.relu(self.fc7(x))
        return self.fc8(x)


def build_vgg16(
    num_outputs: int = 1000,
    width: int = 64,
    hidden: int = 4096,
    image_size: Size = 224,
    in_channels: int = 3,
    variant: str = "torchvision",
    stages: tuple[int, ...] = (2, 2, 3, 3, 3),
    batch_norm: bool = False,
) -> TorchVGG16:
    """VGG16 in evaluation mode; the arguments are those of `prernn_jax`'s VGG16."""
    ceil = variant == "caffe"
    net = TorchVGG16(
        num_outputs, width, hidden, image_size, in_channels, ceil, tuple(stages), batch_norm
    )
    return net.eval()


def build_c3d(
    num_outputs: int = 487,
    width: int = 64,
    hidden: int = 4096,
    clip_length: int = 16,
    image_size: Size = 112,
    in_channels: int = 3,
    variant: str = "caffe",
    stage_sizes: tuple[int, ...] = C3D_STAGES,
    stride: int = 1,
) -> TorchC3D:
    """C3D in evaluation mode; the arguments are those of `prernn_jax`'s C3D."""
    net = TorchC3D(
        num_outputs, width, hidden, clip_length, image_size, in_channels, variant == "caffe",
        tuple(stage_sizes), stride,
    )  # fmt: skip
    return net.eval()


def build_compact_vgg(
    num_outputs: int = 136,
    channels: tuple[int, ...] = (16, 32, 64),
    hidden: int = 128,
    image_size: int = 48,
    in_channels: int = 3,
) -> TorchCompactVGG:
    """The compact VGG in evaluation mode; the arguments are those of `prernn_jax`'s CompactVGG."""
    return TorchCompactVGG(num_outputs, tuple(channels), hidden, image_size, in_channels).eval()


def build_resnet(
    stage_sizes: tuple[int, ...] = (3, 4, 6, 3),
    width: int = 64,
    num_outputs: int = 1000,
    in_channels: int = 3,
    variant: str = "torchvision",
    block: str = "bottleneck",
    place: str | None = None,
    pool: str | None = None,
    stem_bias: bool | None = None,
    epsilon: float = 1e-5,
    stem_width: int | None = None,
) -> TorchResNet:
    """ResNet in evaluation mode; the arguments are those of `prernn_jax`'s ResNet."""
    caffe = variant == "caffe"
    net = TorchResNet(
        tuple(stage_sizes),
        width,
        num_outputs,
        in_channels,
        block,
        first_strides=caffe if place is None else place == "first",
        ceil=caffe if pool is None else pool == "end",
        stem_bias=caffe if stem_bias is None else stem_bias,
        stem_width=width if stem_width is None else stem_width,
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = epsilon
    return net.eval()
