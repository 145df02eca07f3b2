"""Stage one: a compact CNN trained on single frames or clips, kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from prernn_jax.data.batches import TrainLoader
from prernn_jax.errors import InputError
from prernn_jax.files.models import apply_surgery, save
from prernn_jax.remote import publish, refresh

from ..engine import processes
from ..engine.devices import set_up
from ..engine.evaluate import Predictions, evaluate
from ..engine.log import say
from ..engine.loop import Plan, fit
from ..engine.optim import Schedule, sgd
from ..engine.step import Batch, Task, TrainState
from .backbone import Backbone, read_backbone
from .config import Pretraining, RunConfig
from .folder import make_folder


def kept_backbone(
    config: RunConfig, name: str, settings: Mapping[str, Any], make: Callable[[], Backbone]
) -> Backbone:
    """The CNN of stage one: read if its file is there and sound, else trained and written.

    Args:
        config: Says where it is kept; its optimiser's settings count among those that decide.
        name: What the file's name begins with.
        settings: JSON values: everything else that decides the result. A change of any of them
            means a new training.
        make: Trains it.
    """
    deciding = dict(settings) | {
        name: getattr(config, name)
        for name in ("momentum", "weight_decay", "clip_norm", "precision")
    }
    key = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
    path = config.workdir / "pretrained" / f"{name}-{key}.safetensors"
    refresh(path)
    found = _read_sound(path) if processes.is_first() else None
    if processes.from_first(lambda: found is not None):
        say(f"stage one: using {path}")
        return (found or read_backbone(path))._replace(source="stage one")
    backbone = make()

    def write() -> None:
        make_folder(path.parent)
        save(path, backbone.model, overwrite=True)
        publish(path)

    processes.from_first(write)
    say(f"stage one: written to {path}")
    return backbone._replace(source="stage one", path=path)


def _read_sound(path: Path) -> Backbone | None:
    """The network in the file, if it is there and can be read; a damaged one is put aside."""
    if not path.is_file():
        return None
    try:
        return read_backbone(path)
    except InputError as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        say(f"stage one: {error}; the file is now {aside}, and the training begins again")
        return None


def train_backbone(
    config: RunConfig,
    start: Backbone,
    task: Task,
    outputs: int,
    batches: TrainLoader,
    validation: Iterable[Batch],
    measure: Callable[[Predictions], Mapping[str, float]],
    settings: Pretraining,
    *,
    name: str,
    epochs: int,
    mesh: Mesh,
) -> Backbone:
    """Trains a CNN on sequences of one step.

    Args:
        config: Configuration of the run: momentum, weight decay, clipping, precision.
        start: The network to start from; left as it was.
        task: Input, loss and predictions.
        outputs: Size of its new output layer.
        batches: Batches of the training set; closed at the end.
        validation: Batches of the validation set.
        measure: Predictions on the validation set -> metrics to show.
        settings: Settings of stage one.
        name: What is trained, for the screen.
        epochs: Passes over the training set.
        mesh: Devices to train on.
    """
    schedule = Schedule(settings.learning_rate, "cosine", warmup=0.5)
    optimizer = sgd(
        schedule,
        epochs=epochs,
        steps_per_epoch=batches.batches_per_epoch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    surgery = {"function": "per_frame", "outputs": outputs}
    training = set_up(
        apply_surgery(start.model, surgery, rngs=nnx.Rngs(settings.seed)),
        task,
        optimizer,
        mesh,
        precision=config.precision,
        seed=settings.seed,
        parallel=config.parallel,
    )

    def validate(state: TrainState) -> Mapping[str, float]:
        return measure(evaluate(training.eval_step, state, validation, mesh))

    plan = Plan(
        name=f"stage one, {name}",
        epochs=epochs,
        batch_size=settings.batch_size,
        rate=lambda _, epoch: schedule.rate(epoch, epochs),
        validate=validate,
    )
    try:
        state = fit(training.state, training.train_step, batches, mesh, plan)
    finally:
        batches.close()  # its threads or processes must not run during stage two
    return Backbone(training.model(state).backbone, start.source)
