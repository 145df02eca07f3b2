"""PyTorch's names of VGG16 and ResNet50: bit for bit what the plainly named file gives."""

import pytest
import reference_files as files
import torch
from renamed_files import CAFFE_NAMES, VGG_NAMES, check_layers, check_same_bits, renamed

from prernn_jax.errors import InputError
from weights_port.choice import Wishes
from weights_port.convert import convert

pytestmark = pytest.mark.slow

_MMPRETRAIN = [
    (rf"^features\.{index}\.", f"@{number + int(name[0]) - 1}.conv.")
    for number, (index, name) in enumerate(VGG_NAMES.items())
]
VGG = {
    "torchvision-2017": [(r"classifier\.3", "classifier.4"), (r"classifier\.0", "classifier.1")],
    "caffe-names": CAFFE_NAMES,
    "mmlab": [*_MMPRETRAIN, ("^@", "features."), ("^", "backbone.")],
    "timm": [
        (r"classifier\.0", "pre_logits.fc1"), (r"classifier\.3", "pre_logits.fc2"),
        (r"classifier\.6", "head.fc"),
    ],
    "torchvision": [("^", "module.base_model.net."), (r".*classifier\.6", "module.new_fc")],
}  # fmt: skip


@pytest.mark.parametrize("layout", VGG)
def test_vgg16(tmp_path, layout):
    plain = files.vgg16().state_dict()
    other = renamed(plain, *VGG[layout])
    if layout == "timm":  # whose first two matrices are convolutions
        weight = other["pre_logits.fc1.weight"]
        other["pre_logits.fc1.weight"] = weight.reshape(len(weight), -1, 2, 2)
        other["pre_logits.fc2.weight"] = other["pre_logits.fc2.weight"][:, :, None, None]
    plan, out, source = check_same_bits(tmp_path, "vgg16", plain, other)
    assert plan.layout.name == layout
    check_layers(out, source, (1, 64, 64, 3))


_MM = [
    (r"(^|\.)conv(\d)\.weight", r"\1conv\2.conv.weight"), (r"(^|\.)bn(\d)\.", r"\1conv\2.bn."),
    (r"downsample\.0", "downsample.conv"), (r"downsample\.1", "downsample.bn"),
]  # fmt: skip
_STAGES = [(f"layer{n}", f"res{n + 1}") for n in range(1, 5)]
_D2 = [
    (r"(^|\.)bn(\d)\.", r"\1conv\2.norm."), (r"downsample\.0", "shortcut"),
    (r"downsample\.1", "shortcut.norm"), (r"^conv1", "stem.conv1"), *_STAGES,
]  # fmt: skip
_HF = [
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    *((rf"layer{n}\.(\d+)\.", rf"encoder.stages.{n - 1}.layers.\1.") for n in range(1, 5)),
    *((rf"\.conv{n}\.", f".layer.{n - 1}.convolution.") for n in range(1, 4)),
    *((rf"\.bn{n}\.", f".layer.{n - 1}.normalization.") for n in range(1, 4)),
    (r"downsample\.0", "shortcut.convolution"), (r"downsample\.1", "shortcut.normalization"),
    ("^", "resnet."), (r"resnet\.fc", "classifier.1"),
]  # fmt: skip
RESNET = {
    "module": ("torchvision", [("^", "module.")]),
    "moco": ("torchvision", [("^", "module.encoder_q.")]),
    "lightning": ("torchvision", [("^", "net.backbone."), (r".*\.fc", "net.head.fc")]),
    "tsn": ("torchvision", [("^", "module.base_model."), (r".*model\.fc", "module.new_fc")]),
    "mmaction2": ("mmlab", [*_MM, ("^", "backbone."), (r"backbone\.fc", "cls_head.fc_cls")]),
    "mmpretrain": ("torchvision", [("^", "backbone."), (r"backbone\.fc", "head.fc")]),
    "detectron2": ("detectron2-torchvision", [*_D2, ("^", "backbone.bottom_up.")]),
    "hugging face": ("hugging-face", _HF),
    "children": (
        "children",
        [("^conv1", "0"), ("^bn1", "1"), ("^fc", "9")]
        + [(f"^layer{n}", f"{n + 3}") for n in range(1, 5)],
    ),
    "tsm": (
        "tsm",
        [(r"(layer\d\.\d\.conv1)\.", r"\1.net."), ("^", "module.base_model."),
         (r".*model\.fc", "module.new_fc")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", RESNET)
def test_resnet(tmp_path, dialect):
    plain = files.resnet50(stage_sizes=files.SHORT).state_dict()
    layout, rules = RESNET[dialect]
    plan, out, source = check_same_bits(tmp_path, "resnet", plain, renamed(plain, *rules))
    assert plan.layout.name == layout
    if layout != "torchvision" or dialect == "tsn":  # the others are the same table
        check_layers(out, source, (1, 63, 63, 3))
    prefix = {"module": "module.", "tsn": "module.base_model."}.get(dialect)
    assert prefix is None or f"taken off the keys: {prefix!r}" in plan.notes


def test_what_is_not_of_the_network_is_left_out_and_said(tmp_path):
    plain = files.resnet50(stage_sizes=files.SHORT).state_dict()
    moco = {f"module.encoder_q.{key}": tensor for key, tensor in plain.items()}
    moco |= {f"module.encoder_k.{key}": tensor for key, tensor in plain.items()}
    moco |= {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1)}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}}
    plan, _, _ = check_same_bits(
        tmp_path, "resnet", plain, {"state_dict": moco, "optimizer": optimizer, "epoch": 3}
    )
    reasons = set(plan.assignment.skipped.values())
    assert {
        "the queue of a contrastive training",
        "the second network of a self-supervised training",
        "state of the training, not of the network",
    } <= reasons
    assert plan.prefix == "state_dict.module.encoder_q."


def test_two_networks_in_one_file_are_asked_for(tmp_path):
    one, two = files.vgg16().state_dict(), files.vgg16(width=3).state_dict()
    both = {"model": one, "ema_state_dict": two}
    torch.save(both, tmp_path / "both.pth")
    with pytest.raises(InputError, match=r"more than once.*ema_state_dict\., model\..*--prefix"):
        convert(tmp_path / "both.pth", "vgg16", tmp_path / "out")
    check_same_bits(tmp_path, "vgg16", two, both, wishes=Wishes(prefix="ema_state_dict."))


def test_unknown_keys_beside_the_network_are_faults(tmp_path):
    state = {f"trunk.{key}": tensor for key, tensor in files.vgg16().state_dict().items()}
    torch.save(state | {"extra.weight": torch.ones(3, 3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"'trunk\.' was taken off.*\n.*\+ extra\.weight"):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")
