"""Converts weights of other frameworks, and back: `prernn port` (or `python -m weights_port`)."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from prernn_jax.command import parse, run_command
from prernn_jax.files import backbones

Flag = tyro.conf.FlagCreatePairsOff[bool]
TOLERANCE = 1e-5  # relative norm of a layer's difference that `verify` accepts


@dataclasses.dataclass(frozen=True)
class Inspect:
    """List what a file of weights holds.

    Attributes:
        file: The file.
        member: The file to read inside an archive that holds several.
    """

    file: tyro.conf.Positional[Path]
    member: str | None = None


@dataclasses.dataclass(frozen=True)
class Convert:
    """Write another framework's weights as one safetensors file under our names.

    Attributes:
        file: The file.
        arch: The network that it holds; vgg and resnet take the depth from the file.
        out: The safetensors file to write.
        layout: How the file names its weights; auto takes the table that fits. Where several fit,
            it decides by evidence that it names, or asks.
        table: A table of your own, .toml, in place of --layout; see docs/weights.md.
        prefix: What stands before the network's keys, where the file holds more than one.
        member: The file to read inside an archive that holds several.
        place: The convolution of a ResNet's block that has the stride.
        pool: Padding of the pooling: on both sides (in VGG and C3D: as PyTorch does it), or at the
            end (Caffe).
        channels: Order of the colours that the weights expect.
        range: Largest value of a colour before the mean is subtracted.
        input_mean: Mean of each input channel on that range.
        input_std: Standard deviation of each input channel on that range.
        mean: C3D's mean volume, .binaryproto or .npy; it travels along.
        overwrite: Replace an existing file.
        allow_nonfinite: Convert NaN and infinity too.
    """

    file: tyro.conf.Positional[Path]
    arch: Literal[
        "vgg16", "c3d", "resnet50", "vgg", "vgg11", "vgg13", "vgg19", "vgg11_bn", "vgg13_bn",
        "vgg16_bn", "vgg19_bn", "resnet", "resnet18", "resnet34", "resnet101", "resnet152",
    ]  # fmt: skip
    out: Path
    layout: str = "auto"
    table: Path | None = None
    prefix: str | None = None
    member: str | None = None
    place: Literal["first", "second"] | None = None
    pool: Literal["both", "end"] | None = None
    channels: Literal["rgb", "bgr"] | None = None
    range: Literal[1, 255] | None = None
    input_mean: tuple[float, float, float] | None = None
    input_std: tuple[float, float, float] | None = None
    mean: Path | None = None
    overwrite: Flag = False
    allow_nonfinite: Flag = False


@dataclasses.dataclass(frozen=True)
class Verify:
    """Compare a converted file with its original: every bit, then layer by layer.

    Attributes:
        file: What `convert` wrote.
        against: The original.
        member: The file to read inside an archive that holds several; by default the one that
            `convert` read.
        image: A picture for the real input; otherwise the one that comes with matplotlib.
        arrays_only: Only compare the arrays, do not run the networks.
    """

    file: tyro.conf.Positional[Path]
    against: Path
    member: str | None = None
    image: Path | None = None
    arrays_only: Flag = False


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a converted backbone or a trained sequence model as a PyTorch state dict.

    Attributes:
        file: A safetensors file of ours, or the folder of a run with its model.safetensors.
        out: The file to write, .pth, .pt or .safetensors.
        to: The framework.
        overwrite: Replace an existing file.
    """

    file: tyro.conf.Positional[Path]
    out: Path
    to: Literal["torch"] = "torch"
    overwrite: Flag = False


@dataclasses.dataclass(frozen=True)
class FlowInit:
    """Make weights for optical flow: the first convolution averaged and repeated.

    Attributes:
        file: What `convert` wrote.
        out: The file to write.
        channels: 2L for a stack of L flow fields.
        overwrite: Replace an existing file.
    """

    file: tyro.conf.Positional[Path]
    out: Path
    channels: int = 20
    overwrite: Flag = False


def inspect(options: Inspect) -> int:
    """Runs the command `inspect`."""
    from weights_port.formats.open import open_source
    from weights_port.report import print_source

    print_source(open_source(options.file, member=options.member))
    return 0


def convert(options: Convert) -> int:
    """Runs the command `convert`."""
    from weights_port import convert as work
    from weights_port.choice import Wishes
    from weights_port.report import print_plan

    source, plan = work.convert(
        options.file,
        options.arch,
        options.out,
        wishes=Wishes(
            layout=options.layout,
            prefix=options.prefix,
            place=options.place,
            pool=options.pool,
            channels=options.channels,
            scale=options.range,
            mean=options.input_mean,
            std=options.input_std,
        ),
        table=options.table,
        member=options.member,
        mean=options.mean,
        overwrite=options.overwrite,
        allow_nonfinite=options.allow_nonfinite,
    )
    print_plan(source, plan)
    print(f"written: {options.out}, {options.out.stat().st_size:,} bytes")
    return 0


def verify(options: Verify) -> int:
    """Runs the command `verify`; 1 where the two files do not agree."""
    from weights_port.verify import layer_reports, print_verdict, verify_arrays

    verdict, source = verify_arrays(options.file, options.against, options.member)
    print_verdict(verdict)
    if verdict.faults:
        return 1
    if options.arrays_only:
        return 0
    worst = layer_reports(options.file, source, options.image)
    if worst is None:
        print("torch is not installed: the networks were not run (prernn-jax[torch])")
        return 0
    print(f"largest relative difference of a layer: {worst:.3g} (at most {TOLERANCE:g} allowed)")
    return 0 if worst <= TOLERANCE else 1


def export(options: Export) -> int:
    """Runs the command `export`."""
    from weights_port.export import export as work

    for line in work(options.file, options.out, overwrite=options.overwrite):
        print(line)
    return 0


def flow_init(options: FlowInit) -> int:
    """Runs the command `flow-init`."""
    from weights_port.flow_init import flow_init as work

    work(options.file, options.channels, options.out, overwrite=options.overwrite)
    _, metadata = backbones.read_parameters(options.out)
    print(f"written: {options.out}; {metadata['derived']}")
    return 0


_Command = (
    Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[FlowInit, tyro.conf.subcommand("flow-init")]
)
_RUN: dict[type, Callable[..., int]] = {
    Inspect: inspect, Convert: convert, Verify: verify, Export: export, FlowInit: flow_init
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Runs a sub-command.

    Args:
        argv: The arguments.

    Returns:
        The status to exit with.

    Raises:
        InputError: A file or a flag cannot be used.
    """
    kind: Any = _Command  # tyro takes a union too
    options = parse(kind, argv, program="prernn port", description=str(__doc__))
    return _RUN[type(options)](options)


def program() -> None:
    """The command `prernn-port`, an alias of `prernn port`."""
    run_command(main)


if __name__ == "__main__":
    program()
