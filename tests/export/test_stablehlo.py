"""StableHLO files, read again, against the model: any batch, any length, three platforms."""

import re

import jax
import numpy as np
import pytest
from drawn import foreign
from test_onnx_model import make

import prernn_jax as pj
from prernn_jax import streaming
from prernn_jax.export.stablehlo import to_stablehlo

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vgg", {"cell": "lstm", "shared": True}),
        ("c3d", {"cell": "gru"}),
        ("resnet", {"cell": "vrnn"}),
        ("foreign", {}),
    ],
)
def test_it_equals_the_model(name, arguments):
    if name == "foreign":
        model, shape = pj.make_recurrent(foreign(), "head.inner"), (32, 32, 3)
        prepare = np.asarray
    else:
        model, shape = make(name, arguments)
        prepare = model.preprocess.normalise
    whole = jax.export.deserialize(bytearray(to_stablehlo(model, shape, "sequence")))
    one = jax.export.deserialize(bytearray(to_stablehlo(model, shape, "step")))
    assert set(whole.platforms) == {"cpu", "cuda", "tpu"}
    products = re.findall(r"stablehlo\.(?:dot_general|convolution)\b.*", whole.mlir_module())
    assert products
    assert all(line.count("HIGHEST") == 2 for line in products)  # float32 on a GPU too
    rng = np.random.default_rng(0)
    for batch, steps in ((1, 2), (3, 4)):
        frames = rng.integers(0, 256, (batch, steps, *shape)).astype(np.float32)
        start = jax.tree.leaves(streaming.init(model, batch))
        expected, carry = model(prepare(frames))
        scale = max(float(np.abs(expected).max()), 1)
        found, *after = whole.call(frames, *start)
        for part, other in zip([found, *after], [expected, *jax.tree.leaves(carry)], strict=True):
            np.testing.assert_allclose(part, other, rtol=0, atol=1e-5 * scale)
        state = start
        for step in range(steps):
            found, *state = one.call(frames[:, step], *state)
            np.testing.assert_allclose(found, expected[:, step], rtol=0, atol=1e-5 * scale)
