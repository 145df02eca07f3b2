"""VGG16: published sizes, both poolings of odd sizes against torch.nn, dropout, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_files as files
import torch
from flax import nnx
from random_model import random_model

from prernn_jax.backbones.vgg import VGG16
from prernn_jax.files.architectures import build
from prernn_jax.files.backbones import flat_shapes
from prernn_jax.module_path import get_layer
from prernn_jax.surgery import make_recurrent

SMALL = {"num_outputs": 5, "width": 2, "hidden": 7}


def _model(**arguments):
    return random_model(lambda: VGG16(**{**SMALL, **arguments}, rngs=nnx.Rngs(0)))


def test_published_sizes():
    shapes = flat_shapes(build({"architecture": "vgg16"}))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 138_357_544
    assert shapes["conv1_1.kernel"] == (3, 3, 3, 64)
    assert shapes["conv5_3.kernel"] == (3, 3, 512, 512)
    assert shapes["fc6.kernel"] == (25088, 4096)
    assert shapes["fc8.bias"] == (1000,)
    assert len(shapes) == 32


@pytest.mark.parametrize("variant", ["torchvision", "caffe"])
def test_odd_sizes_against_torch(variant):
    """40 -> 20 -> 10 -> 5 -> 2 or 3 -> 1 or 2."""
    reference = files.vgg16(variant=variant, image_size=40)
    model = _model(image_size=(40, 40), variant=variant)
    convolutions = [m for m in reference.features if isinstance(m, torch.nn.Conv2d)]
    names = [f"conv{s}_{i}" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    for name, conv in zip(names, convolutions, strict=True):
        layer = get_layer(model, name)
        layer.kernel[...] = jnp.asarray(conv.weight.detach().numpy().transpose(2, 3, 1, 0))
        layer.bias[...] = jnp.asarray(conv.bias.detach().numpy())
    x = np.random.default_rng(0).normal(size=(2, 40, 40, 3)).astype(np.float32)
    with torch.no_grad():
        expected = reference.features(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    side = {"torchvision": 1, "caffe": 2}[variant]
    assert expected.shape == (2, 16, side, side)
    expected = expected.permute(0, 2, 3, 1).reshape(2, -1).numpy()
    with jax.default_matmul_precision("highest"):
        ours = model.trunk(jnp.asarray(x))
    np.testing.assert_allclose(ours, expected, atol=1e-5 * float(np.abs(expected).max()))


def test_head_and_features():
    model = _model(image_size=32)
    assert [entry.name for entry in model.head] == ["fc6", "fc7", "fc8"]
    assert [entry.activation for entry in model.head] == [nnx.relu, nnx.relu, None]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32))
    y = model.trunk(x)
    for entry in model.head[:-1]:
        y = entry.activation(get_layer(model, entry.name)(y))
    np.testing.assert_array_equal(model.features(x), y)
    np.testing.assert_array_equal(model(x), model.fc8(y))


def test_dropout_needs_a_key():
    model = _model(image_size=32, hidden=64)
    model.fc6.bias[...] += 1.0
    x = jnp.ones((2, 32, 32, 3), jnp.float32)
    np.testing.assert_array_equal(model(x), model(x))
    first, again = (model.features(x, dropout_key=jax.random.key(0)) for _ in range(2))
    other = model.features(x, dropout_key=jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.mean(np.asarray(first) == 0) > np.mean(np.asarray(model.features(x)) == 0)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'theano'"):
        VGG16(variant="theano", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="image_size is 31"):
        _model(image_size=31)


def test_images_of_another_size_are_refused():
    model = _model(image_size=32)
    with pytest.raises(ValueError, match=r"inputs of 64x48 give .* made for image_size=32"):
        jax.eval_shape(model, jnp.zeros((1, 64, 48, 3)))
    recurrent = make_recurrent(model, layers=("fc6",), cell="gru", outputs=3)
    with pytest.raises(ValueError, match="inputs of 64x64 give"):
        jax.eval_shape(recurrent, jnp.zeros((1, 2, 64, 64, 3)))
