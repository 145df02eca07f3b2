"""Rounding errors of our convolutions beside XLA's own: `python -m benchmarks.rounding [--quick]`.

Single layers of VGG16 on one image, in all three passes, and the whole VGG16: its outputs and the
gradient of its convolutions. An error is the largest difference from the same in float64, divided
by the largest value there. One JSON line for each case; `direct` is `jax.lax`'s convolution.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from benchmarks.timing import report_machine
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.cpu.conv import conv_general_dilated
from prernn_jax.cpu.xla import jit

LAYERS = [(224, 64, 64), (112, 128, 128), (56, 256, 256), (28, 512, 512), (14, 512, 512)]
QUICK = [(14, 64, 64)]
SIDES = {"ours": conv_general_dilated, "direct": lax.conv_general_dilated}


def error(found: Any, exact: Any) -> float:
    """Largest difference over the largest value, of two equal trees of arrays."""
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True))
    difference = max(float(np.abs(np.asarray(a, np.float64) - b).max()) for a, b in pairs)
    return difference / max(float(np.abs(b).max()) for _, b in pairs)


def layer(size: int, inputs: int, outputs: int) -> dict[str, dict[str, float]]:
    """Errors of each pass and side of one layer; inputs as after a ReLU."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(1, size, size, inputs)), 0).astype(np.float32)
    kernel = (rng.normal(size=(3, 3, inputs, outputs)) / np.sqrt(4.5 * inputs)).astype(np.float32)
    grad = rng.normal(size=(1, size, size, outputs)).astype(np.float32)

    def passes(conv: Callable[..., Any], dtype: Any) -> list[np.ndarray]:
        def run(x: jax.Array, kernel: jax.Array, grad: jax.Array) -> Any:
            def apply(x: jax.Array, kernel: jax.Array) -> jax.Array:
                names = ("NHWC", "HWIO", "NHWC")
                y: jax.Array = conv(x, kernel, (1, 1), "SAME", dimension_numbers=names)
                return y

            y, vjp = jax.vjp(apply, x, kernel)
            return y, *vjp(grad)

        given = (jnp.asarray(a, dtype) for a in (x, kernel, grad))
        return [np.asarray(a) for a in jit(run)(*given)]

    with jax.enable_x64(True):
        exact = passes(lax.conv_general_dilated, jnp.float64)
    names = ("forward", "input gradient", "weight gradient")
    found = {side: passes(conv, jnp.float32) for side, conv in SIDES.items()}
    return {
        name: {side: error(arrays[i], exact[i]) for side, arrays in found.items()}
        for i, name in enumerate(names)
    }


def network(size: int, width: int) -> dict[str, dict[str, float]]:
    """Errors of VGG16's outputs and of its convolutions' gradients, on one drawn image."""
    model = VGG16(10, width, 128, size, rngs=nnx.Rngs(0))
    graph, params = nnx.split(model)
    image = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32)

    def run(conv: Callable[..., Any], dtype: Any) -> Any:
        def outputs(params: Any) -> tuple[jax.Array, jax.Array]:
            network = nnx.merge(graph, params)
            for _, module in nnx.iter_graph(network):
                if isinstance(module, nnx.Conv):
                    module.conv_general_dilated = conv
            y = network(jnp.asarray(image, dtype))
            return jnp.sum(y * jnp.cos(jnp.arange(y.size, dtype=dtype))), y

        cast = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), dtype), params)
        gradients, y = jit(jax.grad(outputs, has_aux=True))(cast)
        kernels = {n: g for n, g in nnx.to_pure_dict(gradients).items() if n.startswith("conv")}
        return np.asarray(y), jax.tree.map(np.asarray, kernels)

    with jax.enable_x64(True):
        exact = run(lax.conv_general_dilated, jnp.float64)
    found = {side: run(conv, jnp.float32) for side, conv in SIDES.items()}
    worst = {
        side: max(error(kernels[n], exact[1][n]) for n in kernels)
        for side, (_, kernels) in found.items()
    }
    return {
        "outputs": {side: error(y, exact[0]) for side, (y, _) in found.items()},
        "gradient of the worst layer": worst,
    }


def report_errors(case: str, errors: dict[str, dict[str, float]]) -> None:
    """Prints one JSON line."""
    rounded = {
        name: {side: float(f"{value:.1e}") for side, value in sides.items()}
        for name, sides in errors.items()
    }
    print(json.dumps({"case": case, "errors": rounded}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one layer and a small network")
    options = parser.parse_args()
    report_machine()
    for size, inputs, outputs in QUICK if options.quick else LAYERS:
        errors = layer(size, inputs, outputs)
        report_errors(f"3x3, {inputs} to {outputs} channels, {size}x{size}", errors)
    size, width = (64, 16) if options.quick else (224, 64)
    report_errors(f"vgg16, width {width}, one image of {size}x{size}", network(size, width))


if __name__ == "__main__":
    main()
