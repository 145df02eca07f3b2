"""ResNet in torch.nn with torchvision's key names; see torch_networks.py."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class TorchBottleneck(nn.Module):
    """1x1, 3x3, 1x1 with batch-norm around a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, first_strides: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if first_strides else (1, stride)
        self.conv1 = nn.Conv2d(inputs, planes, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != 4 * planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
            )

    def before_last(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """X (N, I, H, W) -> the input of conv3 (N, planes, h, w) and the shortcut."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x))), shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X (N, I, H, W) -> (N, 4 planes, h, w)."""
        x, shortcut = self.before_last(x)
        return functional.relu(self.bn3(self.conv3(x)) + shortcut)


class TorchBasicBlock(nn.Module):
    """Two 3x3 with batch-norm around a shortcut."""

    def __init__(self, inputs: int, planes: int, stride: int, first_strides: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """X (N, I, H, W) -> (N, planes, h, w)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


class TorchResNet(nn.Module):
    """ResNet with torchvision's keys: `conv1`, `bn1`, `layer1.0.conv1` ... `fc`."""

    def __init__(
        self,
        stage_sizes: tuple[int, ...],
        width: int,
        num_outputs: int,
        in_channels: int,
        block: str,
        first_strides: bool,
        ceil: bool,
        stem_bias: bool,
        stem_width: int,
    ) -> None:
        super().__init__()
        self.our_names: dict[str, str] = {}
        self.conv1 = nn.Conv2d(in_channels, stem_width, 7, 2, padding=3, bias=stem_bias)
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=0 if ceil else 1, ceil_mode=ceil)
        make: Any = TorchBasicBlock if block == "basic" else TorchBottleneck
        inputs = stem_width
        self.stages = [f"layer{k}" for k in range(1, len(stage_sizes) + 1)]
        for index, (name, count) in enumerate(zip(self.stages, stage_sizes, strict=True)):
            blocks = []
            for number in range(count):
                stride = 2 if index > 0 and number == 0 else 1
                blocks.append(make(inputs, width * 2**index, stride, first_strides))
                inputs = (1 if block == "basic" else 4) * width * 2**index
            setattr(self, name, nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, num_outputs)

    def blocks(self) -> list[Any]:
        """All blocks in order."""
        return [block for name in self.stages for block in getattr(self, name)]

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> the first block's input (N, stem_width, H/4, W/4)."""
        return self.maxpool(functional.relu(self.bn1(self.conv1(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        x = self.stem(x)
        for block in self.blocks():
            x = block(x)
        return self.fc(x.mean((2, 3)))
