"""One frame through a recurrent VGG16 and through VGG16 alone: `python -m benchmarks.streaming`.

`prernn_jax.streaming.Stream` with fc7 made recurrent, against the compiled forward of the same
backbone on one frame; both take the same float32 frame. `ratio` is the stream's time divided by
the backbone's, so 1.1 means that memory costs a tenth. One JSON line for each cell.
"""

import argparse

import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.timing import interleaved, ratio, report, report_machine
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.cpu.xla import jit
from prernn_jax.processes import keep_freed_memory
from prernn_jax.streaming import Stream
from prernn_jax.surgery import make_recurrent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds of each case")
    options = parser.parse_args()
    keep_freed_memory()
    report_machine()
    size = 64 if options.quick else 224
    small = {"width": 16, "hidden": 512, "image_size": size} if options.quick else {}
    backbone = VGG16(**small, rngs=nnx.Rngs(0))
    frame = jnp.asarray(np.random.default_rng(0).normal(size=(1, size, size, 3)), jnp.float32)
    graph, state = nnx.split(backbone)
    forward = jit(lambda state, frame: nnx.merge(graph, state)(frame))
    for cell in ("gru", "lstm", "vrnn"):
        model = make_recurrent(backbone, layers=("fc7",), cell=cell, rngs=nnx.Rngs(1))
        stream = Stream(model)
        stream.warm_up(frame)
        seconds = interleaved(
            {
                "stream": lambda stream=stream: stream(frame).block_until_ready(),
                "backbone": lambda: forward(state, frame).block_until_ready(),
            },
            options.rounds,
        )
        value = ratio(seconds, "stream", "backbone")
        report(f"vgg16 fc7 {cell}, one frame of {size}x{size}", seconds, ratio=value)


if __name__ == "__main__":
    main()
