"""How sequence models are called: their preprocessing, lengths, and what they refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import FOREIGN_LAYERS, IMAGE, c3d, drawn, foreign, random_clips, tiny, vgg
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.foreign import FoldedModel
from prernn_jax.layer_sequence import LayerSequence
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.preprocess import Preprocessing
from prernn_jax.surgery import make_recurrent, stack_recurrent

B, T = 2, 3
MODELS = {
    "ours": lambda: make_recurrent(tiny(), cell="lstm"),
    "foreign": lambda: make_recurrent(foreign(), FOREIGN_LAYERS, "lstm", True),
    "explicit": lambda: LayerSequence(tiny().trunk, [Recurrent(64, 5), nnx.relu]),
    "vgg": lambda: make_recurrent(vgg()),
    "c3d": lambda: stack_recurrent(c3d(), hidden=5),
}


def test_every_model_has_the_preprocessing_of_its_network():
    ours, other = drawn(vgg), drawn(foreign)
    models = [
        make_recurrent(ours, "fc7"),
        LayerSequence(ours.trunk, [nnx.relu]),
        make_recurrent(other, "head.inner"),
    ]
    for model in models:
        assert not hasattr(model, "preprocess")
        with pytest.raises(AttributeError, match=r"set model\.preprocess = Preprocessing"):
            _ = model.preprocess
        model.preprocess = preprocess = Preprocessing(scale=1 / 255)
        assert model.preprocess is preprocess
        clips = np.random.default_rng(0).integers(0, 256, (1, 2, *IMAGE), np.uint8)
        with pytest.raises(InputError, match=r"uint8; .* model\(model\.preprocess\(clips\)\)"):
            model(clips)
        assert model(model.preprocess(clips))[0].shape[:2] == (1, 2)
    ours.preprocess = preprocess
    assert make_recurrent(ours).preprocess is preprocess  # it comes along


def test_lengths_are_lists_or_arrays():
    model = make_recurrent(drawn(tiny), "fc7")
    clips = random_clips(B, T)
    expected = jax.jit(lambda x: model(clips, lengths=x))(jnp.array([3, 1], jnp.int32))
    for lengths in ([3, 1], (3, 1), np.array([3, 1]), jnp.array([3, 1], jnp.uint8)):
        chex.assert_trees_all_close(model(clips, lengths=lengths), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ours", "foreign", "explicit"])
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([0, 3], "length of sequence 0 is 0; expected 2 whole numbers from 1 to 3"),
        ([-1, 3], "length of sequence 0 is -1"),
        ([3, 4], "length of sequence 1 is 4"),
        ([3], r"lengths has shape \(1,\)"),
        ([[3, 3]], r"lengths has shape \(1, 2\)"),
        (3, r"lengths has shape \(\)"),
        ([[3], 3], r"lengths is \[\[3\], 3\]; expected"),
        ([1.5, 2], "lengths has dtype float64"),
        ([True, True], "lengths has dtype bool"),
        (["1", "2"], "lengths has dtype <U1"),
    ],
)
def test_lengths_that_cannot_be(name, lengths, message):
    model = drawn(MODELS[name])
    with pytest.raises(InputError, match=message):
        model(random_clips(B, T), lengths=lengths)


def test_inside_jit_lengths_are_taken_as_near_as_they_can_be():
    model = make_recurrent(drawn(tiny), "fc7")
    clips = random_clips(B, T)
    run = jax.jit(lambda lengths: model(clips, lengths=lengths))
    far, near = (run(jnp.array(lengths, jnp.int32)) for lengths in ([-5, 99], [0, 3]))
    chex.assert_trees_all_equal(far, near)
    np.testing.assert_array_equal(near[1][0][0][0], 0)  # no step, so the state it began with


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("ours", (0, 3, *IMAGE), "0 sequences of 3 steps; expected 1 or more of both"),
        ("foreign", (2, 0, *IMAGE), "2 sequences of 0 steps"),
        ("explicit", (0, 0, *IMAGE), "0 sequences of 0 steps"),
        ("vgg", (3, *IMAGE), r"\(3, 32, 32, 3\); expected \(B, T, H, W, 3\)"),
        ("vgg", (2, 3, 32, 32, 4), r"expected \(B, T, H, W, 3\)"),
        ("c3d", (2, 3, 16, 16, 3), r"expected \(B, T, L, H, W, 3\)"),
    ],
)
def test_clips_that_cannot_be(name, shape, message):
    model = nnx.eval_shape(MODELS[name])
    with pytest.raises(InputError, match=message):
        model(np.zeros(shape, np.float32))


class Twice(nnx.Module):
    def __init__(self, rngs):
        self.fc = nnx.Linear(4, 4, rngs=rngs)
        self.unused = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        return self.fc(nnx.relu(self.fc(x)))


class Pooled(Twice):
    def __call__(self, x):
        return self.fc(x).mean(0, keepdims=True)


def test_bad_calls():
    rngs = nnx.Rngs(0)
    network = drawn(lambda: Twice(nnx.Rngs(0)))
    x = jnp.zeros((B, T, 4), jnp.float32)
    with pytest.raises(InputError, match="calls a layer made recurrent twice"):
        make_recurrent(network, ["fc"], rngs=rngs)(x)
    with pytest.raises(InputError, match="did not call every layer"):
        make_recurrent(network, ["unused"], rngs=rngs)(x)
    spread = make_recurrent(nnx.Sequential(nnx.Linear(3, 2, rngs=rngs)), ["layers.0"], rngs=rngs)
    with pytest.raises(InputError, match=r"input of shape \(6, 8, 8, 3\).*LayerSequence"):
        spread(jnp.zeros((B, T, 8, 8, 3), jnp.float32))
    model = LayerSequence(lambda x: x, [Recurrent(4, 5, "gru", rngs=rngs)])
    with pytest.raises(InputError, match=r"clips have shape \(2, 4\); expected \(B, T, ...\)"):
        model(x[:, 0])
    pooled = LayerSequence(lambda x: x, [lambda y: y])
    assert pooled(x)[1] == ()
    with pytest.raises(InputError, match=r"outputs of shape \(1, 4\) for 6 frames"):
        make_recurrent(Pooled(nnx.Rngs(0)), "fc")(x)
    with pytest.raises(InputError, match="the carry has 2 entries; the model has 1 layers"):
        model(x, ((x[:, 0],), (x[:, 0],)))
    assert isinstance(spread, FoldedModel)
