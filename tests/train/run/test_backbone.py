"""The network of --weights: whose input its file or the user must say."""

import json
from pathlib import Path

import pytest
from flax import nnx

from prernn_jax.backbones.cross_modality import FLOW
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.files.backbones import flat_parameters, save_parameters
from train.run.backbone import CAFFE, RGB, read_resnet


def _write(path: Path, **more: str) -> Path:
    arguments = {"width": 2, "stage_sizes": [1], "num_outputs": 3}
    model = ResNet(width=2, stage_sizes=(1,), num_outputs=3, rngs=nnx.Rngs(0))
    metadata = {"architecture": "resnet", "arguments": json.dumps(arguments), **more}
    save_parameters(path, flat_parameters(model), metadata)
    return path


def test_a_file_that_does_not_say_its_input_is_asked_about(tmp_path):
    path = _write(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="does not say how the network's input") as caught:
        read_resnet(path, 3, None)
    assert "--weights_input=torchvision (RGB from 0 to 1" in str(caught.value)
    assert "--weights_input=caffe (BGR from 0 to 255" in str(caught.value)
    for said, expected in (("torchvision", RGB), ("caffe", CAFFE)):
        assert read_resnet(path, 3, said).preprocess is expected


def test_a_file_that_says_it_is_believed(tmp_path):
    path = _write(tmp_path / "x.safetensors", preprocessing=CAFFE.to_json())
    for said in ("torchvision", None):
        assert read_resnet(path, 3, said).preprocess.to_json() == CAFFE.to_json()
    flow = read_resnet(path, 4, None)
    assert flow.model.conv1.in_features == 4
    assert flow.preprocess is FLOW
