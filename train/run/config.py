"""What the configurations of all three applications share, and the checks of it."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from prernn_jax.backbones.remat import Remat
from prernn_jax.errors import InputError
from prernn_jax.precision import Precision
from prernn_jax.remote import shown

from ..engine import processes
from ..engine.devices import Parallel, make_mesh
from ..engine.optim import Optimizer, Schedule


@dataclass(frozen=True)
class Pretraining:
    """Stage one: the compact CNN on single frames or clips of the embedded data.

    Attributes:
        batch_size: Frames or clips in a step.
        learning_rate: The first learning rate; it falls along a cosine.
        seed: Seed of the weights and of the order of samples. The same CNN serves runs of any
            --seed.
    """

    batch_size: int = 32
    learning_rate: float = 0.05
    seed: int = 0


RENAMED = {"data_dir": "source"}
"""Former names of flags, which are accepted for one version."""

Trunk = Literal["trained", "frozen", "cached"]

_COSINE = Schedule(0.05, "cosine")


@dataclass(frozen=True)
class RunConfig:
    """Everything about a run that does not depend on the application.

    Attributes:
        preset: Where the defaults of all other flags come from: `embedded` suits a laptop, `paper`
            has the paper's settings. If not given: embedded for embedded data, else paper.
        source: Folder with the official files of a real data set.
        cache_dir: Folder for prepared data; ~/.cache/prernn_jax by default.
        model: `pre`: the CNN's own last layers become recurrent. `pre_sih`: the same with one
            input-to-hidden map for all gates. `traditional`: new recurrent layers on top.
            `feedforward`: no recurrence.
        cell: The cell of the recurrent layers.
        layers: Names of the layers that become recurrent. No name means all that can.
        init: Input-to-hidden weights of `pre` and `pre_sih`: keep the pre-trained ones or draw
            new ones.
        readout: `kept`: a converted layer hands on its hidden state through the CNN's own
            activation. `none`: it hands on the hidden state itself.
        extra: Number of further random recurrent layers behind the converted ones.
        stacked: Number of recurrent layers of `traditional`; by default as many as `pre`
            converts.
        hidden: Hidden size of `traditional`; by default the one with as many new weights as `pre`.
        weights: A pre-trained network, made by `prernn port convert` or by stage one of another
            run. Without it, stage one trains a compact CNN on embedded data.
        weights_input: The input that `weights` expects, where its file does not say it:
            torchvision's (RGB from 0 to 1 less the mean, divided by the deviation) or Caffe's (BGR
            from 0 to 255 less the mean).
        epochs: Passes over the training set.
        batch_size: Sequences in a step, over all devices.
        schedule: The learning rate over the epochs.
        optimizer: SGD with momentum, or Adam; stage one always has SGD.
        momentum: Momentum of SGD.
        weight_decay: Weight decay; added to the gradient, times the parameter.
        clip_norm: Largest global norm of a gradient; None for no clipping.
        dropout: Share of the output layer's inputs that training drops.
        batch_norm: Statistics that batch normalisation uses in training: those of the batch
            (`train`) or the stored ones (`frozen`).
        freeze: Regular expression; parameters whose whole name matches are not trained.
        trunk: What comes before the first recurrent layer: `trained` together with it; `frozen`, on
            samples without chance; `cached`: the same, computed once and kept in --cache_dir.
        trunk_rate: Learning rate of a trained trunk, as a share of the schedule's.
        views: The views of a sample with a frozen trunk: the middle one and views - 1 drawn ones.
        precision: Precision of products: float32 on every device, TF32 (on an NVIDIA GPU), or
            bfloat16, which activations are kept in too. Parameters and loss are float32.
        remat: What stage two computes again in the backward pass, to save memory: nothing; what is
            inside a block of the backbone; or that, what is inside a stage of blocks, and the
            products of the recurrence. The results are the same.
        accumulate: Parts in which stage two sends a device's sequences of a step through the
            network, one part after the other; the gradients are those of all (docs/gpu.md).
        seed: Seed of new weights, of the order of samples and of augmentation.
        workdir: Folder for runs and for the CNN of stage one.
        name: Name of the run's folder in workdir; by default made from the settings.
        devices: Number of devices that share a batch, those of all processes together.
        parallel: By which of JAX's ways a step runs on all devices; the results are the same.
            `pmap` is for one process only.
        coordinator: HOST:PORT of process 0, where several processes train together. Under SLURM,
            Open MPI and Kubernetes it is found, like the next two.
        num_processes: How many processes train together; 1 for this one alone.
        process_id: Number of this process, from 0.
        workers: Processes that read and augment, in testing too; 0 for threads of this process.
        checkpoint_every: Epochs from one checkpoint to the next.
        validate_every: Epochs from one validation to the next; 0 for one at the end only.
        film: Number of test videos in `film.gif`; 0 for no film.
        resume: Go on from the last checkpoint.
        config: `config.json` of another run, whose settings become the defaults of this one.
        tags: Words for finding the run again; they stand in its settings, summary and log.
        verbose: List every parameter, not only the layers.
    """

    application: ClassVar[str]
    positive: ClassVar[tuple[str, ...]] = ()
    """Further fields that must be 1 or more."""
    common: ClassVar[tuple[str, ...]] = (
        "preset", "source", "cache_dir", "model", "cell", "layers", "weights", "epochs",
        "batch_size", "trunk", "precision", "seed", "workdir", "name", "devices", "workers",
        "resume", "config",
    )  # fmt: skip
    """What --help lists; --help-all lists everything."""

    preset: Literal["embedded", "paper"] = "embedded"
    source: Path | None = None
    cache_dir: Path | None = None
    model: Literal["pre", "pre_sih", "traditional", "feedforward"] = "pre"
    cell: Literal["vrnn", "lstm", "gru"] = "gru"
    layers: tuple[str, ...] = ()
    init: Literal["pretrained", "random"] = "pretrained"
    readout: Literal["kept", "none"] = "kept"
    extra: int = 0
    stacked: int | None = None
    hidden: int | None = None
    weights: Path | None = None
    weights_input: Literal["torchvision", "caffe"] | None = None
    epochs: int = 1
    batch_size: int = 16
    schedule: Schedule = _COSINE
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = 5.0
    dropout: float = 0.0
    batch_norm: Literal["train", "frozen"] = "frozen"
    freeze: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    trunk: Trunk = "trained"
    trunk_rate: float = 1.0
    views: int = 1
    precision: Precision = "float32"
    remat: Remat = "none"
    accumulate: int = 1
    seed: int = 0
    workdir: Path = Path("runs")
    name: str | None = None
    devices: int = 1
    parallel: Parallel = "shard_map"
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    workers: int = 0
    checkpoint_every: int = 1
    validate_every: int = 1
    film: int = 4
    resume: bool = False
    config: Path | None = None
    tags: tuple[str, ...] = ()
    verbose: bool = False


def settings_of(config: RunConfig) -> dict[str, Any]:
    """A configuration as JSON values, with the name of its application, for the run's folder."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config), default=shown))
    return {"application": config.application, **settings}


