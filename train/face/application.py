"""Sequential face alignment as an application: checks, data, network, stage two, report."""

import functools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.vgg import VGG16
from prernn_jax.data.drawn.face_builder import QUALITY
from prernn_jax.data.face.datasets import FaceData, embedded_faces, own_faces, vw300
from prernn_jax.data.face.files import FaceRecipe
from prernn_jax.data.face.loader import FaceView, read_faces
from prernn_jax.data.face.metrics import landmark_metrics, nme
from prernn_jax.data.face.point_set import IBUG, PointSet
from prernn_jax.data.face.records import FaceBoxes, read_boxes
from prernn_jax.data.records import RandomAccessSource
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.inference import Inference
from prernn_jax.predict.film import write_gif

from ..engine.evaluate import Predictions
from ..engine.log import say
from ..engine.step import Batch
from ..run.application import Application
from ..run.backbone import Backbone, read_weights
from ..run.config import check_start
from ..run.figures import error_curves
from ..run.film import step_outputs
from ..run.folder import RunFolder
from ..run.memory import Sizes
from ..run.stage_two import Outcome, Work, write_summary
from .config import FaceConfig, face_preset
from .film import film_frames
from .pretrain import CHANNELS, compact_backbone
from .task import (
    face_task,
    frames_of,
    measure,
    points,
    test_batches,
    train_batches,
)

_FILM_FRAMES = 60


def open_data(config: FaceConfig) -> FaceData:
    """The data set of a run; draws the embedded one, prepares a real one."""
    if config.data == "embedded":
        return embedded_faces(config.cache_dir, config.embedded)
    assert config.source is not None  # `check` has seen to it
    given = None if config.boxes is None else read_boxes(config.boxes)
    boxes = FaceBoxes(config.box, config.enlarge, given)
    if config.data == "folder":
        data = own_faces(
            config.source,
            config.cache_dir,
            root=config.root,
            seed=1 if config.split is None else config.split,
            boxes=boxes,
            size=config.size,
            mirror_pairs=config.mirror_pairs,
            normalise_by=config.normalise_by,
        )
        if data.points.mirrored is None and config.augmentation.flip:
            say(
                f"{data.points.count} landmarks: training does not mirror faces, since nothing "
                "says which landmarks mirror each other (--mirror_pairs)"
            )
        return data
    return vw300(config.source, config.cache_dir, boxes=boxes, size=config.size)


def open_backbone(config: FaceConfig, mesh: Mesh) -> Backbone:
    """The pre-trained network: that of --weights, or the compact one of stage one.

    Raises:
        InputError: The file is bad, or its network is another or takes pictures of another size.
    """
    if config.weights is None:
        return compact_backbone(
            config,
            lambda: embedded_faces(config.cache_dir, config.embedded, pretraining=True),
            mesh,
        )
    backbone = read_weights(config.weights, (CompactVGG, VGG16), "vgg16", config.weights_input)
    size = backbone.model.image_size
    if size != config.size:
        raise InputError(
            f"--weights {config.weights} takes pictures of {size} pixels; give --size={size} "
            f"in place of {config.size}"
        )
    return backbone


def check(config: FaceConfig) -> None:
    """Raises an InputError for values that no run can have."""
    check_start(config, config.data, config.pretraining, "VGG16", "vgg16.pth", "vgg16")
    if config.pretraining.hidden < 1:
        raise InputError(f"--pretraining.hidden={config.pretraining.hidden}: expected 1 or more")
    if config.data == "embedded" and config.boxes is not None:
        raise InputError("--boxes belongs to real data; the embedded faces have their own boxes")
    own = ("root", "split", "mirror_pairs", "normalise_by")
    given = [name for name in own if getattr(config, name) is not None]
    if given and config.data != "folder":
        raise InputError(f"--{given[0]} belongs to --data=folder; leave it out")
    if config.split is not None and not 0 <= config.split < 2**32:
        raise InputError(f"--split={config.split}: expected 0 or more")


def brief(metrics: Mapping[str, Any]) -> str:
    """The main metrics on one line."""
    errors = {k.removeprefix("nme_"): v for k, v in metrics.items() if k.startswith("nme_")}
    shown = "  ".join(f"{name.replace('_', ' ')} {100 * v:.2f}%" for name, v in errors.items())
    main = next(iter(errors))
    return (
        f"loss {metrics['loss']:.4f}  NME {shown}  AUC {metrics[f'auc_{main}']:.4f}  failures "
        f"{100 * metrics[f'failure_{main}']:.1f}%"
    )


def by_category(
    found: Predictions, source: RandomAccessSource, points: PointSet
) -> dict[str, dict[str, float]]:
    """Metrics of each test category that the records name."""
    video, predicted, landmarks = frames_of(found)
    category = np.array([source[number]["category"] for number in range(len(source))])[video]
    return {
        str(name): landmark_metrics(
            predicted[category == name], landmarks[category == name], points.normalisers
        )
        for name in np.unique(category)
        if name
    }


