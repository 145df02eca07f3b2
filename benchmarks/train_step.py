"""Whole training steps against eager PyTorch's: `python -m benchmarks.train_step [--quick]`.

One step is: forward, loss, backward, SGD with momentum and weight decay, on sequence models at the
paper's sizes with the layers named below made recurrent (PreGRU). PyTorch runs the same model from
the same weights (`weights_port.torch_sequence`) in both memory formats, and the ratio is to the
faster. Each side has its own process, in which freed memory is kept (`prernn_jax.processes`;
PyTorch gains by it too), and takes float32 clips that are already normalised. Ratios are their time
divided by ours; `loss` is that of each side's last step, `first` the seconds of its first one with
compiling, and `peak` the largest size of its process in bytes. `--one_core` counts the processor's
time on one core: for a machine that others use too.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from benchmarks.processes import interleaved_processes
from benchmarks.timing import ratio, report, report_machine
from prernn_jax.backbones.c3d import C3D
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.files.backbones import flat_parameters
from prernn_jax.metrics import sequence_nll
from prernn_jax.processes import keep_freed_memory
from prernn_jax.sequence import SequenceModel
from prernn_jax.surgery import make_recurrent
from train.engine.devices import make_mesh, set_up
from train.engine.optim import Schedule, sgd
from train.engine.step import Batch, Task
from train.engine.turns import in_turns
from weights_port.export import sequence_state
from weights_port.torch_sequence import TorchSequence

RATE, MOMENTUM, DECAY = 1e-4, 0.9, 5e-4


class Case(NamedTuple):
    """A backbone, the layers that become recurrent, and the clips of one step."""

    name: str
    architecture: str
    make: Callable[..., Any]
    arguments: dict[str, Any]
    layers: tuple[str, ...] | None
    clips: tuple[int, ...]  # (B, T, ...) channels last
    outputs: int
    batch_norm: Literal["train", "frozen"] = "frozen"
    cell: str = "gru"

    @property
    def surgery(self) -> dict[str, Any]:
        """Arguments of `make_recurrent`."""
        return {"layers": self.layers, "cell": self.cell, "outputs": self.outputs}


RESNET = {"stage_sizes": (3, 4, 6, 3), "width": 64}
FULL = [
    Case("resnet50, batch statistics", "resnet", ResNet, RESNET, None, (1, 8, 224, 224, 3), 101,
         "train"),
    Case("resnet50, stored statistics", "resnet", ResNet, RESNET, None, (1, 8, 224, 224, 3), 101),
    Case("vgg16 fc7", "vgg16", VGG16, {}, ("fc7",), (1, 4, 224, 224, 3), 136),
    Case("c3d fc7", "c3d", C3D, {"clip_length": 8}, ("fc7",), (1, 4, 8, 112, 112, 3), 25),
]  # fmt: skip
SMALL = {"width": 16, "hidden": 256}
QUICK = [
    Case("resnet", "resnet", ResNet, {"stage_sizes": (1, 1, 1), "width": 16}, None,
         (2, 4, 64, 64, 3), 101, "train"),
    Case("vgg fc7", "vgg16", VGG16, {**SMALL, "image_size": 64}, ("fc7",), (2, 4, 64, 64, 3), 136),
    Case("c3d fc7", "c3d", C3D, {**SMALL, "image_size": 32, "clip_length": 8}, ("fc7",),
         (2, 4, 8, 32, 32, 3), 25),
]  # fmt: skip


def task() -> Task:
    """Negative log likelihood of clips that need no preparation."""

    def loss(outputs: jax.Array, batch: Batch) -> Any:
        return jnp.mean(sequence_nll(outputs, batch["labels"], batch["lengths"])), {}

    return Task(lambda batch: batch["clips"], loss, lambda outputs, _: {"outputs": outputs})


def our_step(case: Case, keep: bool = True) -> Callable[[], float]:
    """A call that does one training step of ours and returns the loss; see `keep_freed_memory`."""
    if keep:
        keep_freed_memory()
    optimizer = sgd(
        Schedule(RATE, "constant"),
        epochs=1,
        steps_per_epoch=1,
        momentum=MOMENTUM,
        weight_decay=DECAY,
        clip_norm=None,
    )
    training = set_up(
        build(case),
        task(),
        optimizer,
        make_mesh(1, case.clips[0]),
        batch_norm=case.batch_norm,
        seed=0,
    )
    state, take = [training.state], in_turns(training.train_step)  # as the training loop does
    batch = {
        "clips": jnp.asarray(draw(case)),
        "labels": jnp.zeros(case.clips[0], jnp.int32),
        "lengths": jnp.full(case.clips[0], case.clips[1], jnp.int32),
    }

    def step() -> float:
        state[0], metrics = take(state[0], batch)
        return float(metrics["loss"])

    return step


def torch_step(case: Case, last: bool) -> Callable[[], float]:
    """The same of eager PyTorch, with channels last in memory or first."""
    keep_freed_memory()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    arrays = {name: np.asarray(value) for name, value in flat_parameters(build(case)).items()}
    metadata = {
        "architecture": case.architecture,
        "arguments": json.dumps(case.arguments),
        "sequence": json.dumps({"function": "make_recurrent", **case.surgery}),
    }
    weights, _ = sequence_state(arrays, metadata)
    model = TorchSequence(metadata)
    state = {name: torch.tensor(np.array(value)) for name, value in weights.items()}
    model.load_state_dict(state, strict=False)
    del arrays, weights, state
    model.train(case.batch_norm == "train")
    clips = draw(case)
    inputs = torch.tensor(np.moveaxis(clips, -1, 2).copy())  # (B, T, C, ...)
    if last:
        volume = len(case.clips) == 6
        memory = torch.channels_last_3d if volume else torch.channels_last
        for module in model.modules():
            if isinstance(module, torch.nn.Conv3d if volume else torch.nn.Conv2d):
                module.to(memory_format=memory)
        inputs = inputs.flatten(0, 1).contiguous(memory_format=memory).unflatten(0, clips.shape[:2])
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, weight_decay=DECAY)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        outputs, _ = model(inputs)
        loss = -outputs.log_softmax(-1)[:, :, 0].mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def build(case: Case) -> SequenceModel:
    """Our model, from the same seeds in every process."""
    backbone = case.make(**case.arguments, rngs=nnx.Rngs(0))
    return make_recurrent(backbone, **case.surgery, rngs=nnx.Rngs(1))


def parameter_count(case: Case) -> int:
    """Numbers in all parameters of a case's model; nothing is allocated."""
    params = nnx.state(nnx.eval_shape(lambda: build(case)), nnx.Param)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def draw(case: Case) -> np.ndarray:
    """Normalised clips."""
    return np.random.default_rng(0).normal(size=case.clips).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small networks, under a minute")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of each case")
    parser.add_argument("--cases", nargs="+", help="only cases whose name begins so")
    parser.add_argument("--one_core", action="store_true", help="one core, processor time")
    options = parser.parse_args()
    report_machine()
    for case in QUICK if options.quick else FULL:
        if options.cases and not case.name.startswith(tuple(options.cases)):
            continue
        timed = interleaved_processes(
            {
                "ours": (our_step, (case,)),
                "torch": (torch_step, (case, False)),
                "torch_channels_last": (torch_step, (case, True)),
            },
            options.rounds,
            options.one_core,
        )
        medians = {name: statistics.median(times) for name, times in timed.seconds.items()}
        best = min(("torch", "torch_channels_last"), key=medians.__getitem__)
        shape = "x".join(map(str, case.clips))
        report(
            f"{case.name}, clips {shape}, training step",
            timed.seconds,
            ratio_torch=ratio(timed.seconds, best, "ours"),
            first={name: round(value, 1) for name, value in timed.first.items()},
            peak=timed.peak,
            loss={name: round(value, 5) for name, value in timed.last.items()},
        )


if __name__ == "__main__":
    main()
