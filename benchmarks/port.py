"""Converting a VGG16-sized file: time against reading and writing the same bytes, and memory.

`python -m benchmarks.port` makes the files in a temporary folder (about 2.5 GB) and prints one
JSON line for each format. Every measurement runs in a process of its own; the baseline is
`torch.load` of the PyTorch file and `numpy.save` of every array, in one run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

REPEATS = 5


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def baseline(path: str, folder: str) -> None:
    """Child process: load the file with torch and save every array."""
    import torch

    start = time.perf_counter()
    for key, tensor in torch.load(path, weights_only=True).items():
        np.save(Path(folder) / f"{key}.npy", tensor.numpy())
    print(json.dumps({"seconds": time.perf_counter() - start}))


def port(path: str, folder: str) -> None:
    """Child process: convert the file; memory is counted from before the file is opened."""
    import torch  # noqa: F401

    from prernn_jax.backbones import c3d, resnet, vgg  # noqa: F401
    from weights_port.choice import Wishes
    from weights_port.convert import convert
    from weights_port.formats import torch as torch_file  # noqa: F401

    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    start = time.perf_counter()
    layout = "torchvision" if path.endswith(".pth") else "caffe"  # random weights do not tell
    convert(Path(path), "vgg16", Path(folder) / "out.safetensors", wishes=Wishes(layout))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "bytes": _memory("VmHWM") - before}))


def make(folder: Path) -> dict[str, Path]:
    """Random weights of VGG16's shapes as PyTorch's and as Caffe's file (V1 layers)."""
    import torch

    from weights_port.torch_networks import build_vgg16

    network = build_vgg16()
    torch.save(network.state_dict(), folder / "vgg16.pth")
    names = [f"conv{s}_{i}" for s, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    modules = [m for m in network.modules() if hasattr(m, "weight")]
    with open(folder / "vgg16.caffemodel", "wb") as file:
        for name, module in zip([*names, "fc6", "fc7", "fc8"], modules, strict=True):
            blobs = b"".join(_blob(p.detach().numpy()) for p in (module.weight, module.bias))
            file.write(_field(2, _field(4, name.encode()) + blobs))
    return {"torch": folder / "vgg16.pth", "caffe": folder / "vgg16.caffemodel"}


def _varint(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _blob(array: np.ndarray) -> bytes:
    """A blob of the old 4-D form, as field 6 of a V1 layer."""
    dims = (1,) * (4 - array.ndim) + array.shape
    shape = b"".join(_varint(n << 3) + _varint(size) for n, size in enumerate(dims, start=1))
    return _field(6, shape + _field(5, array.tobytes()))


def _child(name: str, path: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=path.parent) as fresh:
        command = [sys.executable, "-m", "benchmarks.port", name, str(path), fresh]
        os.sync()  # the disk has nothing left to do
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make(folder)
        runs: dict[str, list[dict[str, float]]] = {"baseline": [], "torch": [], "caffe": []}
        for _ in range(REPEATS):  # interleaved
            runs["baseline"].append(_child("baseline", files["torch"]))
            for kind, path in files.items():
                runs[kind].append(_child("port", path))
        floor = median(run["seconds"] for run in runs["baseline"])
        for kind, path in files.items():
            size = path.stat().st_size
            seconds = median(run["seconds"] for run in runs[kind])
            peak = max(run["bytes"] for run in runs[kind])
            line = {
                "case": f"convert vgg16 from {kind}",
                "file_bytes": size,
                "seconds": round(seconds, 2),
                "load_and_save_seconds": round(floor, 2),
                "time_ratio": round(seconds / floor, 2),
                "peak_bytes": peak,
                "memory_ratio": round(peak / size, 2),
            }
            print(json.dumps(line))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        {"baseline": baseline, "port": port}[sys.argv[1]](sys.argv[2], sys.argv[3])
    else:
        main()
