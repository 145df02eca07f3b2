"""C3D's mean volume: the real one and the ports' form travel along, others are refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference_files as files

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import load_pretrained
from weights_port.convert import convert


def _write_c3d(path):
    path.write_bytes(files.caffemodel(files.caffe_c3d(files.c3d()), 1, dialect="fork"))


def test_the_mean_volume_travels_along(tmp_path, shared_data):
    _write_c3d(tmp_path / "x")
    real = shared_data / "c3d" / "fb_train16_128_mean.binaryproto"
    convert(tmp_path / "x", "c3d", tmp_path / "real", mean=real)
    preprocess = load_pretrained(tmp_path / "real").preprocess
    assert preprocess.mean_volume.shape == (16, 128, 128, 3)
    frames = np.random.default_rng(0).integers(0, 256, (1, 8, 128, 128, 3), np.uint8)
    expected = frames[..., ::-1].astype(np.float32) - preprocess.mean_volume[:8]
    np.testing.assert_array_equal(preprocess(frames), expected[..., 8:120, 8:120, :])
    volume = np.random.default_rng(1).normal(98, 5, (3, 16, 128, 171))
    np.save(tmp_path / "mean.npy", volume)
    convert(tmp_path / "x", "c3d", tmp_path / "npy", mean=tmp_path / "mean.npy")
    kept = load_pretrained(tmp_path / "npy").preprocess
    np.testing.assert_array_equal(kept.mean_volume, volume.astype(np.float32).transpose(1, 2, 3, 0))
    assert kept.resize == (128, 171)
    assert jnp.shape(kept(frames)) == (1, 8, 112, 112, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 16, 128)), "mean volume"),
        (np.ones((3, 16, 96, 128)), "at least"),
        (np.full((3, 16, 128, 171), np.inf), "NaN or infinity"),
        (np.array([None]), "as a .npy array"),
    ],
)
def test_bad_mean_volumes(tmp_path, array, message):
    _write_c3d(tmp_path / "x")
    np.save(tmp_path / "mean.npy", array)
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "x", "c3d", tmp_path / "out", mean=tmp_path / "mean.npy")
    vgg = files.caffe_vgg16(files.vgg16(variant="caffe"))
    (tmp_path / "y").write_bytes(files.caffemodel(vgg))
    np.save(tmp_path / "good.npy", np.ones((3, 16, 128, 171)))
    with pytest.raises(InputError, match="for C3D only"):
        convert(tmp_path / "y", "vgg16", tmp_path / "out", mean=tmp_path / "good.npy")
    for name in ("y", "none"):
        with pytest.raises(InputError, match=r"single blob|cannot read"):
            convert(tmp_path / "x", "c3d", tmp_path / "out", mean=tmp_path / name)
