"""A finished run, opened again: its settings, its model and its held-out data."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prernn_jax.errors import InputError
from prernn_jax.saved_model import load_model
from prernn_jax.sequence import SequenceModel
from train import action, action_batches, face, face_task, gesture, gesture_batches
from train.action_config import ActionConfig
from train.face_config import FaceConfig
from train.read_settings import AnyConfig, read_settings
from train.step import Batch

HeldOut = Literal["test", "validation"]


class FinishedRun(NamedTuple):
    """What a run has left.

    Attributes:
      path: Its folder.
      config: Its settings, on one device.
      model: Trained, for evaluation.
    """

    path: Path
    config: AnyConfig
    model: SequenceModel


def open_run(path: Path) -> FinishedRun:
    """Opens the folder of a finished run.

    Raises:
      InputError: There is none, the run in it has not ended, or a file in it is bad.
    """
    if not (path / "config.json").is_file():
        raise InputError(
            f"{path} is no folder of a run: there is no config.json in it; give what train.face, "
            "train.action or train.gesture left, such as runs/face/NAME"
        )
    missing = [n for n in ("model.safetensors", "summary.json") if not (path / n).is_file()]
    if missing:
        raise InputError(
            f"the run in {path} has not ended: there is no {' and no '.join(missing)}; finish it "
            "with --resume"
        )
    # It is looked at on one device, whatever it was trained on.
    config = replace(read_settings(path / "config.json"), devices=1)
    model = load_model(path / "model.safetensors")
    model.eval()
    return FinishedRun(path, config, model)


def held_out_batches(run: FinishedRun, split: HeldOut, batch_size: int) -> Iterable[Batch]:
    """Opens the data that the run had and hands out one of its held-out sets, as the run did.

    Args:
      run: The run.
      split: Which set.
      batch_size: Sequences B a batch.

    Returns:
      Re-iterable; dicts of `clips` (B, T, ...), `lengths`, `mask` bool (B,) and more.

    Raises:
      InputError: There are no such data, or no such set of them.
    """
    config = run.config
    sizes = {"steps": config.steps, "batch_size": batch_size}
    data: Any
    if isinstance(config, FaceConfig):
        face.check(config)
        data = face.open_data(config)
        source = _set_of(data.splits, split, config)
        return face_task.test_batches(source, config, **sizes)
    if isinstance(config, ActionConfig):
        action.check(config)
        data = action.open_data(config)
        source = _set_of(data.splits, split, config)
        return action_batches.test_batches(source, config.stream, config, **sizes)
    gesture.check(config)
    data = gesture.open_data(config)
    _set_of(data.splits, split, config)
    channels = run.model.backbone.conv1a.in_features
    return gesture_batches.gesture_test_batches(
        data, split, config, channels, stride=config.stride, **sizes
    )


def _set_of(splits: Any, name: str, config: AnyConfig) -> Any:
    if name not in splits:
        raise InputError(f"--set={name}: {config.data} has no such set, only {', '.join(splits)}")
    return splits[name]
