"""Every name that these networks go by: bit for bit what the plainly named file gives."""

import re

import numpy as np
import pytest
import reference_files as files
import torch

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained, read_parameters
from prernn_jax.files.safetensors import write_safely
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.parity import parity
from weights_port.verify import recorded_moves, verify_arrays


def _converted(path, arch, **more):
    out = path.with_suffix(".ours")
    _, plan = convert(path, arch, out, overwrite=True, **more)
    return read_parameters(out)[0], plan, out


def _check(folder, arch, plain, other, **more):
    """Writes both state dicts; the second must give the first one's arrays, and verify."""
    torch.save(plain, folder / "plain.pth")
    path = folder / "other.pth"
    torch.save(other, path)
    expected, _, _ = _converted(folder / "plain.pth", arch)
    found, plan, out = _converted(path, arch, **more)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
    verdict, source = verify_arrays(out, path)
    assert verdict.faults == []
    return plan, out, source


def _close(out, source, shape):
    """The layer-by-layer comparison with the network in torch.nn."""
    _, metadata = read_parameters(out)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows = parity(load_pretrained(out), metadata, source, recorded_moves(out, metadata), x)
    assert max(row.relative for row in rows) < 1e-5


def _renamed(state, *rules):
    result = {}
    for key, tensor in state.items():
        for pattern, new in rules:
            key = re.sub(pattern, new, key)
        result[key] = tensor
    return result


