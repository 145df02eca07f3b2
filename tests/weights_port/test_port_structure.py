"""Networks whose layers have other names: by the graph, by order, by a table."""

import numpy as np
import pytest
import reference_files as files
import torch
from renamed_files import check_layers

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import read_parameters
from weights_port.choice import Wishes
from weights_port.convert import convert
from weights_port.verify import verify_arrays


def _window(kernel, stride, pad):
    return files.piece(
        106, files.number(3, pad) + files.number(4, kernel) + files.number(6, stride)
    )


class _Net:
    """A Caffe network layer by layer, under names that no table knows."""

    def __init__(self):
        self.data, self.count = b"", 0

    def add(self, kind, bottoms, arrays=(), parameters=b""):
        self.count += 1
        name = f"layer_{self.count}x"
        inside = files.piece(1, name) + files.piece(2, kind)
        inside += b"".join(files.piece(3, bottom) for bottom in bottoms) + files.piece(4, name)
        inside += b"".join(files.piece(7, files.blob(array)) for array in arrays)
        self.data += files.piece(100, inside + parameters)
        return name

    def convolution(self, state, conv, bn, bottom, window, bias):
        kernel = state[f"{conv}.weight"]
        arrays = [kernel] if bias is None else [kernel, np.full(len(kernel), bias, np.float32)]
        if f"{conv}.bias" in state:
            arrays = [kernel, state[f"{conv}.bias"]]
        x = self.add("Convolution", [bottom], arrays, _window(*window))
        stats = [state[f"{bn}.running_{s}"] * np.float32(0.5) for s in ("mean", "var")]
        x = self.add("BatchNorm", [x], [*stats, np.array([0.5])])
        return self.add("Scale", [x], [state[f"{bn}.weight"], state[f"{bn}.bias"]])


def _caffe_resnet(network, sizes, bias):
    """The network with strides in the first convolutions, a bias in every convolution."""
    state, net = files.arrays_of(network), _Net()
    x = net.convolution(state, "conv1", "bn1", "data", (7, 2, 3), bias)
    x = net.add("ReLU", [x])
    x = net.add("Pooling", [x], (), files.piece(121, files.number(2, 3) + files.number(3, 2)))
    for stage, blocks in enumerate(sizes, start=1):
        for block in range(blocks):
            at, start = f"layer{stage}.{block}", x
            stride = 2 if stage > 1 and block == 0 else 1
            if block == 0:
                start = net.convolution(
                    state, f"{at}.downsample.0", f"{at}.downsample.1", x, (1, stride, 0), bias
                )
            for number, window in enumerate(((1, stride, 0), (3, 1, 1), (1, 1, 0)), start=1):
                x = net.convolution(
                    state, f"{at}.conv{number}", f"{at}.bn{number}", x, window, bias
                )
                x = x if number == 3 else net.add("ReLU", [x])
            x = net.add("ReLU", [net.add("Eltwise", [start, x])])
    pooled = files.number(1, 1) + files.number(12, 1)
    x = net.add("Pooling", [x], (), files.piece(121, pooled))
    net.add("InnerProduct", [x], [state["fc.weight"], state["fc.bias"]])
    return net.data


@pytest.mark.parametrize("bias", [None, 0.0, 0.25])
def test_a_caffe_resnet_with_other_names_and_half_width(tmp_path, bias):
    arch, sizes = ("resnet", files.SHORT) if bias else ("resnet50", (3, 4, 6, 3))
    network = files.resnet50(variant="caffe", width=4, stem_width=8, stage_sizes=sizes)
    plain = tmp_path / "plain.caffemodel"
    plain.write_bytes(files.caffemodel(files.caffe_resnet50(network)))
    convert(plain, arch, tmp_path / "plain")
    other, out = tmp_path / "other.caffemodel", tmp_path / "other"
    other.write_bytes(_caffe_resnet(network, sizes, bias))
    _, plan = convert(other, arch, out)
    assert plan.layout.name == "graph"
    assert any("along its graph" in note for note in plan.notes)
    expected, metadata = read_parameters(tmp_path / "plain")
    found, found_metadata = read_parameters(out)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        folded = bias and name.endswith("mean") and name != "bn1.mean"
        wanted = array - np.float32(bias) if folded else array
        assert wanted.tobytes() == found[name].tobytes(), name
    for name in ("arguments", "variant", "preprocessing"):
        assert metadata[name] == found_metadata[name]
    verdict, source = verify_arrays(out, other)
    assert verdict.faults == []
    if bias:  # the shortest of the three
        check_layers(out, source, (1, 63, 63, 3))


@pytest.mark.parametrize(
    ("arch", "build"),
    [("vgg16", files.vgg16), ("vgg19", lambda: files.vgg16(stages=(2, 2, 4, 4, 4))),
     ("resnet50", files.resnet50)],
)  # fmt: skip
def test_a_state_dict_that_has_only_its_order(tmp_path, arch, build):
    state = build().state_dict()
    torch.save(state, tmp_path / "plain.pth")
    convert(tmp_path / "plain.pth", arch, tmp_path / "plain", wishes=Wishes("torchvision"))
    layers = {key.rpartition(".")[0]: None for key in state}
    names = {layer: f"body.{number:03d}" for number, layer in enumerate(layers)}
    renamed = {
        f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": tensor
        for key, tensor in state.items()
    }
    torch.save(renamed, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"leaves open.*--channels rgb\|bgr"):
        convert(tmp_path / "x.pth", arch, tmp_path / "out")
    wishes = Wishes(place="second" if arch == "resnet50" else None, pool="both", channels="rgb")
    _, plan = convert(tmp_path / "x.pth", arch, tmp_path / "out", wishes=wishes)
    assert any("by its order and shapes" in note for note in plan.notes)
    expected, metadata = read_parameters(tmp_path / "plain")
    found, found_metadata = read_parameters(tmp_path / "out")
    assert found.keys() == expected.keys()
    assert all(array.tobytes() == found[name].tobytes() for name, array in expected.items())
    assert metadata["preprocessing"] == found_metadata["preprocessing"]
    assert verify_arrays(tmp_path / "out", tmp_path / "x.pth")[0].faults == []


def test_an_order_that_fits_no_network_is_refused(tmp_path):
    state = {f"a.{n}.weight": torch.ones(4, 4, 3, 3) for n in range(13)}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(InputError, match="nor can it be matched by its order and shapes: no VGG"):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out")


TABLE = """
input = "torchvision"
[names.n]
"0" = "1_1"
"1" = "1_2"
[[rows]]
source = 'trunk\\.(?P<n>\\d+)\\.w'
target = "conv{n}.kernel"
transform = "conv2d"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = 3", r"no \[\[rows\]\]"),
        ("x = = 3", "is no TOML"),
        ("colour = 1\n[[rows]]\nsource = '('\nskip = 'x'", "unknown entry 'colour'; row 1: '\\('"),
        ("[[rows]]\nsource = 'a'\ntarget = '{n}'\ntransform = 'same'", "names a group"),
        ("[[rows]]\nsource = 'a'\ntarget = 'b'\ntransform = 'sam'", "transform 'sam', expected"),
        (TABLE, r"--table.*\n(.*\n)*.*- conv1_1\.bias"),
    ],
)
def test_faults_of_a_table_of_ones_own(tmp_path, text, message):
    (tmp_path / "t.toml").write_text(text, encoding="utf-8")
    torch.save({"trunk.0.w": torch.ones(2, 3, 3, 3)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "x.pth", "vgg16", tmp_path / "out", table=tmp_path / "t.toml")