def make_film(
    outcome: Outcome, source: RandomAccessSource, config: FaceConfig, known: PointSet
) -> list[Any]:
    """The pictures of a film of the first test videos, at most _FILM_FRAMES frames each."""
    video, predicted, landmarks = frames_of(outcome.test)
    shown = range(min(config.film, len(source)))
    clips, parts = [], []
    for number in shown:
        mine = np.flatnonzero(video == number)[:_FILM_FRAMES]
        clips.append(read_faces(source[number], 0, len(mine), config.size, FaceView())[0])
        parts.append(mine)
    alone = [points(step_outputs(outcome.model, clip[:, None])[0][:, 0]) for clip in clips]
    rows: dict[str, list[Any]] = {
        "with memory": [predicted[p] for p in parts],
        "each frame alone": alone,
    }
    if not outcome.model.recurrent_layers:
        del rows["with memory"]
    true = [landmarks[p] for p in parts]
    return film_frames(clips, true, list(rows.values()), list(rows), known)


def held_out(config: FaceConfig, data: FaceData, split: str, channels: int) -> Iterable[Batch]:
    """The batches of a set, see `test_batches`."""
    return test_batches(
        data.splits[split], config, steps=config.steps, batch_size=config.batch_size
    )


def inference(config: FaceConfig, count: int) -> Inference:
    """What a trained model's file says of its input and its outputs."""
    drawn = config.data == "embedded"  # there the whole picture is the box
    return Inference(
        application="face",
        steps=config.steps,
        size=config.size,
        quality=QUALITY if drawn else FaceRecipe().quality,
        short_side=config.embedded.size if drawn else None,
        box="picture" if drawn else "face",
        enlarge=config.enlarge,
        points=count,
        batch_size=config.batch_size,
        precision=config.precision,
    )


def work(config: FaceConfig, data: FaceData, backbone: Backbone) -> Work:
    """What stage two trains and tests."""
    return Work(
        task=face_task(backbone.preprocess),
        outputs=2 * data.points.count,
        batches=train_batches(
            data.splits["train"],
            config,
            steps=config.steps,
            batch_size=config.batch_size,
            seed=config.seed,
            landmarks=data.points,
        ),
        held_out={name: held_out(config, data, name, 3) for name in data.splits if name != "train"},
        measure=functools.partial(measure, landmarks=data.points),
        curves=["loss", f"nme_{data.points.main}"],
        inference=inference(config, data.points.count),
    )


def sizes(config: FaceConfig) -> Sizes:
    """What decides the memory of a training step; own faces count as 68 landmarks."""
    make: Any = partial(VGG16, image_size=config.size)
    if config.preset == "embedded":
        make = partial(
            CompactVGG,
            channels=CHANNELS,
            hidden=config.pretraining.hidden,
            image_size=config.size,
        )
    sample = {
        "clips": jax.ShapeDtypeStruct((config.steps, config.size, config.size, 3), jnp.uint8),
        "landmarks": jax.ShapeDtypeStruct((config.steps, IBUG.count, 2), jnp.float32),
        "lengths": jax.ShapeDtypeStruct((), jnp.int32),
    }
    return Sizes(make, 2 * IBUG.count, face_task, sample)


def report(
    folder: RunFolder, name: str, config: FaceConfig, data: FaceData, outcome: Outcome, began: float
) -> dict[str, Any]:
    """Draws the error curves and the film, writes `summary.json` and prints the result.

    Returns:
        What is in the summary.
    """
    test = data.splits["test"]
    _, predicted, landmarks = frames_of(outcome.test)
    errors = {name: nme(predicted, landmarks, how) for name, how in data.points.normalisers.items()}
    error_curves(folder.path / "errors.png", errors, f"{name}, {len(predicted)} test frames")
    if config.film:
        write_gif(folder.path / "film.gif", make_film(outcome, test, config, data.points))
    categories = by_category(outcome.test, test, data.points)
    facts = {"frames": len(predicted), "categories": categories}
    if data.split_table:
        write_text(folder.path / "split.csv", data.split_table)
        facts["landmarks"] = data.points.count
    summary = write_summary(folder, outcome, began, facts)
    for category, metrics in categories.items():
        say(f"test, category {category}: {brief(metrics)}")
    say(f"test: {brief(summary)}  ({summary['seconds']:.0f} s; {folder.path})")
    return summary


FACE = Application(
    name="face",
    description=(
        "Sequential face alignment: landmarks in every frame of a video, 68 or any other number. "
        "Stage one gives a CNN that knows single faces; fc6, fc7 or both become recurrent; stage "
        "two trains everything together on sequences; then the test set."
    ),
    examples=(
        "prernn train face",
        "prernn train face --model=feedforward",
        "prernn train face --data=folder --source=DIR",
        "prernn train face --data=300vw --source=DIR --weights=vgg16.safetensors",
    ),
    config=FaceConfig,
    preset=face_preset,
    deciding=("preset", "data"),
    common=("data", "box", "enlarge"),
    kind=lambda config: (config.data,),
    check=check,
    open_data=open_data,
    open_backbone=open_backbone,
    work=work,
    held_out=held_out,
    report=report,
    sizes=sizes,
)
