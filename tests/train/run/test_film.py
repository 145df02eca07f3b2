"""What a film shows: the network with its memory, and the same network without it."""

import numpy as np
import pytest
from drawn import drawn
from flax import nnx
from PIL import Image

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.preprocess import Preprocessing
from prernn_jax.surgery import make_recurrent
from train.run.film import classification_film, step_outputs

pytestmark = pytest.mark.slow

CLIPS = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3), np.uint8)


def network():
    backbone = drawn(lambda: ResNet((1,), 4, 5, 3, rngs=nnx.Rngs(0)))
    model = make_recurrent(backbone, cell="gru", outputs=3, rngs=nnx.Rngs(1))
    kernel = model.backbone.fc.kernel
    kernel[...] = np.random.default_rng(1).normal(size=kernel.shape).astype(np.float32)
    model.backbone.preprocess = Preprocessing(scale=1 / 64, mean=(2.0,))
    model.eval()
    return model


def test_with_memory_and_without():
    model = network()
    whole, alone = step_outputs(model, CLIPS)
    x = model.backbone.preprocess.normalise(CLIPS)
    np.testing.assert_allclose(whole, model(x)[0], atol=1e-5)
    for step in range(4):
        np.testing.assert_allclose(alone[:, step], model(x[:, step : step + 1])[0][:, 0], atol=1e-5)
    np.testing.assert_allclose(whole[:, 0], alone[:, 0], atol=1e-5)  # nothing to remember yet
    assert np.abs(whole[:, 1:] - alone[:, 1:]).max() > 1e-3


def test_a_film_has_a_frame_for_each_step_that_is_there(tmp_path):
    batch = {"clips": CLIPS, "lengths": np.array([4, 2, 3]), "labels": np.array([0, 1, 2])}
    file = tmp_path / "film.gif"
    classification_film(file, batch, network(), ["a", "b", "c"], lambda clips: clips, 2)
    with Image.open(file) as film:
        assert film.n_frames == 4 + 2
        assert film.info["loop"] == 0
