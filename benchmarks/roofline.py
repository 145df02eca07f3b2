"""Computed, not measured: what a training step costs an H100. `python -m benchmarks.roofline`.

For each application at the paper's sizes, operations and bytes of one training step by XLA's cost
analysis of the step lowered for CUDA (no GPU is needed), and the time that one H100 would take at
its peak rates. The analysis is of the program before fusion: every operation reads its operands
from memory and writes its result there, so bytes and their seconds are upper bounds; the operations
are those of the products and convolutions that are there in any case. A loop's body counts once:
the recurrence counts as one step of T. One JSON line each.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet50
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.precision import Precision
from prernn_jax.preprocess import Preprocessing
from prernn_jax.surgery import make_recurrent
from train.engine.devices import make_mesh, parallel_train_step
from train.engine.optim import FACE, GESTURE, TEMPORAL, Schedule, sgd
from train.engine.step import Task, create_state, make_train_step, take_apart
from train.face.task import OUTPUTS, face_task
from train.run.classification import classification_task

# Operations a second, dense, of one H100 SXM5: "NVIDIA H100 Tensor Core GPU Architecture", table of
# peak rates (FP32 without tensor cores, TF32 and BF16 with them, without sparsity).
RATES = {"float32": 66.9e12, "tf32": 494.7e12, "bfloat16": 989.4e12}
BANDWIDTH = 3.35e12  # bytes a second


class Paper(NamedTuple):
    """An application at the paper's sizes."""

    name: str
    make: Callable[..., Any]
    clips: tuple[int, ...]  # (B, T, ...)
    outputs: int
    task: Callable[[Preprocessing], Task]
    schedule: Schedule
    batch_norm: str


PAPER = [
    Paper("action, ResNet50, temporal stream", partial(ResNet50, in_channels=20),
          (32, 16, 224, 224, 20), 101, classification_task, TEMPORAL, "train"),
    Paper("face, VGG16 fc6/7", VGG16, (8, 10, 224, 224, 3), OUTPUTS, face_task, FACE, "frozen"),
    Paper("gesture, C3D fc6/7", partial(C3D, clip_length=8), (8, 10, 8, 112, 112, 3), 25,
          classification_task, GESTURE, "frozen"),
]  # fmt: skip
QUICK = [PAPER[0]._replace(make=partial(ResNet50, in_channels=20), clips=(1, 2, 64, 64, 20))]


def cost(case: Paper, precision: Precision) -> tuple[float, float]:
    """Operations and bytes of a training step; nothing is allocated or compiled."""
    networks = []
    optimizer = sgd(case.schedule, epochs=1, steps_per_epoch=1, momentum=0.9, weight_decay=5e-4,
                    clip_norm=None)  # fmt: skip

    def begin() -> Any:
        backbone = case.make(rngs=nnx.Rngs(0))
        model = make_recurrent(backbone, cell="gru", outputs=case.outputs, rngs=nnx.Rngs(1))
        network, params, stats = take_apart(model, batch_norm=case.batch_norm)
        networks.append(network)
        return create_state(params, {}, stats, optimizer, seed=0)

    state = jax.eval_shape(begin)
    size, steps = case.clips[:2]
    shape = jax.ShapeDtypeStruct
    batch = {
        "clips": shape(case.clips, jnp.uint8),
        "lengths": shape((size,), jnp.int32),
        "labels": shape((size,), jnp.int32),
        "landmarks": shape((size, steps, OUTPUTS // 2, 2), jnp.float32),
    }
    task = case.task(Preprocessing(scale=1 / 255))
    step = make_train_step(networks[0], task, optimizer, precision)
    traced = parallel_train_step(step, make_mesh(1, size)).trace(state, batch)
    found = traced.lower(lowering_platforms=("cuda",)).cost_analysis()
    return found["flops"], found["bytes accessed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small case")
    options = parser.parse_args()
    for case in QUICK if options.quick else PAPER:
        for precision, rate in RATES.items():
            operations, accessed = cost(case, precision)
            line = {
                "case": f"{case.name}, clips {'x'.join(map(str, case.clips))}, {precision}",
                "computed": "XLA cost analysis before fusion, not measured",
                "tera_operations": round(operations / 1e12, 3),
                "giga_bytes": round(accessed / 1e9, 1),
                "operations_seconds": round(operations / rate, 4),
                "bytes_seconds": round(accessed / BANDWIDTH, 4),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
