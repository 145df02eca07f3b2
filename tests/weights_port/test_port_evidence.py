"""Layouts that keys cannot tell apart: evidence decides, or the user is asked."""

import hashlib
import json

import numpy as np
import pytest
import reference_files as files
import torch
from renamed_files import logits_of
from torch import nn

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained
from weights_port import input_range
from weights_port.__main__ import main
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.networks import ARCHITECTURES
from weights_port.tables.architecture import BGR, RGB

RANGES = {1: RGB, 255: BGR}


def _caffe_style():
    """mmdetection's backbones: torchvision's keys, Caffe's stride, no conv1.bias."""
    arguments = {"variant": "caffe", "pool": "both", "stem_bias": False}
    return files.resnet50(**arguments, stage_sizes=files.SHORT)


def _vgg_with_batch_norm():
    network = files.vgg16(batch_norm=True, width=16)
    files.seen(network.features[0], network.features[1])
    return network


def _save(network, path):
    torch.save(network.state_dict(), path)
    return path


def test_a_caffe_style_resnet_is_known_by_its_statistics(tmp_path):
    network = _caffe_style()
    path = _save(network, tmp_path / "x.pth")
    assert any("num_batches_tracked" in key for key in network.state_dict())
    _, plan = convert(path, "resnet", tmp_path / "out")
    assert plan.layout.name == "caffe-in-torch"
    note = next(note for note in plan.notes if "because" in note)
    assert "raw ones, with a correlation of 0.9" in note
    assert "--layout torchvision if" in note
    x = np.random.default_rng(0).normal(size=(1, 63, 63, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    found = logits_of(tmp_path / "out", x)
    assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)


def test_torchvisions_are_known_by_theirs(tmp_path):
    for arch, network in [("resnet50", files.resnet50()), ("vgg16", files.vgg16()),
                          ("vgg16_bn", _vgg_with_batch_norm())]:  # fmt: skip
        _, plan = convert(_save(network, tmp_path / arch), arch, tmp_path / f"{arch}.out")
        assert plan.layout.name == "torchvision"
        assert any("because" in note and "caffe-in-torch if" in note for note in plan.notes)


def test_a_deep_resnet_of_caffe_is_asked_for_its_padding(tmp_path):
    """Caffe's own ResNet-101 has no conv1.bias either; only the keys' number decides here."""
    network = files.resnet50(
        variant="caffe", pool="end", stem_bias=False, stage_sizes=(1, 1, 7, 1), width=1
    )
    path = _save(network, tmp_path / "x.pth")
    for wishes in (Wishes(), Wishes(scale=255)):
        with pytest.raises(InputError, match=r"--pool both for networks of Detectron.*--pool end"):
            convert(path, "resnet", tmp_path / "out", wishes=wishes)
    for pool in ("both", "end"):
        wishes = Wishes(pool=pool)
        _, plan = convert(path, "resnet", tmp_path / "out", wishes=wishes, overwrite=True)
        assert plan.layout.name == "caffe-in-torch"
        assert json.loads(plan.metadata["arguments"])["pool"] == pool


def test_weights_between_the_two_are_asked_for(tmp_path, capsys):
    network = _caffe_style()
    files.seen(network.conv1, network.bn1, deviation=9.0)
    path = _save(network, tmp_path / "x.pth")
    arguments = ["convert", str(path), "--arch", "resnet", "--out", str(tmp_path / "out")]
    with pytest.raises(InputError) as caught:
        main(arguments)
    text = str(caught.value)
    for words in [
        "--layout torchvision: RGB from 0 to 1",
        "--layout caffe-in-torch: BGR from 0 to 255",
        "stride in the first convolution of a block; max-pool padded on both sides",
        "times what a photograph gives in normalised colours",
        "--place, --pool, --channels, --range",
    ]:
        assert words in text
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--range=255"]) == 0  # a single point decides too
    assert "layout caffe-in-torch" in capsys.readouterr().out
    # What the user says overrides the layout.
    wishes = Wishes("caffe-in-torch", pool="end", channels="rgb")
    convert(path, "resnet", tmp_path / "out", wishes=wishes, overwrite=True)
    model = load_pretrained(tmp_path / "out")
    assert model.padding == (0, 1)
    assert (model.preprocess.channels, model.preprocess.mean[0]) == ("rgb", 123.68)


@pytest.mark.parametrize("made_up", [False, True])
def test_a_network_that_has_seen_no_pictures_is_asked_for(tmp_path, made_up):
    """Statistics of mean 0 and variance 1, or at random near them: both say nothing."""
    network = _caffe_style()
    if made_up:
        files.alive(network)
    else:
        network.bn1.reset_running_stats()
        network.bn1.reset_parameters()
    message = "too little to be those of photographs" if made_up else "have seen no images yet"
    with pytest.raises(InputError, match=rf"{message}(.*\n)*.*--layout torchvision: RGB"):
        convert(_save(network, tmp_path / "x.pth"), "resnet", tmp_path / "out")


def test_a_vgg_without_its_classifier_is_asked_for(tmp_path):
    state = files.vgg16().state_dict()
    torch.save({k: v for k, v in state.items() if "classifier.6" not in k}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"differ by 0 with normalised.*\n.*--layout torchvision"):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")


def test_the_two_inputs_of_c3d_are_asked_for(tmp_path):
    path = _save(files.c3d(variant="pytorch"), tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"--layout c3d-pytorch: RGB(.*\n)*.*caffe-in-torch: BGR"):
        convert(path, "c3d", tmp_path / "out")
    _, plan = convert(path, "c3d", tmp_path / "out", wishes=Wishes(pool="both"))
    assert plan.layout.name == "c3d-pytorch"


@pytest.mark.parametrize("layout", ["torchvision", "caffe-in-torch"])
def test_a_published_file_is_known_by_its_digest(tmp_path, monkeypatch, layout):
    """Whatever its statistics say."""
    path = _save(_caffe_style(), tmp_path / "x.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    table = ARCHITECTURES["resnet"].named(layout)[0]
    monkeypatch.setattr(type(table), "digests", property(lambda t: (digest,) * (t is table)))
    _, plan = convert(path, "resnet", tmp_path / "out")
    assert plan.layout.name == layout
    assert any("its SHA-256 is that of a published file" in note for note in plan.notes)


def _pictures(size, scale):
    """The six pictures as a network of that range sees them, (6, 3, size, size)."""
    pictures = input_range._pictures(size)
    return torch.from_numpy(np.moveaxis(np.array(RANGES[scale].normalise(pictures)), -1, 1).copy())


@pytest.mark.parametrize("scale", RANGES)
def test_the_statistics_of_real_pictures(scale):
    """A first layer of smooth kernels, after batch-norm has seen photographs."""
    generator = torch.Generator().manual_seed(3)
    conv, norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64, momentum=None)
    kernel = torch.randn(64, 3, 7, 7, generator=generator)
    # As in trained networks: from edges and spots of different widths to single pixels.
    width = torch.linspace(0.4, 2.5, 64)
    place = torch.arange(-3, 4.0)
    blur = torch.exp(-((place[:, None] - place) ** 2) / (2 * width[:, None, None] ** 2))
    kernel = torch.einsum("oyv,ocvw,oxw->ocyx", blur, kernel, blur)
    conv.weight.data = kernel - kernel.mean((1, 2, 3), keepdim=True) * 0.8
    conv.weight.data[5] = 1e-12  # an output that has died
    norm(conv(_pictures(224, scale)))
    told = input_range.by_batch_norm(
        conv.weight.detach().permute(2, 3, 1, 0).numpy(),
        norm.weight.detach().numpy(),
        norm.bias.detach().numpy(),
        norm.running_mean.numpy(),
        norm.running_var.numpy(),
    )
    assert told.scale == scale, told.reason
    print(told.reason)


@pytest.mark.parametrize("scale", RANGES)
def test_batch_norms_without_statistics_are_known_by_their_scales(scale):
    """Detectron's: the statistics have gone into the scale and the shift."""
    variant = "caffe" if scale == 255 else "torchvision"
    network = files.resnet50(variant=variant, stem_width=64)
    norm, rng = network.bn1, np.random.default_rng(0)
    gamma = rng.uniform(0.2, 0.5, len(norm.running_var))
    folded = gamma / norm.running_var.numpy() ** 0.5
    kernel = network.conv1.weight.detach().permute(2, 3, 1, 0).numpy()
    shift, none = rng.normal(size=folded.shape), np.zeros(folded.shape)
    told = input_range.by_batch_norm(kernel, folded, shift, none, none + 1 - 1e-5)
    assert told.scale == scale, told.reason
    assert "without statistics" in told.reason


@pytest.fixture
def one_thread():
    """Many small steps: two threads that wait for each other take longer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("scale", RANGES)
def test_a_trained_vgg_is_known_by_its_logits(tmp_path, scale):
    """Trained to tell parts of a photograph apart, in one range or the other."""
    torch.manual_seed(0)
    network = files.vgg16(width=8, hidden=32, num_outputs=6, image_size=32, stages=(1, 1, 2, 2, 2))
    inputs = _pictures(40, scale)
    if scale == 255:  # as a trained network's: its answers are of one size on its own range
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data /= 58 ** (1 / 8)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(60):
        top, left = torch.randint(0, 9, (2,)).tolist()
        batch = inputs[:, :, top : top + 32, left : left + 32]
        loss = nn.functional.cross_entropy(network(batch), torch.arange(6))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5
    path = _save(network.eval(), tmp_path / "x.pth")
    _, plan = convert(path, "vgg11", tmp_path / "out")
    assert plan.layout.name == {1: "torchvision", 255: "caffe-in-torch"}[scale]
    print(next(note for note in plan.notes if "because" in note))
