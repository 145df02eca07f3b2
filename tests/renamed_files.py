"""A network's state dict under other names, and the check that it converts to the same bits."""

import re

import jax
import numpy as np
import torch
from flax import nnx

from prernn_jax.files.backbones import load_pretrained, read_parameters
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.parity import parity
from weights_port.verify import recorded_moves, verify_arrays

VGG_NAMES = dict(
    zip(
        [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
        ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3"],
        strict=True,
    )
)
CAFFE_NAMES = [(rf"^features\.{index}\.", f"conv{name}.") for index, name in VGG_NAMES.items()] + [
    (r"classifier\.0", "fc6"),
    (r"classifier\.3", "fc7"),
    (r"classifier\.6", "fc8"),
]


def renamed(state, *rules):
    """The state dict with every (pattern, replacement) applied to its keys in turn."""
    result = {}
    for key, tensor in state.items():
        for pattern, new in rules:
            key = re.sub(pattern, new, key)
        result[key] = tensor
    return result


def converted(path, arch, **more):
    """The arrays of a converted file, the plan and the new file."""
    out = path.with_suffix(".ours")
    _, plan = convert(path, arch, out, overwrite=True, **more)
    return read_parameters(out)[0], plan, out


def check_same_bits(folder, arch, plain, other, *, as_plain=Wishes(), **more):  # noqa: B008
    """Writes both state dicts; the second must give the first one's arrays, and verify.

    Args:
        folder: Where to write.
        arch: The network.
        plain: The state dict under the published keys.
        other: The same arrays under other keys.
        as_plain: What the user says of the first.
        more: Arguments of the second's conversion.

    Returns:
        The second's plan, its converted file, and the source.
    """
    torch.save(plain, folder / "plain.pth")
    path = folder / "other.pth"
    torch.save(other, path)
    expected, _, _ = converted(folder / "plain.pth", arch, wishes=as_plain)
    found, plan, out = converted(path, arch, **more)
    assert_same(found, expected)
    verdict, source = verify_arrays(out, path)
    assert verdict.faults == []
    return plan, out, source


def assert_same(found, expected):
    """All arrays are equal to the bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name


def logits_of(out, x):
    """The logits (N, K) of a converted file; its weights are no constants of the program."""
    graph, state = nnx.split(load_pretrained(out))
    return np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x))


def check_layers(out, source, shape):
    """The layer-by-layer comparison with the network in torch.nn."""
    _, metadata = read_parameters(out)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows = parity(load_pretrained(out), metadata, source, recorded_moves(out, metadata), x)
    assert max(row.relative for row in rows) < 1e-5
