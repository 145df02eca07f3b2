"""Stage two of every application: the pre-trained CNN made recurrent, trained and tested."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from prernn_jax.backbones.head import choose_layers
from prernn_jax.data.batches import TrainLoader
from prernn_jax.files.atomic import write_json
from prernn_jax.files.backbones import flat_parameters
from prernn_jax.files.models import apply_surgery, save
from prernn_jax.inference import Inference
from prernn_jax.new_weights import matched_hidden
from prernn_jax.sequence import SequenceModel

from ..engine import processes
from ..engine.checkpoint import Checkpoints
from ..engine.devices import set_up
from ..engine.evaluate import Predictions, evaluate
from ..engine.log import MetricsLog, console, say
from ..engine.loop import Plan, fit
from ..engine.optim import has_ended, reduction, sgd
from ..engine.step import Batch, Task, TrainState
from .backbone import Backbone
from .calibration import calibrate
from .config import RunConfig
from .feature_batches import (
    Cache,
    FeatureLoader,
    FixedSet,
    batches_of_features,
    batches_per_epoch,
)
from .figures import learning_curves, parameter_table
from .folder import RunFolder
from .trunk import trunk_parameters


def optimizer_of(
    config: RunConfig, steps_per_epoch: int, trunk: str
) -> optax.GradientTransformation:
    """The optimiser that a run's settings describe; `trunk` matches its parameters' names."""
    return sgd(
        config.schedule,
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        kind=config.optimizer,
        slower=None if config.trunk_rate == 1 else (trunk, config.trunk_rate),
    )


def surgery_call(config: RunConfig, backbone: Backbone, outputs: int) -> dict[str, Any]:
    """The function that makes the sequence model, and its arguments, as `apply_surgery` takes them.

    Args:
        config: Says how the backbone is changed.
        backbone: The pre-trained network.
        outputs: Size K of the new output layer.
    """
    if config.model == "feedforward":
        return {"function": "per_frame", "outputs": outputs, "dropout": config.dropout}
    layers = config.layers or None
    if config.model == "traditional":
        depth = config.stacked or len(choose_layers(backbone.model, layers))
        hidden = config.hidden or matched_hidden(
            backbone.model, layers, config.cell, depth=depth, outputs=outputs
        )
        return {
            "function": "stack_recurrent",
            "cell": config.cell,
            "hidden": hidden,
            "depth": depth,
            "outputs": outputs,
            "dropout": config.dropout,
        }
    return {
        "function": "make_recurrent",
        "layers": layers,
        "cell": config.cell,
        "shared": config.model == "pre_sih",
        "init": config.init,
        "extra": config.extra,
        "outputs": outputs,
        "readout": None if config.readout == "none" else config.readout,
        "dropout": config.dropout,
    }


@dataclass(frozen=True)
class Work:
    """What stage two trains and tests.

    Attributes:
        task: Input, loss and predictions.
        outputs: Size K of the output layer.
        batches: Batches of the training set, without end.
        held_out: The `test` set and, where there is one, the `validation` set, in batches.
        measure: Predictions of a set -> its metrics.
        curves: Metrics to draw over the epochs.
        inference: What the model's file is to say of its input and its outputs.
        fixed: The training set without chance, for a frozen trunk.
        cache: Where the features of a frozen trunk are kept, without the trunk's own name.
    """

    task: Task
    outputs: int
    batches: TrainLoader
    held_out: Mapping[str, Iterable[Batch]]
    measure: Callable[[Predictions], Mapping[str, float]]
    curves: Sequence[str]
    inference: Inference | None = None
    fixed: FixedSet | None = None
    cache: Cache | None = None


class Outcome(NamedTuple):
    """What a run ends with.

    Attributes:
        test: Predictions for the test set, and the labels and names from its batches.
        metrics: Metrics of the test set.
        validation: Predictions for the validation set; None if there is no such set.
        validation_metrics: Metrics of the validation set.
        model: The trained network, for evaluation.
        sample: The first batch of the test set.
        surgery: The call that made the model, see `train.run.stage_two`.
        parameters: Number of the model's parameters.
        train_seconds: From the first step to the last, validation and compilation included.
    """

    test: Predictions
    metrics: dict[str, float]
    validation: Predictions | None
    validation_metrics: dict[str, float]
    model: SequenceModel
    sample: Batch
    surgery: dict[str, Any]
    parameters: int
    train_seconds: float


def train_and_test(
    config: RunConfig, folder: RunFolder, backbone: Backbone, given: Work, mesh: Mesh
) -> Outcome:
    """Makes the backbone recurrent, trains all of it, tests it and saves the model.

    Args:
        config: Configuration of the run.
        folder: The run's; begun here, once all that the run needs is there.
        backbone: The pre-trained network; left as it was.
        given: What is trained and tested; its loader is closed at the end.
        mesh: Devices to train on.
    """
    # -------------------------------------------------------------------- made recurrent
    surgery = surgery_call(config, backbone, given.outputs)
    model = apply_surgery(backbone.model, surgery, rngs=nnx.Rngs(config.seed))

    if config.init == "random" and config.batch_norm == "frozen":
        calibrate(model, given.task, given.batches)

    # --------------------------------------------------------------- step and its state
    frozen, trunk = config.trunk != "trained", trunk_parameters(model)
    optimizer = optimizer_of(config, batches_per_epoch(config, given), trunk)
    training = set_up(
        model,
        given.task,
        optimizer,
        mesh,
        batch_norm=config.batch_norm,
        precision=config.precision,
        freeze=(*config.freeze, trunk) if frozen else config.freeze,
        features=frozen,
        remat=config.remat,
        accumulate=config.accumulate,
        seed=config.seed,
        parallel=config.parallel,
    )
    late = model.late_layers
    del model  # its arrays are in the state now
    folder.begin()
    state = training.state
    before = flat_parameters(backbone.model)
    whole = processes.local(state)
    arrays = (whole.params, whole.frozen, before)
    console.print(parameter_table(*arrays, backbone.source, verbose=config.verbose))
    parameters = sum(value.size for value in {**whole.params, **whole.frozen}.values())

    # -------------------------------------------------------------------------- training
    batches: TrainLoader | FeatureLoader = given.batches
    held_out = given.held_out
    if frozen:
        given.batches.close()
        batches, held_out = batches_of_features(config, given, training, late)
    checkpoints = Checkpoints(folder.path / "checkpoints")
    log: MetricsLog | None = None
    try:
        if config.resume and checkpoints.latest is not None:
            state, position = checkpoints.restore(state)
            batches.set_state(position)
            say(f"resumed at step {int(state.step)}")
        if processes.is_first():
            log = MetricsLog(folder.path, int(state.step))
            if config.tags and not int(state.step):
                log.tag(config.tags)

        def predictions(state: TrainState, split: str) -> Predictions:
            return evaluate(training.eval_step, state, held_out[split], mesh)

        def validate(state: TrainState) -> Mapping[str, float]:
            return given.measure(predictions(state, "validation"))

        plan = Plan(
            name=f"{config.model}, stage two",
            epochs=config.epochs,
            batch_size=config.batch_size,
            rate=lambda state, epoch: (
                config.schedule.rate(epoch, config.epochs) * reduction(state.opt_state)
            ),
            checkpoint_every=config.checkpoint_every,
            validate_every=config.validate_every,
            validate=validate if "validation" in given.held_out else None,
            ended=lambda state: has_ended(config.schedule, state.opt_state),
        )
        began = time.perf_counter()
        state = fit(state, training.train_step, batches, mesh, plan, log, checkpoints)
        train_seconds = time.perf_counter() - began

        # ------------------------------------------------------------------------- test
        found = predictions(state, "test")
        sample = {
            name: processes.rows_of_all(values)
            for name, values in sorted(next(iter(given.held_out["test"])).items())
        }
        metrics = dict(given.measure(found))
        validation, validation_metrics = None, dict[str, float]()
        if "validation" in given.held_out:
            validation = predictions(state, "validation")
            validation_metrics = dict(given.measure(validation))
        trained = training.model(state)
        trained.inference = given.inference
        if log is not None:
            log.write(int(state.step), "test", metrics)
            save(folder.path / "model.safetensors", trained, overwrite=True)
            curves = log.read("train"), log.read("validation")
            learning_curves(folder.path / "curves.png", *curves, given.curves)
    finally:
        batches.close()
        if log is not None:
            log.close()
        checkpoints.close()
    return Outcome(
        found,
        metrics,
        validation,
        validation_metrics,
        trained,
        sample,
        surgery,
        parameters,
        train_seconds,
    )


def write_summary(
    folder: RunFolder, outcome: Outcome, began: float, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes `summary.json` and returns what is in it.

    Args:
        folder: The run's.
        outcome: Outcome of the run.
        began: `time.perf_counter()` at its start.
        facts: What the application adds, such as chance.
    """
    summary = {
        **outcome.metrics,
        **facts,
        "validation": outcome.validation_metrics,
        "surgery": outcome.surgery,
        "parameters": outcome.parameters,
        "train_seconds": round(outcome.train_seconds, 1),
        "seconds": round(time.perf_counter() - began, 1),
        "device": jax.devices()[0].device_kind,
        "folder": str(folder.path),
    }
    if folder.settings["tags"]:
        summary["tags"] = folder.settings["tags"]
    write_json(folder.path / "summary.json", summary)
    return summary
