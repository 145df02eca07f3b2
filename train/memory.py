"""Says how much memory a training step needs and which batch fits a GPU, without training.

    prernn memory action --preset=paper --precision=bfloat16 --remat=blocks --accumulate=4

The flags are those of `prernn train action`, `face` and `gesture`; what the data are read from does
not count. XLA compiles the step from shapes alone, which takes a minute for a large network.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from flax import nnx

from prernn_jax.command import run_command
from prernn_jax.errors import InputError

from .applications import APPLICATIONS
from .engine.devices import make_mesh
from .run.application import Application, configuration
from .run.config import check_run
from .run.memory import Memory, check_memory, largest_rows, memory_of, other_rows

CARDS = (24, 48, 80)  # GB
USABLE = 0.9  # of a card: the rest is the driver's, cuDNN's workspace and the next batch

NOTE = (
    "Counted are parameters, optimiser, batch, gradients and what the forward pass leaves to the",
    "backward pass: a GPU needs at least that. Planned is what XLA's compiler for the CPU makes of",
    "the program for CUDA. It undoes --remat and computes bfloat16 in float32: a GPU then needs",
    f"less. {USABLE:.0%} of a card count; JAX takes 75% unless you set",
    "XLA_PYTHON_CLIENT_MEM_FRACTION=0.95.",
)

USAGE = """usage: prernn memory {action,face,gesture} [options of prernn train]

Says how much memory a training step needs and which batch fits a GPU, without training.

examples:
  prernn memory action --preset=paper
  prernn memory action --preset=paper --precision=bfloat16 --remat=blocks --accumulate=4
  prernn memory face --preset=paper --model=traditional

prernn memory action --help lists the options."""


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return
    name, *flags = argv
    if name not in APPLICATIONS:
        raise InputError(f"prernn memory {name}: expected one of {', '.join(APPLICATIONS)}")
    application = APPLICATIONS[name]
    config = configuration(application, flags, "memory")
    for line in lines(application, config):
        print(line)


def lines(application: Application, config: Any) -> list[str]:
    """What there is to say of a run's memory.

    Raises:
        InputError: No run can have these settings.
    """
    check_run(config)
    check_memory(config)
    if config.batch_size % max(config.devices, 1) or config.devices < 1:
        raise InputError(
            f"--batch_size={config.batch_size} cannot be split over {config.devices} device(s); "
            "use a multiple"
        )
    rows, parts = config.batch_size // config.devices, config.accumulate
    make_mesh(1, rows, accumulate=parts)  # refuses parts that do not divide them
    sizes = application.sizes(config)
    if config.weights is not None:
        sizes = sizes._replace(make=_network(application, config))
    cpu = memory_of(config, sizes, rows, "cpu")
    gpu = memory_of(config, sizes, rows, "cuda")
    beside = other_rows(rows, parts)
    other = memory_of(config, sizes, beside, "cuda")
    head = (
        f"{config.application}, {config.model}: {rows} sequences a device and step in {parts} "
        f"part(s), --precision={config.precision}, --remat={config.remat}"
    )
    found = [head, "", *_table(cpu, gpu), ""]
    for card in CARDS:
        limit = int(card * 1e9 * USABLE)
        planned, counted = (
            config.devices * largest_rows((rows, one), (beside, two), limit, parts)
            for one, two in ((gpu.total, other.total), (gpu.least, other.least))
        )
        found.append(
            f"largest --batch_size, GPU of {card} GB: {planned} as planned, "
            f"{max(planned, counted)} as counted"
        )
    return [*found, "", *NOTE]


def _network(application: Application, config: Any) -> Callable[[], nnx.Module]:
    """What --weights names, in place of the published network."""
    one = replace(config, devices=1)
    opened = partial(application.open_backbone, one, make_mesh(1, 1))
    return lambda: opened().model


def _table(cpu: Memory, gpu: Memory) -> list[str]:
    rows = [
        ("parameters and statistics", cpu.parameters, gpu.parameters),
        ("optimiser", cpu.optimizer, gpu.optimizer),
        ("batch", cpu.batch, gpu.batch),
        ("temporaries of the step", cpu.temporaries, gpu.temporaries),
        ("  gradients, at most", cpu.gradients, gpu.gradients),
        ("  residuals of a part, at most", cpu.residuals, gpu.residuals),
        ("whole step, as planned", cpu.total, gpu.total),
        ("whole step, as counted", cpu.least, gpu.least),
    ]
    line = "{:32}{:>12}{:>18}".format
    return [
        line("GB of one device", "this CPU", "GPU, estimate"),
        *(line(name, f"{one / 1e9:.3f}", f"{two / 1e9:.3f}") for name, one, two in rows),
    ]


if __name__ == "__main__":
    run_command(main)
