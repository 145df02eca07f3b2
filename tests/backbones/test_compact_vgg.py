"""The compact VGG: sizes, trunk and features, and back from a file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, in_float64
from flax import nnx

from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.files.architectures import build
from prernn_jax.files.backbones import (
    flat_parameters,
    flat_shapes,
    load_pretrained,
    save_parameters,
)
from prernn_jax.surgery import make_recurrent

SMALL = {"num_outputs": 6, "channels": (2, 3), "hidden": 5, "image_size": 9}


def small():
    return CompactVGG(**SMALL, rngs=nnx.Rngs(0))


def test_sizes():
    shapes = flat_shapes(build({"architecture": "compact_vgg"}))
    assert shapes["conv1.kernel"] == (3, 3, 3, 16)
    assert shapes["conv3.kernel"] == (3, 3, 32, 64)
    assert shapes["fc6.kernel"] == (6 * 6 * 64, 128)  # 48 -> 24 -> 12 -> 6
    assert shapes["fc8.kernel"] == (128, 136)
    assert len(shapes) == 12


def test_equals_the_sum_by_hand():
    model = in_float64(drawn(small))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 9, 9, 3))
    x = images
    for name, side in (("conv1", 5), ("conv2", 3)):  # 9 -> 5 -> 3
        layer = getattr(model, name)
        kernel, bias = np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])
        padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
        x = np.zeros((2, side, side, kernel.shape[-1]))
        for i in range(side):
            for j in range(side):
                patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                x[:, i, j] = np.einsum("nhwi,hwio->no", patch, kernel) + bias
        x = np.maximum(x, 0)
    x = x.reshape(2, -1)
    np.testing.assert_allclose(model.trunk(jnp.asarray(images)), x, rtol=1e-6, atol=1e-6)
    for name in ("fc6", "fc7", "fc8"):
        layer = getattr(model, name)
        x = x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        x = x if name == "fc8" else np.maximum(x, 0)
    np.testing.assert_allclose(model(jnp.asarray(images)), x, rtol=1e-5, atol=1e-5)


def test_back_from_a_file(tmp_path):
    model = drawn(small)
    metadata = {
        "architecture": "compact_vgg",
        "arguments": '{"num_outputs": 6, "channels": [2, 3], "hidden": 5, "image_size": 9}',
    }
    save_parameters(tmp_path / "net.safetensors", flat_parameters(model), metadata)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 9, 3)), jnp.float32)
    again = load_pretrained(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again(images), model(images))


@pytest.mark.parametrize("layers", [("fc6",), ("fc7",), ("fc6", "fc7")])
def test_its_layers_become_recurrent(layers):
    model = make_recurrent(drawn(small), layers, "vrnn", outputs=4, rngs=nnx.Rngs(1))
    clips = jnp.zeros((2, 3, 9, 9, 3), jnp.float32)
    outputs, carry = model(clips)
    assert outputs.shape == (2, 3, 4)
    assert len(carry) == len(layers)


def test_images_of_another_size_are_refused():
    model = CompactVGG(rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"inputs of 64x64 give .* made for image_size=48"):
        jax.eval_shape(model, jnp.zeros((1, 64, 64, 3)))
