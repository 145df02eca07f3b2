"""A network for flow from one for RGB."""

import jax
import numpy as np
import pytest
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.cross_modality import first_convolution, for_flow, repeat_mean_channel
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.errors import InputError


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


def test_a_network_without_a_first_convolution():
    with pytest.raises(InputError, match="Linear has no first convolution"):
        for_flow(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), 8)
