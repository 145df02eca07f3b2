"""ONNX files in onnxruntime against JAX: every backbone and cell, a step and a whole sequence."""

from functools import partial

import numpy as np
import pytest
from drawn import drawn

import prernn_jax as pj
from prernn_jax import streaming
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.export.onnx_model import to_onnx

runtime = pytest.importorskip("onnxruntime")

RGB = pj.Preprocessing(channels="bgr", scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
VGG = partial(pj.vgg16, num_outputs=3, width=2, hidden=6)
C3D = partial(pj.c3d, num_outputs=3, width=2, hidden=6)
BACKBONES = {
    "vgg": (lambda: VGG(image_size=33, variant="caffe"), (33, 33, 3)),
    "vgg_bn": (lambda: VGG(image_size=32, batch_norm=True), (32, 32, 3)),
    "compact": (lambda: CompactVGG(channels=(3, 5), hidden=6, image_size=14), (14, 14, 3)),
    "c3d": (lambda: C3D(image_size=19, clip_length=3,
                           stage_sizes=(1, 2), stride=2), (3, 19, 19, 3)),
    "c3d_pytorch": (lambda: C3D(image_size=16, clip_length=4,
                                   stage_sizes=(1, 1), variant="pytorch"), (4, 16, 16, 3)),
    "resnet": (lambda: ResNet((1, 2), 4, 3), (33, 33, 3)),
    "resnet_caffe": (lambda: ResNet((1, 1), 4, 3, variant="caffe"), (32, 32, 3)),
}  # fmt: skip
CASES = [
    *((name, {"cell": "gru"}) for name in BACKBONES),
    *(
        (name, {"cell": cell, "shared": shared})
        for name in ("compact", "resnet")
        for cell in ("vrnn", "lstm", "gru_cho")
        for shared in (False, True)
    ),
    ("compact", {"cell": "gru", "shared": True, "extra": 1, "outputs": 4}),
    ("compact", {"layers": "fc7", "cell": "lstm", "readout": None}),
]


def make(name, arguments):
    build, shape = BACKBONES[name]
    model = drawn(lambda: pj.make_recurrent(build(), **arguments))
    model.preprocess = RGB
    return model, shape


def check(model, shape, gates=False):
    model.eval()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, 4, *shape)).astype(np.float32)
    start = [
        tuple(rng.normal(0, 0.5, part.shape).astype(np.float32) for part in parts)
        for parts in streaming.init(model, 2)
    ]
    prepared = model.preprocess.normalise(frames)
    expected, carry = model(prepared, carry=tuple(start))
    scale = max(float(np.abs(expected).max()), 1)
    flat = [np.asarray(part) for parts in carry for part in parts]

    whole, names = to_onnx(model, shape, "sequence")
    given = {names.frames: frames} | dict(zip(names.carry, sum(start, ()), strict=True))
    found, *after = runtime.InferenceSession(whole.SerializeToString()).run(None, given)
    for part, other in zip([found, *after], [expected, *flat], strict=True):
        np.testing.assert_allclose(part, other, rtol=0, atol=1e-5 * scale)

    one, names = to_onnx(model, shape, "step", gates=gates)
    session = runtime.InferenceSession(one.SerializeToString())
    state = list(sum(start, ()))
    for step in range(4):
        given = {names.frames: frames[:, step]} | dict(zip(names.carry, state, strict=True))
        found, *rest = session.run(None, given)
        state = rest[: len(state)]
        np.testing.assert_allclose(found, expected[:, step], rtol=0, atol=1e-5 * scale)
    return names, rest


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_it_equals_jax(name, arguments):
    check(*make(name, arguments))


@pytest.mark.parametrize("name", ["vgg", "c3d", "resnet"])
def test_without_a_converted_layer(name):
    build, shape = BACKBONES[name]
    for model in (
        drawn(lambda: pj.stack_recurrent(build(), hidden=5, depth=2)),
        drawn(lambda: pj.per_frame(build(), outputs=2)),
    ):
        model.preprocess = RGB
        check(model, shape)


def test_a_mean_volume_and_gates():
    model, shape = make("c3d", {"cell": "gru", "layers": "fc7"})
    volume = np.random.default_rng(1).uniform(0, 200, (4, 24, 24, 3)).astype(np.float32)
    model.preprocess = pj.Preprocessing(channels="bgr", mean_volume=volume)
    names, rest = check(model, shape, gates=True)
    assert names.gates == ("gate_fc7_r", "gate_fc7_z")
    assert all(part.shape == (2, 6) and 0 <= part.min() <= part.max() <= 1 for part in rest[1:])


def test_a_foreign_network_is_refused():
    from drawn import foreign

    with pytest.raises(InputError, match="use --format=stablehlo"):
        to_onnx(pj.make_recurrent(foreign(), "head.inner"), (32, 32, 3), "step")
