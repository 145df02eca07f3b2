"""Caffe's files without Caffe: every form of layers and blobs, real files, damaged files."""

import numpy as np
import pytest
import reference_files as files
import torch
from torch.nn import functional

from prernn_jax.errors import InputError
from weights_port.formats.open import open_source

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3, 2, 5)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
LAYERS = {"one": ("Convolution", [KERNEL, BIAS]), "two": ("InnerProduct", [KERNEL[0, 0], BIAS])}


def _read(folder, data):
    path = folder / "net.caffemodel"
    path.write_bytes(data)
    return open_source(path)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("dialect", ["shape", "legacy", "fork"])
@pytest.mark.parametrize("data", ["packed", "pieces", "unpacked"])
@pytest.mark.parametrize("diff", [False, True])
def test_every_form(tmp_path, version, dialect, data, diff):
    made = files.caffemodel(LAYERS, version, dialect=dialect, data=data, diff=diff)
    source = _read(tmp_path, made)
    fork = "C3D-v1.0" if dialect == "fork" else "BVLC"
    assert source.format == f"{fork} Caffe, V{version} layers"
    assert list(source.arrays) == ["one[0]", "one[1]", "two[0]", "two[1]"]
    _, one, two = source.graph
    assert one.attributes["type"] == "Convolution"
    assert two.attributes["type"] == "InnerProduct"
    for (_, arrays), name in zip(LAYERS.values(), LAYERS, strict=True):
        for index, array in enumerate(arrays):
            read = source.arrays[f"{name}[{index}]"]
            if dialect == "shape":
                assert read.shape == array.shape
            else:
                assert read.ndim == (5 if dialect == "fork" else 4)
            np.testing.assert_array_equal(read.reshape(array.shape), array)


def test_doubles_and_empty_blobs(tmp_path):
    source = _read(tmp_path, files.caffemodel(LAYERS, data="double"))
    assert source.arrays["one[0]"].dtype == np.float64
    np.testing.assert_array_equal(source.arrays["one[0]"], KERNEL.astype(np.float64))
    empty = files.layer(2, "a", "Slice", [b""]) + files.layer(2, "b", "Bias", [files.blob(BIAS)])
    assert _read(tmp_path, empty).arrays["a[0]"].size == 0


@pytest.mark.parametrize("dialect", ["shape", "legacy", "fork"])
def test_very_many_unpacked_floats(tmp_path, dialect):
    many = RNG.normal(size=60_000).astype(np.float32)
    data = files.caffemodel({"a": ("Scale", [many])}, dialect=dialect, data="unpacked")
    read = _read(tmp_path, data).arrays["a[0]"]
    np.testing.assert_array_equal(read.reshape(-1), many)


def test_very_many_small_fields_are_no_caffe_file(tmp_path):
    with pytest.raises(InputError, match="known here"):
        _read(tmp_path, files.number(9, 1) * 60_000)


def test_the_real_lenet_reads_digits(shared_data):
    arrays = open_source(shared_data / "caffe" / "lenet_iter_10000.caffemodel").arrays
    assert {key: a.shape for key, a in arrays.items()} == {
        "conv1[0]": (20, 1, 5, 5), "conv1[1]": (20,), "conv2[0]": (50, 20, 5, 5),
        "conv2[1]": (50,), "ip1[0]": (500, 800), "ip1[1]": (500,), "ip2[0]": (10, 500),
        "ip2[1]": (10,),
    }  # fmt: skip
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    x = functional.interpolate(x, size=(18, 18), mode="bicubic", align_corners=False)
    x = functional.pad(x.clamp(0, 1), (5, 5, 5, 5)).numpy().transpose(0, 2, 3, 1)
    right = int((_lenet(arrays, x).argmax(1) == digits.target).sum())
    assert abs(right / 1797 - 0.893) < 0.0006  # 89.3 %


def _lenet(arrays, x):
    """LeNet in JAX with the transforms of the port."""
    import jax
    import jax.numpy as jnp

    from prernn_jax.cpu.pool import max_pool
    from weights_port.transforms import TRANSFORMS, Context

    def get(key, transform, channels=1):
        new = TRANSFORMS[transform].apply(arrays[key], Context(channels))
        return jnp.asarray(np.ascontiguousarray(new.view).reshape(new.shape))

    for name in ("conv1", "conv2"):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, get(f"{name}[0]", "conv2d"), (1, 1), "VALID", dimension_numbers=layout
        )
        x = max_pool(x + get(f"{name}[1]", "same")[None, None, None], (2, 2), (2, 2))
    x = x.reshape(len(x), -1)  # in H, W, C order
    x = jax.nn.relu(x @ get("ip1[0]", "flatten", 50) + get("ip1[1]", "same")[None])
    return np.asarray(x @ get("ip2[0]", "dense") + get("ip2[1]", "same")[None])


def test_the_real_mean_volume(shared_data):
    source = open_source(shared_data / "c3d" / "fb_train16_128_mean.binaryproto")
    assert source.format == "C3D-v1.0 Caffe, a single blob"
    volume = source.arrays["blob[0]"]
    assert volume.shape == (1, 3, 16, 128, 128)
    raw = (shared_data / "c3d" / "fb_train16_128_mean.binaryproto").read_bytes()
    np.testing.assert_array_equal(volume.reshape(-1), np.frombuffer(raw[-3145728:], "<f4"))


ODD_SHAPE = files.piece(7, b"\x0a\xff") + files.piece(5, b"1234")
GOOD = files.caffemodel(LAYERS, 1, dialect="legacy")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"<html>Not Found</html>", "HTML"),
        (b"name: 'LeNet'\nlayer { }\n", "a Caffe definition"),
        (GOOD[:-5], "known here"),
        (files.piece(1, "net"), "no weights"),
        (files.caffemodel({}), r"no weights \(1 Caffe layers"),
        (files.piece(100, files.piece(1, "a") + files.piece(7, b"\xff")), "known here"),
        (files.varint(100 << 3 | 2) + files.varint(2**40), "known here"),
        (GOOD + files.layer(2, "one", "Scale", [files.blob(BIAS)]), "two layers named 'one'"),
        (files.layer(2, "a", "b", [files.piece(5, b"123")]), "3 bytes"),
        (files.layer(2, "a", "b", [files.number(1, 9) + files.piece(5, b"1234")]), "says shape"),
        (files.layer(2, "a", "b", [ODD_SHAPE]), "shape of"),
    ],
)
def test_bad_files(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as caught:
        _read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_absurd_shapes_allocate_nothing(tmp_path):
    for dims in ([2**31 - 1] * 4, [2**40, 2**40], [-1, 4]):
        shape = files.piece(1, b"".join(files.varint(size % 2**64) for size in dims))
        data = files.layer(2, "a", "b", [files.piece(7, shape) + files.piece(5, b"1234" * 4)])
        with pytest.raises(InputError, match="says shape"):
            _read(tmp_path, data)
