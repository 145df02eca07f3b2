"""A network for flow from one for RGB."""

import jax
import numpy as np
import pytest
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.cross_modality import first_convolution, for_flow, repeat_mean_channel
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError

pytestmark = pytest.mark.slow


def test_channels_are_the_mean_repeated():
    kernel = jax.random.normal(jax.random.key(0), (7, 7, 3, 4))
    repeated = repeat_mean_channel(kernel, 10)
    assert repeated.shape == (7, 7, 10, 4)
    for channel in range(10):
        np.testing.assert_allclose(repeated[:, :, channel], kernel.mean(axis=2), rtol=1e-6)


def test_the_given_network_stays_and_the_new_one_takes_flow():
    model = ResNet((1,), 4, 5, rngs=nnx.Rngs(0))
    before = np.array(model.conv1.kernel[...])
    flow = for_flow(model, 8)
    assert flow(np.ones((2, 32, 32, 8), np.float32)).shape == (2, 5)
    assert flow.conv1.in_features == 8
    np.testing.assert_array_equal(model.conv1.kernel[...], before)
    np.testing.assert_array_equal(flow.fc.kernel[...], model.fc.kernel[...])


def test_c3d_for_clips_of_flow():
    sizes = {"width": 2, "hidden": 4, "clip_length": 4, "image_size": 16, "stage_sizes": (1, 1)}
    model = C3D(**sizes, num_outputs=3, rngs=nnx.Rngs(0))
    flow = for_flow(model, 2)
    assert flow(np.ones((2, 4, 16, 16, 2), np.float32)).shape == (2, 3)
    assert model.conv1a.in_features == 3


def test_a_vgg_for_flow():
    model = nnx.eval_shape(lambda: VGG16(rngs=nnx.Rngs(0)))
    assert first_convolution(model) == "conv1_1"


def test_every_backbone_has_a_form_for_flow():
    """With the outputs that the repeated mean gives on any input of equal channels."""
    rgb = {"vgg": VGG16(3, 2, 4, 32), "compact": CompactVGG(3, (2, 4), 4, 16)}
    for name, model in rgb.items():
        flow = for_flow(model, 6)
        assert flow.in_channels == 6
        assert model.in_channels == 3
        size = 32 if name == "vgg" else 16
        plane = np.random.default_rng(0).normal(size=(1, size, size, 1)).astype(np.float32)
        outputs = [net(np.repeat(plane, net.in_channels, axis=-1) / net.in_channels)
                   for net in (model, flow)]  # fmt: skip
        np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


def test_a_network_without_a_first_convolution_is_refused():
    with pytest.raises(InputError, match="Linear has no first convolution conv1, conv1a, conv1_1"):
        for_flow(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), 8)
