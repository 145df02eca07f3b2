"""Model files that were changed after they were written, or that ask for the impossible."""

import contextlib
import dataclasses
import json
import time

import jax.numpy as jnp
import numpy as np
import pytest
from random_model import random_model

import prernn_jax as pj
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.files import backbones, safetensors
from prernn_jax.preprocess import Preprocessing
from train.run.backbone import Backbone
from train.run.config import RunConfig
from train.run.stage_one import kept_backbone

VGG = {"width": 2, "hidden": 5, "num_outputs": 3, "image_size": 32}


@pytest.fixture(scope="module")
def network():
    model = random_model(lambda: pj.vgg16(**VGG))
    model.preprocess = Preprocessing(mean=(1.0, 2.0, 3.0))
    return model


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    """The bytes of a sequence model's file."""
    path = tmp_path_factory.mktemp("model") / "m"
    pj.save(path, random_model(lambda: pj.make_recurrent(network, "fc7", outputs=4)))
    return path.read_bytes()


def test_no_changed_byte_is_loaded(written, tmp_path):
    rng = np.random.default_rng(0)
    header = int.from_bytes(written[:8], "little")
    places = [*range(8, 8 + header, 7), *rng.integers(8 + header, len(written), 300).tolist()]
    for place in places:
        changed = bytearray(written)
        changed[place] ^= int(rng.integers(1, 256))
        (tmp_path / "m").write_bytes(changed)
        with contextlib.suppress(InputError):
            pj.load(tmp_path / "m")
            # A blank behind the header may become another blank: the contents are the same.
            text = [json.loads(content[8 : 8 + header]) for content in (changed, written)]
            assert text[0] == text[1]
            assert changed[8 + header :] == written[8 + header :]


