"""Trained sequence models in torch.nn: `load` reads what `export` wrote and gives the same outputs.

Keys: `backbone.` before the reference network's own (torchvision's for VGG16 and ResNet,
c3d-pytorch's for C3D); where a layer was made recurrent, its module holds `weight_ih`, `bias`
(or `norm.*`) and `weight_hh`, see torch_recurrent.py; further layers are `extra.0`, `extra.1`, ...
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port import reference
from weights_port.formats.torch import load_safely
from weights_port.torch_networks import TorchVGG16
from weights_port.torch_recurrent import State, TorchRecurrent, TorchRecurrentConv
from weights_port.torch_resnet import TorchResNet


class TorchSequence(nn.Module):
    """A sequence model, called with clips (B, T, C, H, W), or (B, T, C, L, H, W) for C3D.

    Args:
        metadata: Of a file of `prernn_jax.files.models` or of `export`.
    """

    def __init__(self, metadata: Mapping[str, str]) -> None:
        super().__init__()
        call = json.loads(metadata["sequence"])
        self.backbone = reference.build_reference(metadata)
        self.hidden, self.output = head_modules(self.backbone)
        self.converted: list[str] = []
        extra: list[nn.Module] = []
        output = self.backbone.get_submodule(self.output)
        features = output.in_features
        cell, shared = call.get("cell", "gru"), call.get("shared", False)
        if call["function"] == "make_recurrent":
            self.converted = chosen_modules(metadata, self.backbone)
            for name in self.converted:
                self._convert(name, cell, shared, call.get("readout", "kept") == "kept")
            for _ in range(call.get("extra", 0)):
                extra.append(TorchRecurrent(features, features, cell, shared, relu=False))
        elif call["function"] == "stack_recurrent":
            for _ in range(call.get("depth", call.get("layers", 1))):  # `layers` in older files
                extra.append(TorchRecurrent(features, call["hidden"], call["cell"], False, False))
                features = call["hidden"]
        self.extra = nn.ModuleList(extra)
        outputs = call.get("outputs") or output.out_features
        self.backbone.set_submodule(self.output, nn.Linear(features, outputs))

    def _convert(self, name: str, cell: str, shared: bool, relu: bool) -> None:
        old = self.backbone.get_submodule(name)
        if isinstance(old, nn.Linear):
            new = TorchRecurrent(old.in_features, old.out_features, cell, shared, relu)
        else:
            new = TorchRecurrentConv(old.in_channels, old.out_channels, cell, shared, relu)
            block = self.backbone.get_submodule(name.rpartition(".")[0])
            del block.bn3  # stands in the recurrent layer now
        self.backbone.set_submodule(name, new)

    def forward(
        self, clips: torch.Tensor, carry: tuple[State, ...] | None = None
    ) -> tuple[torch.Tensor, tuple[State, ...]]:
        """Clips (B, T, ...) -> outputs (B, T, K) and the last states, one for each layer."""
        states = iter((None,) * 99 if carry is None else carry)
        carries: list[State] = []
        sizes = clips.shape[:2]
        x: Any = self._trunk(clips.flatten(0, 1))  # (B·T, D), or the pair of a ResNet
        for name in self.hidden:
            layer = self.backbone.get_submodule(name)
            if isinstance(layer, TorchRecurrent):
                y, state = layer(_unfold(x, sizes), next(states))  # (B, T, F)
                carries.append(state)
                x = y.flatten(0, 1)
            elif isinstance(self.backbone, TorchResNet):
                y, shortcut = x
                block = self.backbone.blocks()[-1]
                x = functional.relu(block.bn3(layer(y)) + shortcut).mean((2, 3))  # (B·T, F)
            else:
                x = functional.relu(layer(x))
        y = _unfold(x, sizes)
        for layer in self.extra:
            y, state = layer(y, next(states))
            carries.append(state)
        return self.backbone.get_submodule(self.output)(y), tuple(carries)

    def _trunk(self, x: torch.Tensor) -> Any:
        if isinstance(self.backbone, TorchResNet):
            x = self.backbone.stem(x)
            *blocks, last = self.backbone.blocks()
            for block in blocks:
                x = block(x)
            return last.before_last(x)
        if isinstance(self.backbone, TorchVGG16):
            return self.backbone.features(x).flatten(1)
        return self.backbone.trunk(x).flatten(1)


def head_modules(backbone: nn.Module) -> tuple[list[str], str]:
    """Names of the last hidden layers, in order, and of the output layer."""
    if isinstance(backbone, TorchResNet):
        last = f"{backbone.stages[-1]}.{len(getattr(backbone, backbone.stages[-1])) - 1}"
        return [f"{last}.conv3"], "fc"
    if isinstance(backbone, TorchVGG16):
        return ["classifier.0", "classifier.3"], "classifier.6"
    return ["fc6", "fc7"], "fc8"


def chosen_modules(metadata: Mapping[str, str], backbone: nn.Module) -> list[str]:
    """The reference's names of the layers that the surgery made recurrent."""
    layers = json.loads(metadata["sequence"]).get("layers")
    hidden, _ = head_modules(backbone)
    if layers is None:
        return hidden
    moves = reference.reference_moves(backbone)
    chosen = {moves[f"{layer}.kernel"].source.removesuffix(".weight") for layer in layers}
    return [name for name in hidden if name in chosen]


def _unfold(x: Any, sizes: Any) -> Any:
    """Tensors (B·T, ...) -> (B, T, ...)."""
    return (
        tuple(_unfold(part, sizes) for part in x) if isinstance(x, tuple) else x.unflatten(0, sizes)
    )


def load(path: Path) -> TorchSequence:
    """Reads a sequence model that `export` wrote, `.pth` or `.safetensors`.

    Raises:
        InputError: The file holds no exported sequence model.
    """
    if path.suffix == ".safetensors":
        arrays, metadata = safetensors.read(path)
        state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    else:
        loaded = load_safely(path, zipped=zipfile.is_zipfile(path))
        loaded = loaded if isinstance(loaded, dict) else {}
        state, metadata = loaded.get("state_dict", {}), loaded.get("metadata", {})
    if not isinstance(metadata, Mapping) or "sequence" not in metadata:
        raise InputError(f"{path} holds no sequence model that `prernn port export` wrote")
    model = TorchSequence(metadata)
    counters = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    model.load_state_dict(counters | state)
    return model.eval()