def run_name(config: RunConfig, *kind: str) -> str:
    """The name of a run's folder: --name, or what distinguishes the run.

    Args:
        config: Configuration of the run.
        kind: What comes first, such as the data set and the stream.
    """
    parts: list[str] = [*kind, config.model]
    if config.model != "feedforward":
        parts += [config.cell, *config.layers]
    if config.model == "traditional":
        if config.stacked is not None:
            parts.append(f"{config.stacked}layers")
        if config.hidden is not None:
            parts.append(f"hidden{config.hidden}")
    if config.extra:
        parts.append(f"extra{config.extra}")
    if config.init == "random":
        parts.append("random")
    if config.readout == "none" and config.model in ("pre", "pre_sih"):
        parts.append("plain")
    return config.name or "-".join([*parts, f"seed{config.seed}"])


def check_run(config: RunConfig) -> None:
    """Raises an InputError for values that no run of any application can have."""
    for name in ("epochs", "views", "checkpoint_every", "stacked", "hidden", *config.positive):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: expected 1 or more")
    folder = config.name
    if folder and (Path(folder).name != folder or folder == ".." or not folder.isprintable()):
        raise InputError(
            f"--name={folder!r}: expected the name of a folder, without /; --workdir says where it "
            "lies"
        )
    config.schedule.check()
    if not 0 <= config.momentum < 1:
        raise InputError(f"--momentum={config.momentum}: expected 0 or more and less than 1")
    if not 0 <= config.weight_decay < math.inf:
        raise InputError(f"--weight_decay={config.weight_decay}: expected 0 or more")
    if config.clip_norm is not None and not 0 < config.clip_norm < math.inf:
        raise InputError(
            f"--clip_norm={config.clip_norm}: expected more than 0, or None for no clipping"
        )
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--seed={config.seed}: expected 0 to {2**32 - 1}")
    for name in ("workers", "extra", "validate_every", "film"):
        if getattr(config, name) < 0:
            raise InputError(f"--{name}={getattr(config, name)}: expected 0 or more")
    if config.trunk != "trained" and config.batch_norm != "frozen":
        raise InputError(
            f"--trunk={config.trunk} needs --batch_norm=frozen: a frozen trunk keeps its statistics"
        )
    if not 0 < config.trunk_rate < math.inf:
        raise InputError(
            f"--trunk_rate={config.trunk_rate}: expected more than 0; --trunk=frozen is for 0"
        )
    if config.trunk != "trained" and config.trunk_rate != 1:
        raise InputError("--trunk_rate belongs to --trunk=trained")
    if config.trunk == "trained" and config.views != 1:
        raise InputError("--views belongs to --trunk=frozen and --trunk=cached")
    if config.parallel == "pmap" and processes.count() > 1:
        raise InputError(
            "--parallel=pmap is for the devices of one process; several processes train together "
            "with --parallel=shard_map, which gives the same results"
        )
    if not 0 <= config.dropout < 1:
        raise InputError(f"--dropout={config.dropout}: expected 0 or more and less than 1")
    converted = config.model in ("pre", "pre_sih")
    if config.init == "random" and not converted:
        raise InputError(
            f"--init=random: --model={config.model} has no pre-trained layer to redraw"
        )
    if not converted and (config.extra or config.readout != "kept"):
        raise InputError(f"--extra and --readout have no meaning with --model={config.model}")
    if config.model != "traditional" and (config.hidden, config.stacked) != (None, None):
        raise InputError(
            f"--hidden and --stacked belong to --model=traditional, not to {config.model}"
        )


