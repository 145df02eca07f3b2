"""A network from a package that is not ours gets a memory (pip install lpips-nnx)."""

import jax
import numpy as np
import pytest
from flax import nnx

import prernn_jax as pj


@pytest.mark.nightly
def test_the_vgg_of_lpips_nnx_is_made_recurrent(monkeypatch):
    vgg = pytest.importorskip("lpips_nnx.vgg")
    rng = np.random.default_rng(0)

    def random_weights():  # the package fetches torchvision's; a test fetches nothing
        sizes = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}
        sizes |= dict.fromkeys((12, 14), (256, 256)) | {17: (256, 512)}
        sizes |= dict.fromkeys((19, 21, 24, 26, 28), (512, 512))
        return {
            f"conv_{number}": {
                "kernel": rng.normal(0, (2 / 9 / size[0]) ** 0.5, (3, 3, *size)).astype(np.float32),
                "bias": np.zeros(size[1], np.float32),
            }
            for number, size in sizes.items()
        }

    monkeypatch.setattr(vgg, "load_vgg16_weights", random_weights)

    class Classifier(nnx.Module):
        def __init__(self, rngs):
            self.features = vgg.VGG16Features(rngs=rngs)
            self.hidden = nnx.Linear(512, 24, rngs=rngs)
            self.classes = nnx.Linear(24, 3, rngs=rngs)

        def __call__(self, pictures):
            pooled = self.features(pictures)[-1].mean(axis=(1, 2))
            return self.classes(jax.nn.relu(self.hidden(pooled)))

    network = Classifier(nnx.Rngs(0))
    clips = rng.normal(size=(2, 4, 32, 32, 3)).astype(np.float32)
    alone = np.stack([network(clips[:, step]) for step in range(4)], axis=1)
    model = pj.make_recurrent(network, "hidden", cell="gru")
    whole, _ = model(clips)
    first, carry = model(clips[:, :2])
    rest, _ = model(clips[:, 2:], carry=carry)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, atol=1e-5)
    assert np.abs(whole - alone).max() > 1e-3  # it has a memory now