_VGG_NAMES = dict(
    zip(
        [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
        ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3"],
        strict=True,
    )
)
_CAFFE_NAMES = [
    (rf"^features\.{index}\.", f"conv{name}.") for index, name in _VGG_NAMES.items()
] + [(r"classifier\.0", "fc6"), (r"classifier\.3", "fc7"), (r"classifier\.6", "fc8")]
_MMPRETRAIN = [
    (rf"^features\.{index}\.", f"@{number + int(name[0]) - 1}.conv.")
    for number, (index, name) in enumerate(_VGG_NAMES.items())
]
VGG = {
    "torchvision-2017": [(r"classifier\.3", "classifier.4"), (r"classifier\.0", "classifier.1")],
    "caffe-names": _CAFFE_NAMES,
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
    other = _renamed(plain, *VGG[layout])
    if layout == "timm":  # whose first two matrices are convolutions
        weight = other["pre_logits.fc1.weight"]
        other["pre_logits.fc1.weight"] = weight.reshape(len(weight), -1, 2, 2)
        other["pre_logits.fc2.weight"] = other["pre_logits.fc2.weight"][:, :, None, None]
    plan, out, source = _check(tmp_path, "vgg16", plain, other)
    assert plan.layout.name == layout
    _close(out, source, (1, 64, 64, 3))


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
def test_resnet50(tmp_path, dialect):
    plain = files.resnet50().state_dict()
    layout, rules = RESNET[dialect]
    plan, _, _ = _check(tmp_path, "resnet50", plain, _renamed(plain, *rules))
    assert plan.layout.name == layout
    prefix = {"module": "module.", "tsn": "module.base_model."}.get(dialect)
    assert prefix is None or f"taken off the keys: {prefix!r}" in plan.notes


def test_what_is_not_of_the_network_is_left_out_and_said(tmp_path):
    plain = files.resnet50().state_dict()
    moco = {f"module.encoder_q.{key}": tensor for key, tensor in plain.items()}
    moco |= {f"module.encoder_k.{key}": tensor for key, tensor in plain.items()}
    moco |= {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1)}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}}
    plan, _, _ = _check(
        tmp_path, "resnet50", plain, {"state_dict": moco, "optimizer": optimizer, "epoch": 3}
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
    _check(tmp_path, "vgg16", two, both, wishes=Wishes(prefix="ema_state_dict."))


def test_unknown_keys_beside_the_network_are_faults(tmp_path):
    state = {f"trunk.{key}": tensor for key, tensor in files.vgg16().state_dict().items()}
    torch.save(state | {"extra.weight": torch.ones(3, 3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"'trunk\.' was taken off.*\n.*\+ extra\.weight"):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")


def _keras_vgg(state):
    """Keras's names and axes; its matrices' inputs are in H, W, C order."""
    arrays = {}
    for key, tensor in _renamed(state, *_CAFFE_NAMES).items():
        name, part = key.split(".")
        array = tensor.numpy()
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif name == "fc6" and array.ndim == 2:
            array = array.reshape(len(array), -1, 2, 2).transpose(2, 3, 1, 0)
            array = array.reshape(-1, array.shape[-1])
        elif array.ndim == 2:
            array = array.T
        name = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}.get(name, name)
        name = re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", name)
        arrays[f"{name}/{name}/{'kernel' if part == 'weight' else 'bias'}:0"] = array
    return arrays


def test_keras_names_of_vgg16(tmp_path):
    plain = files.vgg16().state_dict()
    torch.save(plain, tmp_path / "plain.pth")
    write_safely(tmp_path / "keras", _keras_vgg(plain), {})
    expected, _, _ = _converted(tmp_path / "plain.pth", "vgg16")
    found, plan, out = _converted(tmp_path / "keras", "vgg16")
    assert plan.layout.name == "keras"
    assert plan.preprocessing.channels == "bgr"
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
    verdict, source = verify_arrays(out, tmp_path / "keras")
    assert verdict.faults == []
    _close(out, source, (1, 64, 64, 3))


_KERAS_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
               "running_var": "moving_variance"}  # fmt: skip


def _keras_resnet(state, bias):
    arrays = {}
    for key, tensor in state.items():
        layer, _, part = key.rpartition(".")
        if part == "num_batches_tracked":
            continue
        array = tensor.numpy()
        if layer == "fc":
            name, part = "predictions", "kernel" if part == "weight" else "bias"
            array = array.T if array.ndim == 2 else array
        else:
            name = re.sub(
                r"layer(\d)\.(\d+)\.",
                lambda m: f"conv{int(m[1]) + 1}_block{int(m[2]) + 1}_",
                layer,
            )
            norm = "bn" in name or "downsample.1" in name
            name = name.replace("downsample.0", "conv0").replace("downsample.1", "bn0")
            name = re.sub(r"(conv|bn)(\d)$", r"\2_\1", name)
            name = {"1_conv": "conv1_conv", "1_bn": "conv1_bn"}.get(name, name)
            part = _KERAS_NORM[part] if norm else "kernel"
            if not norm:
                array = array.transpose(2, 3, 1, 0)
                arrays[f"{name}/bias:0"] = np.full(array.shape[-1], bias, np.float32)
        arrays[f"{name}/{part}:0"] = array
    return arrays


@pytest.mark.parametrize("bias", [0.0, 0.25])
def test_keras_names_of_resnet50(tmp_path, bias):
    plain = files.resnet50(variant="caffe", pool="both", stem_bias=False).state_dict()
    torch.save(plain, tmp_path / "plain.pth")
    write_safely(tmp_path / "keras", _keras_resnet(plain, bias), {})
    expected, _, _ = _converted(tmp_path / "plain.pth", "resnet50")
    found, plan, out = _converted(tmp_path / "keras", "resnet50")
    assert (plan.layout.name, found.keys()) == ("keras", expected.keys())
    for name, array in expected.items():
        wanted = array - np.float32(bias) if name.endswith("mean") else array
        assert wanted.tobytes() == found[name].tobytes(), name
    verdict, source = verify_arrays(out, tmp_path / "keras")
    assert verdict.faults == []
    _close(out, source, (1, 64, 64, 3))


def _caffe_named(network):
    """Caffe's layers in a state dict, as caffemodel2pytorch and MMdnn write them."""
    result = {}
    for name, (kind, arrays) in files.caffe_resnet50(network, factor=1.0).items():
        parts = {"BatchNorm": ("running_mean", "running_var"), "Scale": ("weight", "bias")}
        for part, array in zip(parts.get(kind, ("weight", "bias")), arrays, strict=False):
            result[f"{name}.{part}"] = torch.from_numpy(np.array(array))
    return result


def test_caffe_names_of_resnet50_in_a_state_dict(tmp_path):
    network = files.resnet50(variant="caffe")
    plan, out, source = _check(tmp_path, "resnet50", network.state_dict(), _caffe_named(network))
    assert plan.layout.name == "caffe-names"
    assert plan.preprocessing.channels == "bgr"
    _close(out, source, (1, 64, 64, 3))


def test_detectrons_names_of_resnet50(tmp_path):
    """Its batch-norms only scale and shift."""
    network = files.resnet50(variant="caffe", pool="both", stem_bias=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.zero_()
            module.running_var.fill_(1 - 1e-5)
    plain, other = network.state_dict(), {}
    for key, tensor in plain.items():
        key = re.sub(r"^conv1\.weight", "conv1_w", key)
        key = re.sub(r"^bn1\.", "res_conv1_bn.", key)
        key = re.sub(r"layer(\d)\.(\d+)\.", lambda m: f"res{int(m[1]) + 1}_{m[2]}_branch", key)
        key = re.sub(r"conv(\d)\.weight", lambda m: f"2{'_abc'[int(m[1])]}_w", key)
        key = re.sub(r"branchbn(\d)", lambda m: f"branch2{'_abc'[int(m[1])]}_bn", key)
        key = key.replace("downsample.0.weight", "1_w").replace("downsample.1", "1_bn")
        key = key.replace("bn.weight", "bn_s").replace("bn.bias", "bn_b")
        key = key.replace("fc.weight", "fc1000_w").replace("fc.bias", "fc1000_b")
        if "running" not in key and "num_batches" not in key:
            other[key] = tensor
    plan, out, source = _check(tmp_path, "resnet50", plain, other)
    assert plan.layout.name == "caffe2"
    _close(out, source, (1, 64, 64, 3))


DEPTHS = {
    "vgg11": (files.vgg16, {"stages": (1, 1, 2, 2, 2)}),
    "vgg13_bn": (files.vgg16, {"stages": (2, 2, 2, 2, 2), "batch_norm": True}),
    "vgg16_bn": (files.vgg16, {"batch_norm": True}),
    "vgg19": (files.vgg16, {"stages": (2, 2, 4, 4, 4)}),
    "resnet18": (files.resnet50, {"stage_sizes": (2, 2, 2, 2), "block": "basic"}),
    "resnet34": (files.resnet50, {"stage_sizes": (3, 4, 6, 3), "block": "basic", "width": 4}),
    "resnet101": (files.resnet50, {"stage_sizes": (3, 4, 23, 3), "width": 1}),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_other_depths_and_widths_are_read_from_the_file(tmp_path, name):
    build, arguments = DEPTHS[name]
    network = build(**arguments)
    path = tmp_path / "x.pth"
    torch.save(network.state_dict(), path)
    _, _, out = _converted(path, name)
    verdict, source = verify_arrays(out, path)
    assert verdict.faults == []
    assert verdict.equal == len(files.arrays_of(network))
    _close(out, source, (1, 64, 64, 3))
    family = re.match(r"[a-z]+", name)[0]
    _, plan, _ = _converted(path, family)
    assert plan.metadata.items() <= read_parameters(out)[1].items()
    wrong = "resnet50" if family == "resnet" else "vgg13"
    with pytest.raises(InputError, match=f"--arch {name}"):
        convert(path, wrong, tmp_path / "no")


def test_a_resnet_152_by_its_first_digits(tmp_path):
    """Depths beyond nine blocks, and Caffe's names of them (b1 ... b35)."""
    from weights_port.mapping import assign
    from weights_port.tables.resnet import RESNET

    layout = RESNET.layout("caffe")
    found = assign(layout, ["res4b35_branch2a[0]", "bn4b35_branch2a[0]", "res4a_branch1[0]"])
    assert [move.target for move in found.moves] == [
        "layer3.35.conv1.kernel", "layer3.35.bn1.mean", "layer3.0.downsample.0.kernel"
    ]  # fmt: skip
