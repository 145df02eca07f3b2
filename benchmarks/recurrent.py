"""Recurrent layers against PyTorch's and flax's: `python -m benchmarks.recurrent [--quick]`.

Every side computes the same layer on the same inputs: outputs, and the gradients of inputs and all
weights. PyTorch runs time-major, its best layout, with as many threads as there are cores; flax's
LSTM is its `LSTMCell`, which is faster here than `OptimizedLSTMCell`. Ratios are their time divided
by ours, so above 1 ours is faster.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from benchmarks.timing import interleaved, one_core, ratio, report, report_machine
from prernn_jax.layers.recurrent import Recurrent

TORCH_LAYERS: dict[str, Callable[..., torch.nn.Module]] = {
    "vrnn": functools.partial(torch.nn.RNN, nonlinearity="relu"),
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def jax_side(apply: Callable[[Any, jax.Array], jax.Array], weights: Any, x: np.ndarray) -> dict:
    """Forward, and forward + backward, of y = apply(weights, x)."""
    inputs = jnp.asarray(x)

    def loss(weights: Any, x: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(apply(weights, x)))

    forward = jax.jit(apply)
    both = jax.jit(jax.grad(loss, (0, 1)))
    return {
        "forward": lambda: jax.block_until_ready(forward(weights, inputs)),
        "both": lambda: jax.block_until_ready(both(weights, inputs)),
    }


def ours(cell: str, features: int, x: np.ndarray, shared: bool = False) -> dict:
    layer = Recurrent(x.shape[-1], features, cell, shared, rngs=nnx.Rngs(0))
    graph, weights, rest = nnx.split(layer, nnx.Param, ...)
    return jax_side(lambda weights, x: nnx.merge(graph, weights, rest)(x)[0], weights, x)


def of_torch(cell: str, features: int, x: np.ndarray) -> dict:
    layer = TORCH_LAYERS[cell](x.shape[-1], features)
    inputs = torch.tensor(x.swapaxes(0, 1).copy(), requires_grad=True)  # (T, B, D)

    def forward() -> None:
        with torch.no_grad():
            layer(inputs)

    def both() -> None:
        layer.zero_grad(set_to_none=True)
        inputs.grad = None
        layer(inputs)[0].square().mean().backward()

    return {"forward": forward, "both": both}


def of_nnx(cell: type, features: int, x: np.ndarray) -> dict:
    layer = nnx.RNN(cell(x.shape[-1], features, rngs=nnx.Rngs(0)))
    graph, weights, rest = nnx.split(layer, nnx.Param, ...)
    carry = (jnp.zeros((x.shape[0], features)),) * 2  # else it draws from its random stream

    def apply(weights: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, weights, rest)(x, initial_carry=carry)

    return jax_side(apply, weights, x)


def of_linen(cell: type, features: int, x: np.ndarray) -> dict:
    layer = nn.RNN(cell(features))
    weights = jax.jit(layer.init)(jax.random.key(0), jnp.asarray(x[:1, :1]))
    return jax_side(layer.apply, weights, x)


def against(
    sides: dict[str, dict],
    case: str,
    operations: float,
    size: int,
    rounds: int,
    clock: Callable[[], float],
) -> None:
    """Times forward and forward + backward of all sides, and a product size x size."""
    square = jnp.asarray(draw(size, size))
    product = jax.jit(jnp.matmul)
    for part, factor in (("forward", 1), ("both", 3)):
        calls = {name: side[part] for name, side in sides.items()}
        calls["product"] = lambda: product(square, square).block_until_ready()
        seconds = interleaved(calls, rounds, clock)
        ratios = {f"ratio_{name}": ratio(seconds, name, "ours") for name in sides if name != "ours"}
        share = factor * operations / (2 * size**3) * ratio(seconds, "product", "ours")
        label = "forward" if part == "forward" else "forward + backward"
        report(f"{case}, {label}", seconds, **ratios, share_of_product_rate=share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small shapes, under a minute")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each case")
    parser.add_argument("--one_core", action="store_true", help="one core, processor time")
    parser.add_argument("--cases", nargs="+", default=["lstm", "gru", "vrnn", "shared"])
    options = parser.parse_args()
    clock = one_core() if options.one_core else time.perf_counter
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    report_machine()
    sizes = [(8, 16, 512), (32, 16, 256)] if options.quick else [(8, 16, 4096), (32, 16, 2048)]
    product = 1024 if options.quick else 2048 if options.one_core else 4096
    for number, (batch, steps, features) in enumerate(sizes):
        x = draw(batch, steps, features)
        for cell in [name for name in options.cases if name in TORCH_LAYERS]:
            sides = {"ours": ours(cell, features, x), "torch": of_torch(cell, features, x)}
            if cell == "lstm" and number == 0:
                sides["nnx"] = of_nnx(nnx.LSTMCell, features, x)
                sides["linen"] = of_linen(nn.LSTMCell, features, x)
            gates = {"vrnn": 1, "lstm": 4, "gru": 3}[cell]
            operations = 2.0 * batch * steps * gates * features * 2 * features
            case = f"{cell}, B {batch}, T {steps}, D = F = {features}"
            against(sides, case, operations, product, options.rounds, clock)
    if "shared" not in options.cases:
        return
    width, features = (1568, 256) if options.quick else (25088, 4096)
    x = draw(8, 16, width)
    both = {name: ours("lstm", features, x, name == "shared") for name in ("shared", "per_gate")}
    seconds = interleaved(
        {name: side["both"] for name, side in both.items()}, options.rounds, clock
    )
    report(
        f"lstm with shared inputs, B 8, T 16, D {width}, F {features}, forward + backward",
        seconds,
        ratio_per_gate=ratio(seconds, "per_gate", "shared"),
    )


if __name__ == "__main__":
    main()
