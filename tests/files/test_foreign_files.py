"""Files of networks that are not ours: weights and surgery from the file, code from its builder."""

import chex
import numpy as np
import pytest
from drawn import Foreign, Tiny, foreign, tiny
from flax import nnx

import prernn_jax as pj
from prernn_jax.errors import InputError
from prernn_jax.files.backbones import flat_parameters
from prernn_jax.layer_sequence import LayerSequence


def clips(steps=3):
    return np.random.default_rng(0).normal(size=(2, steps, 32, 32, 3)).astype(np.float32)


def converted():
    return pj.make_recurrent(
        foreign(), "head.inner", cell="lstm", extra=1, outputs=5, dropout=0.5,
        output_layer="head.out",
    )  # fmt: skip


def stacked():
    return pj.stack_recurrent(foreign(), hidden=3, output_layer="head.out")


def whole():
    """A sequence model that its own code puts together."""
    net = tiny()
    return LayerSequence(
        net.trunk, [pj.Recurrent(64, 5, cell="vrnn"), nnx.Linear(5, 2, rngs=nnx.Rngs(1))]
    )


def make_foreign():
    return Foreign(rngs=nnx.Rngs(7))


@pytest.mark.parametrize(
    ("make", "builder"),
    [
        (foreign, Foreign),
        (foreign, make_foreign),
        (converted, Foreign),
        (stacked, make_foreign),
        (lambda: pj.make_recurrent(tiny(), "fc7"), Tiny),
        (whole, whole),
    ],
)
def test_round_trip(tmp_path, make, builder):
    model = make()
    pj.save(tmp_path / "m.safetensors", model)
    loaded = pj.load(tmp_path / "m.safetensors", builder=builder)
    assert type(loaded) is type(model)
    chex.assert_trees_all_equal(flat_parameters(loaded), flat_parameters(model))
    x = clips()
    expected, found = (m(x[:, 0]) if isinstance(m, Foreign) else m(x)[0] for m in (model, loaded))
    np.testing.assert_array_equal(found, expected)


def test_preprocessing_and_inference_are_kept(tmp_path):
    model = converted()
    model.preprocess = pj.Preprocessing(channels="bgr", mean=(1.0, 2.0, 3.0))
    model.inference = pj.Inference("action", steps=3, size=32, classes=("a", "b", "c", "d", "e"))
    pj.save(tmp_path / "m", model)
    loaded = pj.load(tmp_path / "m", builder=Foreign)
    assert loaded.preprocess.mean == (1.0, 2.0, 3.0)
    assert loaded.inference == model.inference


def test_a_builder_is_needed_where_the_code_is_not_ours_and_only_there(tmp_path):
    pj.save(tmp_path / "foreign", converted())
    ours = pj.vgg16(num_outputs=2, width=2, hidden=3, image_size=32)
    pj.save(tmp_path / "ours", ours)
    with pytest.raises(InputError, match=r"drawn\.Foreign, which only its own code can build"):
        pj.load(tmp_path / "foreign")
    with pytest.raises(InputError, match="vgg16 that is built without a builder"):
        pj.load(tmp_path / "ours", builder=Foreign)
    with pytest.raises(InputError, match="cannot be called without arguments"):
        pj.load(tmp_path / "foreign", builder=lambda outputs: Foreign(outputs, rngs=nnx.Rngs(0)))
    with pytest.raises(InputError, match=r"made a str, not an nnx\.Module"):
        pj.load(tmp_path / "foreign", builder=lambda: "net")
    pj.save(tmp_path / "bare", foreign())
    with pytest.raises(InputError, match="does not fit the network: missing: "):
        pj.load(tmp_path / "bare", builder=Tiny)