def test_what_was_cut_or_added_is_not_loaded(written, tmp_path):
    for content in (written[:-1], written + b"\0", written[: len(written) // 2]):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(InputError, match=r"truncated|belong to no array"):
            pj.load(tmp_path / "m")


def test_the_digest_covers_names_shapes_and_metadata(written, tmp_path):
    (tmp_path / "m").write_bytes(written)
    header = int.from_bytes(written[:8], "little")
    text = written[8 : 8 + header]
    for old, new in [
        (b"backbone.fc6.bias", b"backbone.fc7.bias"),
        (b'\\"dropout\\": 0.0', b'\\"dropout\\": 0.5'),
        (b"[1.0, 2.0, 3.0]", b"[1.0, 2.0, 3.5]"),
        (b'"shape":[3,3,3,2]', b'"shape":[3,3,2,3]'),
    ]:
        assert old in text, old
        (tmp_path / "m").write_bytes(written[:8] + text.replace(old, new) + written[8 + header :])
        with pytest.raises(InputError, match=r"is damaged|names .* twice"):
            pj.load(tmp_path / "m")


def test_a_file_without_digest_loads(written, network, tmp_path):
    (tmp_path / "m").write_bytes(written)
    arrays, metadata = safetensors.read(tmp_path / "m")
    foreign = pytest.importorskip("safetensors.numpy")
    foreign.save_file({name: np.array(a) for name, a in arrays.items()}, tmp_path / "old", metadata)
    again = pj.load(tmp_path / "old")
    np.testing.assert_array_equal(again.backbone.fc6.kernel[...], network.fc6.kernel[...])


def test_the_digest_survives_another_program(written, tmp_path):
    """The safetensors package writes a file anew, with the digest among its metadata."""
    foreign = pytest.importorskip("safetensors.numpy")
    package = pytest.importorskip("safetensors")
    (tmp_path / "m").write_bytes(written)
    with package.safe_open(tmp_path / "m", "numpy") as file:
        names = file.keys()
        arrays, metadata = {name: file.get_tensor(name) for name in names}, file.metadata()
    foreign.save_file(arrays, tmp_path / "again", metadata)
    pj.load(tmp_path / "again")
    arrays["backbone.fc6.bias"] = arrays["backbone.fc6.bias"] + np.float32(1)
    foreign.save_file(arrays, tmp_path / "again", metadata)
    with pytest.raises(InputError, match="is damaged"):
        pj.load(tmp_path / "again")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(network, tmp_path, value):
    arrays = {k: np.array(v) for k, v in backbones.flat_parameters(network).items()}
    arrays["conv3_2.bias"][1] = value
    metadata = {"architecture": "vgg16", "arguments": json.dumps(VGG)}
    backbones.save_parameters(tmp_path / "x", arrays, metadata)
    with pytest.raises(InputError, match=r"x: 'conv3_2\.bias' holds NaN or infinity"):
        pj.load(tmp_path / "x")
    backbones.save_parameters(tmp_path / "y", arrays, {**metadata, "nonfinite": "allowed"})
    pj.load(tmp_path / "y")


def test_a_model_that_is_not_finite_is_not_saved(tmp_path):
    model = random_model(lambda: pj.vgg16(**VGG))
    model.fc7.bias.set_value(model.fc7.bias[...].at[0].set(jnp.nan))
    with pytest.raises(InputError, match=r"'fc7\.bias' holds NaN"):
        pj.save(tmp_path / "x", model)
    assert list(tmp_path.iterdir()) == []


def test_negative_variances_are_refused(tmp_path):
    small = {"stage_sizes": [1, 1], "width": 4}
    model = random_model(lambda: ResNet(stage_sizes=(1, 1), width=4))
    arrays = {k: np.array(v) for k, v in backbones.flat_parameters(model).items()}
    arrays["bn1.var"][0] = -1
    metadata = {"architecture": "resnet", "arguments": json.dumps(small)}
    backbones.save_parameters(tmp_path / "x", arrays, metadata)
    with pytest.raises(InputError, match=r"the variances 'bn1\.var' go down to -1"):
        pj.load(tmp_path / "x")


MAKE = {"function": "make_recurrent", "layers": ["fc7"], "cell": "gru"}
STACK = {"function": "stack_recurrent", "cell": "gru", "hidden": 5, "depth": 1}


@pytest.mark.parametrize(
    ("arguments", "call", "message"),
    [
        ({"in_channels": 0}, {}, "in_channels is 0 in the metadata; expected 1 to"),
        ({"in_channels": -3}, {}, "in_channels is -3"),
        ({"hidden": 10**15}, {}, "hidden is 10"),
        ({"hidden": 10**6}, {}, "wrong shape"),
        ({"hidden": True}, {}, "hidden is True; expected int"),
        ({"hidden": "5"}, {}, "hidden is '5'"),
        ({"stages": [10_000, 1, 1, 1, 1]}, {}, "the file has only 32 arrays"),
        ({"stages": [1] * 10_000}, {}, "too few for so many layers"),
        ({"stages": []}, {}, "too few|expected"),
        ({"stages": [0, 0, 0, 0, 0]}, {}, "stages is"),
        ({"image_size": 0}, {}, "image_size is 0"),
        ({"image_size": [32, 32, 32]}, {}, "image_size is"),
        ({"dropout": 1}, {}, "dropout is 1.0"),
        ({"dropout": float("nan")}, {}, "dropout is nan"),
        ({"rngs": 3}, {}, "an argument 'rngs'"),
        ({"batch_norm": 1}, {}, "batch_norm is 1; expected bool"),
        ({"variant": "keras"}, {}, "variant is 'keras'"),
        ({}, {**MAKE, "extra": 10**6}, "extra is 1000000 in the metadata; the file has only"),
        ({}, {**MAKE, "extra": -1}, "extra is -1"),
        ({}, {**MAKE, "extra": 1.0}, "extra is 1.0; expected int"),
        ({}, {**MAKE, "outputs": 0}, "outputs is 0"),
        ({}, {**MAKE, "dropout": -0.1}, "dropout is -0.1"),
        ({}, {**MAKE, "layers": [3]}, r"layers is \[3\]"),
        ({}, {**MAKE, "layers": ["fc7"] * 10_000}, "too few"),
        ({}, {**MAKE, "output_layer": "fc9"}, "output_layer is 'fc9'"),
        ({}, {**STACK, "depth": 10**6}, "depth is 1000000"),
        ({}, {**STACK, "layers": 10**6}, "depth is 1000000"),
        ({}, {**STACK, "hidden": 0}, "hidden is 0"),
        ({}, {**STACK, "like": {}}, "an argument 'like'"),
    ],
)  # fmt: skip
def test_metadata_that_ask_for_the_impossible_are_refused_at_once(
    network, tmp_path, arguments, call, message
):
    metadata = {"architecture": "vgg16", "arguments": json.dumps(VGG | arguments)}
    if call:
        metadata["sequence"] = json.dumps(call)
    backbones.save_parameters(tmp_path / "x", backbones.flat_parameters(network), metadata)
    begin = time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        pj.load(tmp_path / "x")
    assert "\n" not in str(caught.value)
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        ('{"std": [0]}', "std is"),
        ('{"mean": [NaN]}', "mean is"),
        ('{"crop": [-5, 4]}', "crop is"),
        ('{"mean": [1, 2]}', "mean has 2 values for 3 channels"),
        ('{"resize": 1000000000}', "resize is"),
        ("nothing", "unusable"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(network, tmp_path, preprocessing, message):
    metadata = {"architecture": "vgg16", "arguments": json.dumps(VGG)}
    metadata["preprocessing"] = preprocessing
    backbones.save_parameters(tmp_path / "x", backbones.flat_parameters(network), metadata)
    with pytest.raises(InputError, match=rf"x: .*{message}"):
        pj.load(tmp_path / "x")


def test_a_damaged_stage_one_is_named_and_trained_anew(network, tmp_path, capsys):
    made = []

    def make():
        made.append(1)
        return Backbone(network, {}, "drawn")

    config = RunConfig(workdir=tmp_path)
    for _ in range(2):
        kept_backbone(config, "net", {}, make)
    assert len(made) == 1
    (path,) = (tmp_path / "pretrained").iterdir()
    good = path.read_bytes()
    changed = bytearray(good)
    changed[-400:-396] = b"\xff\xff\xff\x7f"
    path.write_bytes(changed)
    capsys.readouterr()
    kept_backbone(config, "net", {}, make)
    said = capsys.readouterr().out
    assert len(made) == 2
    assert f"{path} is damaged" in said
    assert "the training begins again" in said
    assert path.read_bytes() == good
    assert path.with_suffix(".damaged").read_bytes() == changed


def test_what_the_metadata_say_of_videos_fits_the_model(network, tmp_path):
    model = random_model(lambda: pj.make_recurrent(network, "fc7", outputs=4))
    four = pj.Inference("action", steps=2, size=32, classes=("a", "b", "c", "d"))
    model.inference = four
    pj.save(tmp_path / "m", model)
    assert pj.load(tmp_path / "m").inference == four
    model.inference = dataclasses.replace(four, classes=("a", "b", "c"))
    message = "has 4 outputs, and `inference` names 3 classes; expected 3"
    with pytest.raises(InputError, match=f"the model {message}"):
        pj.save(tmp_path / "n", model)
    arrays, metadata = safetensors.read(tmp_path / "m")
    metadata["inference"] = model.inference.to_json()
    backbones.save_parameters(tmp_path / "n", arrays, metadata)
    with pytest.raises(InputError, match=f"n {message}"):
        pj.load(tmp_path / "n")
    with pytest.raises(InputError, match=f"this model {message}"):
        model.predict(np.zeros((3, 32, 32, 3), np.uint8))