def check_start(
    config: RunConfig, data: str, pretraining: Pretraining, network: str, file: str, arch: str
) -> None:
    """Raises an InputError where a run has no data or no network to start from.

    Args:
        config: Configuration of the run.
        data: Its --data.
        pretraining: Its stage one.
        network: The paper's network.
        file: A file that `prernn port` could convert to it.
        arch: Its name for `prernn port convert --arch`.
    """
    if not 0 < pretraining.learning_rate < math.inf:
        raise InputError(
            f"--pretraining.learning_rate={pretraining.learning_rate}: expected more than 0"
        )
    if not 0 <= pretraining.seed < 2**32:
        raise InputError(f"--pretraining.seed={pretraining.seed}: expected 0 to {2**32 - 1}")
    if data == "embedded" and config.source is not None:
        raise InputError("--source belongs to real data; embedded data lie in --cache_dir")
    if data != "embedded" and config.source is None:
        raise InputError(f"--data={data} needs --source, the folder of the official files")
    if config.preset == "paper" and config.weights is None:
        raise InputError(
            f"--preset=paper starts from a pre-trained {network}: give --weights (prernn port "
            f"convert {file} --arch {arch} --out {arch}.safetensors), or --preset=embedded for "
            "the compact network"
        )
    if config.weights is None:
        make_mesh(config.devices, pretraining.batch_size, "--pretraining.batch_size")
