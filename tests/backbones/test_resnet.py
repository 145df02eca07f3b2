"""ResNet against the torch.nn reference with torchvision's key names, and its own sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn
from flax import nnx

from prernn_jax.backbones.resnet import ResNet, ResNet50
from prernn_jax.layers.batch_norm import BatchNorm
from prernn_jax.module_path import get_layer

VARIANTS = ["torchvision", "caffe"]
SMALL = {"stage_sizes": (2, 1), "width": 4, "num_outputs": 5, "in_channels": 6}
_STATISTICS = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def _fill_from_torch(net, weights):
    """Copies a state dict with torchvision's keys into our network; every key must fit."""
    for key, tensor in weights.items():
        name, _, kind = key.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        array = np.asarray(tensor)
        layer = get_layer(net, name)
        if isinstance(layer, BatchNorm):
            target = getattr(layer, _STATISTICS[kind])
        else:
            target = layer.bias if kind == "bias" else layer.kernel
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)  # OIHW -> HWIO
        elif array.ndim == 2:
            array = array.T
        assert target.shape == array.shape, key
        target.set_value(jnp.asarray(array))


def _torch_net(variant):
    torch = pytest.importorskip("torch")
    from weights_port.torch_networks import build_resnet

    torch.manual_seed(0)
    net = build_resnet(**SMALL, variant=variant)
    for name, tensor in net.state_dict().items():  # running statistics of a trained network
        if name.endswith(("running_mean", "bn1.bias", "bn2.bias", "bn3.bias")):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
    return torch, net


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [False, True])
def test_it_is_the_torch_network(variant, training):
    """33x41 pixels: odd sizes show where strides and paddings lie."""
    torch, reference = _torch_net(variant)
    net = drawn(lambda: ResNet(**SMALL, variant=variant, rngs=nnx.Rngs(0)))
    _fill_from_torch(net, reference.state_dict())
    x = np.random.default_rng(0).normal(size=(3, 33, 41, 6)).astype(np.float32)
    if training:
        net.train()
        reference.train()
    given = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        expected = reference(given).numpy()

    @jax.jit
    def run(state, x):
        module = nnx.merge(graphdef, state)
        return module(x), nnx.state(module, nnx.BatchStat)

    graphdef, state = nnx.split(net)
    outputs, statistics = run(state, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=2e-5)
    nnx.update(net, statistics)
    after = {k: v.numpy() for k, v in reference.state_dict().items()}
    np.testing.assert_allclose(net.bn1.mean[...], after["bn1.running_mean"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        net.layer2[0].downsample[1].mean[...],
        after["layer2.0.downsample.1.running_mean"], rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    if training:  # PyTorch stores the unbiased variance
        count = 3 * 17 * 21
        before = np.asarray(state["bn1"]["var"][...])
        unbiased = (after["bn1.running_var"] - 0.9 * before) * (count - 1) / count
        np.testing.assert_allclose(net.bn1.var[...] - 0.9 * before, unbiased, rtol=1e-3)
    else:
        np.testing.assert_array_equal(net.bn1.var[...], after["bn1.running_var"])


def test_every_parameter_has_torchvision_s_name_and_no_other():
    _, reference = _torch_net("torchvision")
    net = nnx.eval_shape(lambda: ResNet(**SMALL, rngs=nnx.Rngs(0)))
    names = {".".join(map(str, path[:-1])) for path, _ in nnx.to_flat_state(nnx.state(net))}
    assert names == {key.rpartition(".")[0] for key in reference.state_dict()}


@pytest.mark.parametrize(("variant", "count"), [("torchvision", 25_557_032), ("caffe", 25_557_096)])
def test_resnet50_has_its_number_of_parameters(variant, count):
    net = nnx.eval_shape(lambda: ResNet50(variant=variant, rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(net, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == count
    assert len(leaves) == 161 + (variant == "caffe")
    assert len(jax.tree.leaves(nnx.state(net, nnx.BatchStat))) == 106
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    outputs, (inputs, shortcut) = nnx.eval_shape(lambda m, x: (m(x), m.trunk(x)), net, images)
    assert outputs.shape == (2, 1000)
    assert inputs.shape == (2, 7, 7, 512)
    assert shortcut.shape == (2, 7, 7, 2048)
    assert net.head[0].name == "layer4.2.conv3"


def test_other_stages_widths_and_channels():
    net = nnx.eval_shape(
        lambda: ResNet((1, 2, 1), width=8, num_outputs=7, in_channels=20, rngs=nnx.Rngs(0))
    )
    assert net.conv1.kernel.shape == (7, 7, 20, 8)
    assert [entry.name for entry in net.head] == ["layer3.0.conv3", "fc"]
    assert net.layer3[0].conv3.kernel.shape == (1, 1, 32, 128)
    flows = jax.ShapeDtypeStruct((2, 64, 64, 20), jnp.float32)
    assert nnx.eval_shape(lambda m, x: m(x), net, flows).shape == (2, 7)


def test_strides_lie_where_the_variant_says():
    strides = {}
    for variant in VARIANTS:
        net = nnx.eval_shape(lambda v=variant: ResNet(**SMALL, variant=v, rngs=nnx.Rngs(0)))
        block = net.layer2[0]
        strides[variant] = [
            conv.strides if isinstance(conv.strides, int) else conv.strides[0]
            for conv in (block.conv1, block.conv2, block.conv3, block.downsample[0])
        ]
        assert (net.conv1.bias is not None) == (variant == "caffe")
    assert strides == {"torchvision": [1, 2, 1, 2], "caffe": [2, 1, 1, 2]}


def test_a_wrong_variant_is_refused():
    with pytest.raises(ValueError, match="'keras'; expected 'torchvision' or 'caffe'"):
        ResNet(variant="keras", rngs=nnx.Rngs(0))


def test_a_basic_network_of_another_variant_is_saved_by_its_arguments():
    from prernn_jax.backbones.head import constructor_arguments

    more = {"block": "basic", "pool": "end", "stem_bias": True, "epsilon": 1e-3, "stem_width": 9}
    net = nnx.eval_shape(lambda: ResNet(**SMALL, **more))
    assert constructor_arguments(net) == SMALL | more
    assert [entry.name for entry in net.head] == ["fc"]
