"""Winograd's tiles of 2 and 4 beside the other forms: `python -m benchmarks.tiles [--quick]`.

The three passes of single layers of VGG16, ResNet50 and C3D on one core, in the processor's time:
`prernn_jax/cpu/winograd_choice.py` chooses by it. `direct` is the form that is taken where no tiles
are. One JSON line for each layer and pass.
"""

import argparse
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import interleaved, one_core, report, report_machine
from prernn_jax.cpu import conv, winograd
from prernn_jax.cpu.xla import jit
from prernn_jax.processes import keep_freed_memory

LAYERS = [  # images, height and width (clips have frames before these); channels in and out
    ((4, 224, 224), 64, 64), ((4, 112, 112), 64, 128), ((4, 56, 56), 256, 256),
    ((4, 28, 28), 512, 512), ((4, 14, 14), 512, 512),
    ((8, 56, 56), 64, 64), ((8, 28, 28), 128, 128), ((8, 14, 14), 256, 256), ((8, 7, 7), 512, 512),
    ((4, 8, 56, 56), 64, 128), ((4, 4, 28, 28), 128, 256), ((4, 2, 14, 14), 512, 512),
    ((4, 1, 7, 7), 512, 512),
]  # fmt: skip
QUICK = [((2, 14, 14), 64, 64), ((1, 2, 8, 8), 64, 64)]
PASSES = ("forward", "input gradient", "weight gradient")


def sides(size: tuple[int, ...], inputs: int, outputs: int, of: str) -> dict[str, Any]:
    """One pass of a layer in each of its forms, compiled."""
    window = (3,) * (len(size) - 1)
    rng = np.random.default_rng(0)
    shapes = (*size, inputs), (*window, inputs, outputs), (*size, outputs)
    given = [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]
    pads, strides = ((1, 1),) * len(window), (1,) * len(window)
    names = ("NHWC", "HWIO", "NHWC") if len(window) == 2 else ("NDHWC", "DHWIO", "NDHWC")

    def direct(x: jax.Array, kernel: jax.Array, grad: jax.Array) -> Any:
        def apply(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return conv.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=names)

        y, vjp = jax.vjp(apply, x, kernel)
        return y if of == "forward" else vjp(grad)[PASSES.index(of) - 1]

    def tiles(m: int) -> Callable[..., Any]:
        return {
            "forward": lambda x, kernel, grad: winograd.convolve(x, kernel, pads, m),
            "input gradient": lambda x, kernel, grad: winograd.input_gradient(
                grad, kernel, pads, m
            ),
            "weight gradient": lambda x, kernel, grad: winograd.weight_gradient(x, grad, pads, m),
        }[of]

    with patch.object(conv, "tile_side", return_value=0):
        compiled = {"direct": jit(direct).lower(*given).compile()}
    for m in (2, 4):
        compiled[f"{m}x{m}"] = jit(tiles(m)).lower(*given).compile()
    return {
        name: lambda run=run: jax.block_until_ready(run(*given)) for name, run in compiled.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two small layers")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each case")
    options = parser.parse_args()
    clock = one_core()
    keep_freed_memory()
    report_machine()
    for size, inputs, outputs in QUICK if options.quick else LAYERS:
        for of in PASSES:
            seconds = interleaved(sides(size, inputs, outputs, of), options.rounds, clock)
            shape = "x".join(map(str, size[1:]))
            report(f"3x3, {inputs} to {outputs}, {size[0]} x {shape}, {of}", seconds)


if __name__ == "__main__":
    main()
