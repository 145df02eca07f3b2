"""The public API: what `import prernn_jax as pj` offers, and the example of the README."""

import subprocess
import sys

import chex
import numpy as np
import pytest
from random_model import random_model

import prernn_jax as pj

IMAGE = (40, 48)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a small VGG16 that wants BGR images of 32 x 32."""
    vgg = random_model(lambda: pj.vgg16(5, width=2, hidden=8, image_size=32))
    vgg.preprocess = pj.Preprocessing(
        channels="bgr", mean=(104, 117, 123), resize=34, crop=(32, 32)
    )
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    pj.save(path, vgg)
    return path


def _clips(seed, steps):
    return np.random.default_rng(seed).integers(0, 256, (2, steps, *IMAGE, 3), np.uint8)


@pytest.mark.slow
def test_the_example(weights, tmp_path):
    clips, more_clips = _clips(0, 3), _clips(1, 2)

    vgg = pj.load(weights)
    model = pj.make_recurrent(vgg, "fc7", cell="gru", outputs=136)
    y, h = model(model.preprocess(clips))
    y, h = model(model.preprocess(more_clips), carry=h)
    base = pj.stack_recurrent(vgg, cell="gru", like=model)
    pj.save(tmp_path / "model.safetensors", model)
    stream = pj.Stream(model)

    assert y.shape == (2, 2, 136)
    chex.assert_shape(h[0][0], (2, 8))
    assert base(base.preprocess(clips))[0].shape == (2, 3, 136)
    assert stream(model.preprocess(clips[:1, 0])).shape == (1, 136)
    again = pj.load(tmp_path / "model.safetensors")
    chex.assert_trees_all_equal(
        again(again.preprocess(more_clips)), model(model.preprocess(more_clips))
    )
    # Two calls with the carry between them are one call.
    _, whole = model(model.preprocess(np.concatenate([clips, more_clips], axis=1)))
    chex.assert_trees_all_close(h, whole, rtol=1e-5, atol=1e-5)


def test_every_name_is_there_and_no_other():
    assert sorted(pj.__all__) == dir(pj)
    for name in pj.__all__:
        assert getattr(pj, name) is not None
    expected = (
        "load save make_recurrent stack_recurrent per_frame Recurrent SequenceModel Stream jit"
    )
    expected += " matched_hidden vgg16 c3d resnet50 Preprocessing InputError Inference __version__"
    assert set(pj.__all__) == set(expected.split())
    assert pj.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'load_model'"):
        _ = pj.load_model


HEAVY = ("jax", "torch", "tensorflow_datasets", "tensorflow", "cv2", "grain", "orbax", "tyro")


def test_the_import_is_quick_and_brings_nothing_along():
    code = f"""
import sys
import prernn_jax
dir(prernn_jax)
print([name for name in {HEAVY} if name in sys.modules])
for name in prernn_jax.__all__:
    getattr(prernn_jax, name)
print([name for name in {HEAVY[1:-1]} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        ("vgg16", {"width": 2, "hidden": 4, "image_size": 32}),
        ("c3d", {"width": 2, "hidden": 4, "clip_length": 2, "image_size": 16}),
        ("resnet50", {"width": 2, "stage_sizes": (1,)}),
    ],
)
def test_without_rngs_the_seed_is_0(make, sizes):
    """As the docstrings say: two networks made without `rngs` are the same."""
    from flax import nnx

    models = [getattr(pj, make)(**sizes, **more) for more in ({}, {}, {"rngs": nnx.Rngs(0)})]
    made = [pj.make_recurrent(model, **more) for model, more in
            zip(models, ({}, {}, {"rngs": nnx.Rngs(0)}), strict=True)]  # fmt: skip
    first, *others = (nnx.state(model) for model in made)
    for other in others:
        chex.assert_trees_all_equal(first, other)
    assert all(layer.cell == "gru" for layer in made[0].recurrent_layers)
    assert pj.Recurrent(2, 3).cell == pj.stack_recurrent(models[0], hidden=2).extra[0].cell == "gru"
