"""C3D: published sizes, Caffe's and the ports' pooling against torch.nn, short clips, errors."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_files as files
import torch
from flax import nnx
from random_model import random_model

from prernn_jax.backbones.c3d import C3D
from prernn_jax.files.architectures import build
from prernn_jax.files.backbones import flat_shapes
from prernn_jax.module_path import get_layer

SMALL = {"num_outputs": 5, "width": 1, "hidden": 7}
NAMES = ["conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"]


def _model(**arguments):
    return random_model(lambda: C3D(**SMALL, **arguments, rngs=nnx.Rngs(0)))


def test_published_sizes():
    shapes = flat_shapes(build({"architecture": "c3d"}))
    assert shapes["conv1a.kernel"] == (3, 3, 3, 3, 64)
    assert shapes["fc6.kernel"] == (8192, 4096)
    assert shapes["fc8.kernel"] == (4096, 487)
    assert len(shapes) == 22
    short = flat_shapes(build({"architecture": "c3d", "arguments": '{"clip_length": 8}'}))
    assert short == shapes


def _pair(variant, length, size):
    """The reference and our network with the same convolutions."""
    sizes = {"clip_length": length, "image_size": size}
    reference = files.c3d(variant=variant, width=1, **sizes)
    model = _model(**sizes, variant=variant)
    for name in NAMES:
        conv = getattr(reference, name)
        layer = get_layer(model, {"conv1": "conv1a", "conv2": "conv2a"}.get(name, name))
        layer.kernel[...] = jnp.asarray(conv.weight.detach().numpy().transpose(2, 3, 4, 1, 0))
        layer.bias[...] = jnp.asarray(conv.bias.detach().numpy())
    return reference, model


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["caffe", "pytorch"])
@pytest.mark.parametrize(("length", "size"), [(16, 112), (8, 48)])
def test_trunk_against_torch(variant, length, size):
    reference, model = _pair(variant, length, size)
    clip = np.random.default_rng(0).normal(size=(1, length, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        expected = reference.trunk(torch.from_numpy(np.moveaxis(clip, -1, 1).copy()))
    if size == 112:
        assert expected.shape == (1, 8, 1, 4, 4)
    expected = expected.permute(0, 2, 3, 4, 1).reshape(1, -1).numpy()
    with jax.default_matmul_precision("highest"):
        ours = model.trunk(jnp.asarray(clip))
    np.testing.assert_allclose(ours, expected, atol=1e-5 * float(np.abs(expected).max()))


def test_the_two_poolings_differ():
    """The last pooling sees rows (0, 1), (2) or (0), (1, 2)."""
    _, model = _pair("caffe", 8, 48)
    clip = np.random.default_rng(0).normal(size=(1, 8, 48, 48, 3)).astype(np.float32)
    with jax.default_matmul_precision("highest"):  # compiled for the test above already
        caffe = model.trunk(jnp.asarray(clip))
        model.variant = "pytorch"
        ports = model.trunk(jnp.asarray(clip))
    assert caffe.shape == ports.shape
    assert not np.allclose(caffe, ports, rtol=0.1)


@pytest.mark.slow
def test_head_and_features():
    model = _model(clip_length=8, image_size=48)
    assert [entry.name for entry in model.head] == ["fc6", "fc7", "fc8"]
    clip = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 48, 48, 3)).astype(np.float32))
    y = nnx.relu(model.fc7(nnx.relu(model.fc6(model.trunk(clip)))))
    np.testing.assert_array_equal(model.features(clip), y)
    np.testing.assert_array_equal(model(clip), model.fc8(y))
    first = model.features(clip, dropout_key=jax.random.key(0))
    np.testing.assert_array_equal(first, model.features(clip, dropout_key=jax.random.key(0)))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'theano'"):
        C3D(variant="theano", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="too small for 5 poolings"):
        _model(image_size=8, variant="pytorch")
    model = _model(clip_length=8, image_size=48)
    with pytest.raises(ValueError, match=r"inputs of 8x80x80 .* clip_length=8, image_size=48"):
        jax.eval_shape(model, jnp.zeros((1, 8, 80, 80, 3)))


def test_a_compact_network_of_three_stages():
    sizes = {"clip_length": 4, "image_size": 48, "in_channels": 1, "stage_sizes": (1, 1, 1)}
    model = _model(**sizes, stride=2)
    assert [name for names in model.stages for name in names] == ["conv1a", "conv2a", "conv3a"]
    assert model.fc6.in_features == 4 * 3 * 3
    clips = jax.random.normal(jax.random.key(0), (2, 4, 48, 48, 1))
    assert model(clips).shape == (2, 5)
    arguments = {"num_outputs": 5, "width": 1, "hidden": 7, **sizes, "stride": 2}
    text = json.dumps(arguments)
    built = build({"architecture": "c3d", "arguments": text})
    assert flat_shapes(built) == flat_shapes(model)
