"""What the configurations of all three applications share, and the checks of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from prernn_jax.errors import InputError

from ..engine.devices import make_mesh
from ..engine.optim import Schedule
from ..engine.step import Precision


@dataclass(frozen=True)
class Pretraining:
    """Stage one: the compact CNN on single frames or clips of the embedded data.

    Attributes:
        batch_size: Frames or clips a step.
        learning_rate: First rate, falling along a cosine.
        seed: Of its weights and its order of samples; the same CNN serves runs of any --seed.
    """

    batch_size: int = 32
    learning_rate: float = 0.05
    seed: int = 0


_COSINE = Schedule(0.05, "cosine")


@dataclass(frozen=True)
class RunConfig:
    """Everything about a run that does not depend on the application.

    Attributes:
        preset: The defaults of all other flags: `embedded` for a laptop, `paper` for the paper's
            settings (supplementary material). Without it, that which belongs to --data.
        data_dir: Folder with the official files of real data.
        cache_dir: Where prepared data are kept; ~/.cache/prernn_jax when not given.
        model: `pre`: the CNN's own last layers made recurrent. `pre_sih`: one input-to-hidden map
            for all gates. `traditional`: new recurrent layers on top. `feedforward`: no recurrence.
        cell: Of the recurrent layers.
        layers: Names of the layers that become recurrent; all that can when none is named.
        init: Input-to-hidden weights of `pre` and `pre_sih`: kept or drawn anew.
        readout: `kept`: a converted layer hands on what the CNN's activation makes of its hidden
            state. `none`: the hidden state itself.
        extra: Further random recurrent layers behind the converted ones (Table 2).
        stacked: Recurrent layers of `traditional`.
        hidden: Their hidden size; without it, the one with as many new weights as `pre`.
        weights: A pre-trained network (from `prernn-port convert`, or stage one of another run);
            without it, stage one trains a compact CNN on embedded data.
        epochs: Passes over the training set.
        batch_size: Sequences a step, over all devices.
        schedule: Learning rate over the epochs.
        momentum: Of SGD.
        weight_decay: Added to the gradient, times the parameter.
        clip_norm: Largest global norm of a gradient.
        dropout: Share of the output layer's inputs dropped in training.
        batch_norm: In training, use the batch's statistics or the stored ones.
        freeze: Regular expressions: parameters whose whole name one matches are not trained.
        precision: Of activations and products; parameters and loss are float32.
        seed: Of new weights, the order of samples and augmentation.
        workdir: Where runs and the CNN of stage one are kept.
        name: Of this run's folder in workdir; made from the settings when not given.
        devices: Over how many devices a batch is split.
        workers: Processes that read and augment; 0 for threads of this one.
        checkpoint_every: Epochs from one checkpoint to the next.
        validate_every: Epochs from one look at the validation set to the next; 0 for none but the
            last, behind the training.
        resume: Go on from the last checkpoint.
    """

    preset: Literal["embedded", "paper"] = "embedded"
    data_dir: Path | None = None
    cache_dir: Path | None = None
    model: Literal["pre", "pre_sih", "traditional", "feedforward"] = "pre"
    cell: Literal["vrnn", "lstm", "gru"] = "gru"
    layers: tuple[str, ...] = ()
    init: Literal["pretrained", "random"] = "pretrained"
    readout: Literal["kept", "none"] = "kept"
    extra: int = 0
    stacked: int = 1
    hidden: int | None = None
    weights: Path | None = None
    epochs: int = 1
    batch_size: int = 16
    schedule: Schedule = _COSINE
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = 5.0
    dropout: float = 0.0
    batch_norm: Literal["train", "frozen"] = "frozen"
    freeze: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    precision: Precision = "float32"
    seed: int = 0
    workdir: Path = Path("runs")
    name: str | None = None
    devices: int = 1
    workers: int = 0
    checkpoint_every: int = 1
    validate_every: int = 1
    resume: bool = False


def run_name(config: RunConfig, *kind: str) -> str:
    """The name of a run's folder: --name, or what distinguishes the run.

    Args:
        config: Of the run.
        kind: What comes first, such as the data set and the stream.
    """
    parts: list[str] = [*kind, config.model]
    if config.model != "feedforward":
        parts += [config.cell, *config.layers]
    if config.model == "traditional":
        if config.stacked > 1:
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


def check_run(config: RunConfig, *at_least_one: str) -> None:
    """Raises an InputError for values that no run can have.

    Args:
        config: Of the run.
        at_least_one: Further fields that must be 1 or more.
    """
    for name in ("epochs", "checkpoint_every", "stacked", *at_least_one):
        if getattr(config, name) < 1:
            raise InputError(f"--{name}={getattr(config, name)}: expected 1 or more")
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--seed={config.seed}: expected 0 to {2**32 - 1}")
    for name in ("workers", "extra", "validate_every"):
        if getattr(config, name) < 0:
            raise InputError(f"--{name}={getattr(config, name)}: expected 0 or more")
    if config.hidden is not None and config.hidden < 1:
        raise InputError(f"--hidden={config.hidden}: expected 1 or more")
    if not 0 <= config.dropout < 1:
        raise InputError(f"--dropout={config.dropout}: expected 0 or more and less than 1")
    converted = config.model in ("pre", "pre_sih")
    if config.init == "random" and not converted:
        raise InputError(
            f"--init=random: --model={config.model} has no pre-trained layer to redraw"
        )
    if not converted and (config.extra or config.readout != "kept"):
        raise InputError(f"--extra and --readout have no meaning with --model={config.model}")
    if config.model != "traditional" and (config.hidden is not None or config.stacked != 1):
        raise InputError(
            f"--hidden and --stacked belong to --model=traditional, not to {config.model}"
        )


def check_start(
    config: RunConfig, data: str, pretraining: Pretraining, network: str, file: str, arch: str
) -> None:
    """Raises an InputError where a run has no data or no network to start from.

    Args:
        config: Of the run.
        data: Its --data.
        pretraining: Its stage one.
        network: The paper's network.
        file: A file that `prernn-port` could convert to it.
        arch: Its name for `prernn-port convert --arch`.
    """
    if not 0 <= pretraining.seed < 2**32:
        raise InputError(f"--pretraining.seed={pretraining.seed}: expected 0 to {2**32 - 1}")
    if data == "embedded" and config.data_dir is not None:
        raise InputError("--data_dir belongs to real data; embedded data lie in --cache_dir")
    if data != "embedded" and config.data_dir is None:
        raise InputError(f"--data={data} needs --data_dir, the official layout")
    if config.preset == "paper" and config.weights is None:
        raise InputError(
            f"--preset=paper starts from a pre-trained {network}: give --weights (prernn-port "
            f"convert {file} --arch {arch} --out {arch}.safetensors), or --preset=embedded for "
            "the compact network"
        )
    if config.weights is None:
        make_mesh(config.devices, pretraining.batch_size, "--pretraining.batch_size")
