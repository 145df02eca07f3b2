"""A finished run, opened again: its settings, its model and its held-out data."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prernn_jax import remote
from prernn_jax.errors import InputError
from prernn_jax.files.models import load
from prernn_jax.json_values import typed
from prernn_jax.sequence import SequenceModel

from .applications import APPLICATIONS, application_of
from .engine.step import Batch
from .run.config import RunConfig
from .run.settings import read_values


def read_settings(path: Path) -> RunConfig:
    """Reads the settings of a run of any application.

    A setting that the file of an older run lacks gets its default.

    Raises:
        InputError: There is no such file, it does not name its application, or it holds a value
            that its field cannot have.
    """
    name, values = read_values(path)
    if name not in APPLICATIONS:
        raise InputError(
            f'{path}: "application" is {name!r}; expected one of {", ".join(APPLICATIONS)}'
        )
    found: RunConfig = typed(APPLICATIONS[name].config, values, str(path))
    return found


HeldOut = Literal["test", "validation"]


class FinishedRun(NamedTuple):
    """What a run has left.

    Attributes:
        path: Its folder.
        config: Its settings, on one device.
        model: Trained, for evaluation.
    """

    path: Path
    config: Any
    model: SequenceModel


def open_run(path: Path) -> FinishedRun:
    """Opens the folder of a finished run.

    Raises:
        InputError: There is none, the run in it has not ended, or a file in it is bad.
    """
    if not (path / "config.json").is_file():
        raise InputError(
            f"{path} is not the folder of a run: it has no config.json; give a folder that prernn "
            "train has written, such as runs/face/NAME"
        )
    missing = [n for n in ("model.safetensors", "summary.json") if not (path / n).is_file()]
    if missing:
        raise InputError(
            f"the run in {path} has not ended: there is no {' and no '.join(missing)}; finish it "
            "with --resume"
        )
    # One device is enough to look at a run.
    config = replace(read_settings(path / "config.json"), devices=1)
    model = load(path / "model.safetensors")
    if not isinstance(model, SequenceModel):
        raise InputError(f"{path / 'model.safetensors'} holds a backbone; expected a run's model")
    model.eval()
    return FinishedRun(path, config, model)


def held_out_batches(run: FinishedRun, split: HeldOut, batch_size: int) -> Iterable[Batch]:
    """Opens the data that the run had and hands out one of its held-out sets, as the run did.

    Args:
        run: The run.
        split: Name of the set.
        batch_size: Sequences B a batch.

    Returns:
        Re-iterable; dicts of `clips` (B, T, ...), `lengths`, `mask` bool (B,) and more.

    Raises:
        InputError: There are no such data, or no such set of them.
    """
    places = {
        name: remote.local(place)
        for name in ("source", "cache_dir")
        if (place := getattr(run.config, name)) is not None
    }
    config = replace(run.config, batch_size=batch_size, **places)
    application = application_of(config)
    application.check(config)
    data = application.open_data(config)
    if split not in data.splits:
        raise InputError(
            f"--set={split}: {config.data} has no such set, only {', '.join(data.splits)}"
        )
    first = getattr(run.model.backbone, "conv1a", None)  # only a C3D takes 1, 2 or 3 channels
    channels = 3 if first is None else first.in_features
    return application.held_out(config, data, split, channels)
