"""Convolutions against PyTorch's and plain XLA's: `python -m benchmarks.conv [--quick]`.

Outputs, and the gradients of inputs and weights, of single layers of ResNet50, VGG16 and C3D, and
of the compact network for the embedded data (`--quick`). PyTorch runs in both memory formats, and
the ratio is to the faster. Ours is compiled as the training programs do (`prernn_jax.cpu.xla`),
plain XLA with `jax.jit`. Ratios are their time divided by ours.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.timing import interleaved, one_core, ratio, report, report_machine
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.xla import jit


class Layer(NamedTuple):
    """One convolution: images (or clips) in, square kernels, padded to keep the size / stride."""

    batch: int
    size: tuple[int, ...]
    inputs: int
    outputs: int
    window: int
    stride: int = 1

    def __str__(self) -> str:
        shape = "x".join(map(str, self.size))
        return (
            f"{self.window}^{len(self.size)}/{self.stride} {self.inputs}->{self.outputs}, "
            f"{self.batch} x {shape}"
        )


COMPACT = [
    Layer(32, (64, 64), 8, 16, 7, 2),
    Layer(32, (16, 16), 16, 16, 3),
    Layer(32, (16, 16), 64, 16, 1),
    Layer(32, (16, 16), 32, 32, 3, 2),
    Layer(32, (8, 8), 32, 32, 3),
    Layer(32, (4, 4), 64, 64, 3),
]
FULL = [
    Layer(8, (224, 224), 3, 64, 7, 2),  # ResNet50
    Layer(8, (56, 56), 64, 64, 3),
    Layer(8, (56, 56), 256, 64, 1),
    Layer(8, (56, 56), 128, 128, 3, 2),
    Layer(8, (14, 14), 256, 256, 3),
    Layer(8, (7, 7), 512, 2048, 1),
    Layer(4, (224, 224), 64, 64, 3),  # VGG16
    Layer(4, (56, 56), 256, 256, 3),
    Layer(4, (14, 14), 512, 512, 3),
    Layer(4, (8, 112, 112), 3, 64, 3),  # C3D
    Layer(4, (8, 56, 56), 64, 128, 3),
    Layer(4, (4, 28, 28), 128, 256, 3),
    Layer(4, (2, 14, 14), 512, 512, 3),
]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def jax_side(
    conv: Callable[..., Any],
    compiled: Callable[..., Any],
    layer: Layer,
    x: np.ndarray,
    kernel: np.ndarray,
) -> dict:
    names = ("NHWC", "HWIO", "NHWC") if len(layer.size) == 2 else ("NDHWC", "DHWIO", "NDHWC")
    pads = [((layer.window - 1) // 2,) * 2] * len(layer.size)
    given = jnp.asarray(x), jnp.asarray(kernel)

    def apply(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return conv(x, kernel, (layer.stride,) * len(layer.size), pads, dimension_numbers=names)

    def gradients(x: jax.Array, kernel: jax.Array) -> Any:
        y, vjp = jax.vjp(apply, x, kernel)
        return vjp(y)

    forward, both = compiled(apply), compiled(gradients)
    return {
        "forward": lambda: jax.block_until_ready(forward(*given)),
        "both": lambda: jax.block_until_ready(both(*given)),
    }


def torch_side(layer: Layer, x: np.ndarray, kernel: np.ndarray, channels_last: bool) -> dict:
    last = len(layer.size) + 1
    functions = {2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
    conv = functions[len(layer.size)]
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    memory = formats[len(layer.size)] if channels_last else torch.contiguous_format
    inputs = torch.tensor(np.moveaxis(x, last, 1).copy()).contiguous(memory_format=memory)
    weights = torch.tensor(np.moveaxis(kernel, (-1, -2), (0, 1)).copy())
    weights = weights.contiguous(memory_format=memory).requires_grad_()
    inputs.requires_grad_()

    def apply() -> torch.Tensor:
        return conv(inputs, weights, stride=layer.stride, padding=(layer.window - 1) // 2)

    def forward() -> None:
        with torch.no_grad():
            apply()

    def both() -> None:
        y = apply()
        torch.autograd.grad(y, (inputs, weights), y.detach())

    return {"forward": forward, "both": both}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the compact network's layers")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each case")
    parser.add_argument("--one_core", action="store_true", help="one core, processor time")
    options = parser.parse_args()
    clock = one_core() if options.one_core else time.perf_counter
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    report_machine()
    for layer in COMPACT if options.quick else FULL:
        x = draw(layer.batch, *layer.size, layer.inputs)
        kernel = draw(*[layer.window] * len(layer.size), layer.inputs, layer.outputs)
        sides = {
            "ours": jax_side(conv_general_dilated, jit, layer, x, kernel),
            "xla": jax_side(jax.lax.conv_general_dilated, jax.jit, layer, x, kernel),
            "torch": torch_side(layer, x, kernel, channels_last=False),
            "torch_channels_last": torch_side(layer, x, kernel, channels_last=True),
        }
        for part, label in (("forward", "forward"), ("both", "forward + backward")):
            calls = {name: side[part] for name, side in sides.items()}
            seconds = interleaved(calls, options.rounds, clock)
            best = min(
                ("torch", "torch_channels_last"), key=lambda n: statistics.median(seconds[n])
            )
            report(
                f"{layer}, {label}",
                seconds,
                ratio_torch=ratio(seconds, best, "ours"),
                ratio_xla=ratio(seconds, "xla", "ours"),
            )


if __name__ == "__main__":
    main()
