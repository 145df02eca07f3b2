"""Table 3 on features of real videos: `prernn tables --table=features --source=FILE.npz`.

fc7 is trained on single frames first (the pre-training): of other classes, of other videos of the
same classes, or of the few labelled videos themselves. Then it becomes recurrent and learns the few
videos. Every seed draws classes, videos and weights. Rates are chosen for each structure on
validation groups of a seed of its own.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax.command import parse
from prernn_jax.data.video_features import VideoFeatures, read_video_features
from prernn_jax.errors import InputError
from prernn_jax.files.models import apply_surgery
from prernn_jax.metrics import top1

from ..action.config import ActionConfig
from ..engine.log import say
from ..run.backbone import Backbone
from ..run.stage_two import surgery_call
from .claims import judge
from .feature_runs import (
    Compiled,
    Draw,
    Frames,
    Length,
    compiled,
    draw_videos,
    pretrained,
    structure_of,
)
from .grid import Structure, grid
from .outcome import TOP1, device_of
from .report import write_table
from .settings import SEEDS, TUNING_SEED
from .statistics import mean_sd

TABLE = "features"
NAMES: dict[Frames, str] = {
    "other_classes": TABLE,
    "other_videos": f"{TABLE}-videos",
    "same_videos": f"{TABLE}-same",
}
"""Pre-training -> what the table's files are called."""
TITLES: dict[Frames, str] = {
    "other_classes": "Table 3 on real videos, fc7 from other classes",
    "other_videos": "Table 3 on real videos, fc7 from other videos of the same classes",
    "same_videos": "Table 3 on real videos, fc7 from the same few videos",
}
_CHUNK = 32  # test videos at a time


@dataclass(frozen=True)
class FeatureTable:
    """Table 3 on features of real videos.

    Attributes:
        source: The npz file (docs/data.md, "Features of videos").
        test_set: Name of the array in it that says which videos are for testing.
        seeds: How many seeds draw classes, videos and weights.
        pretraining: Whose frames fc7 learns: those of other classes, half of all; of other videos
            of the same classes, from other groups; or of the few labelled videos themselves.
        videos: Labelled videos a class, each of a group of its own.
        steps: Time steps T, evenly placed.
        units: Only the first so many features of the file; all when not given.
        hidden: Units of fc7.
        training_steps: Steps of SGD, with `batch_size` sequences each.
        batch_size: Sequences a step.
        frame_steps: Steps of fc7's pre-training, with 64 frames each.
        rates: Learning rates to choose from.
        quick: A few structures only, to see the program work.
        out: Where `tablefeatures.json`, `.md` and `.png` are written; with other pre-training the
            name says which.
    """

    source: Path
    test_set: str | None = None
    seeds: int = 10
    pretraining: Frames = "other_classes"
    videos: int = 1
    steps: int = 9
    units: int | None = None
    hidden: int = 512
    training_steps: int = 150
    batch_size: int = 32
    frame_steps: int = 300
    rates: tuple[float, ...] = (0.01, 0.03, 0.1)
    quick: bool = False
    out: Path = Path("tables")


def check(config: FeatureTable) -> None:
    """Raises an InputError for what cannot be run."""
    names = (
        "videos", "steps", "units", "hidden", "training_steps", "batch_size", "frame_steps",
    )  # fmt: skip
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: expected 1 or more")
    if not 1 <= config.seeds <= len(SEEDS):
        raise InputError(f"--seeds={config.seeds}: expected 1 to {len(SEEDS)}")
    if not config.rates or min(config.rates) <= 0:
        raise InputError(f"--rates {config.rates}: expected one or more, all above 0")


class Runs:
    """The runs of a table: a seed's data and CNN are made once, a structure is compiled once.

    Args:
        config: The configuration of the table.
        data: The videos.
    """

    def __init__(self, config: FeatureTable, data: VideoFeatures) -> None:
        self.config, self.data = config, data
        self._compiled: dict[str, Compiled] = {}
        self._seed: tuple[int, Draw, Any] | None = None
        self.facts: dict[str, dict[str, Any]] = {}

    def _trained(self, key: str, model: Any, x: Any, y: Any, order: Any, rate: float) -> Any:
        network, params = structure_of(model)
        done = self._compiled.setdefault(key, compiled(network))
        given = (jnp.asarray(x), jnp.asarray(y), jnp.asarray(order), jnp.float32(rate))
        return done, done.train(params, *given)

    def _of_seed(self, seed: int) -> tuple[Draw, Any]:
        if self._seed is None or self._seed[0] != seed:
            config = self.config
            draw = draw_videos(self.data, seed, config.videos, config.pretraining)

            def run(model: Any, x: Any, y: Any, order: Any) -> Mapping[str, Any]:
                wrapped = apply_surgery(model, {"function": "per_frame"}, rngs=nnx.Rngs(seed))
                found: Mapping[str, Any] = self._trained("fc7", wrapped, x, y, order, 0.03)[1]
                return found

            length = Length(config.frame_steps, 64)
            net = pretrained(self.data, draw, config.steps, config.hidden, length, seed, run)
            self._seed = seed, draw, net
        return self._seed[1], self._seed[2]

    def value(
        self, structure: Structure, seed: int, rate: float, test: bool
    ) -> tuple[float, float]:
        """Top-1 and mean negative log likelihood of the test or the validation videos."""
        draw, net = self._of_seed(seed)
        config = replace(ActionConfig(), **{**structure.changes, "seed": seed})
        surgery = surgery_call(config, Backbone(net, ""), len(draw.classes))
        model = apply_surgery(net, surgery, rngs=nnx.Rngs(seed))
        x, y = self._videos(draw, draw.train)
        order = Length(self.config.training_steps, self.config.batch_size).order(len(x), seed)
        done, params = self._trained(structure.key, model, x, y, order, rate)
        size = sum(value.size for value in jax.tree.leaves(params))
        self.facts[structure.key] = {"parameters": size, "hidden": surgery.get("hidden")}
        shown = draw.test if test else draw.validation
        scores = []
        for start in range(0, len(shown), _CHUNK):
            part, _ = self._videos(draw, shown[start : start + _CHUNK])
            filled = np.pad(part, ((0, _CHUNK - len(part)), (0, 0), (0, 0)))
            scores.append(np.asarray(done.predict(params, filled)[0])[: len(part)])
        found = np.concatenate(scores)
        labels = np.searchsorted(draw.classes, self.data.labels[shown])
        nll = -np.log(np.maximum(found[np.arange(len(found)), labels], 1e-9)).mean()
        return top1(found, labels), float(nll)

    def _videos(self, draw: Draw, numbers: Any) -> tuple[Any, Any]:
        labels = np.searchsorted(draw.classes, self.data.labels[numbers]).astype(np.int32)
        return self.data.values(numbers, self.config.steps), labels


def run(config: FeatureTable) -> dict[str, Any]:
    """Runs the table; returns what is in its JSON."""
    check(config)
    began = time.perf_counter()
    data = read_video_features(config.source, config.test_set)
    if config.units is not None:
        data = data._replace(
            features=data.features[..., : config.units], scale=data.scale[: config.units]
        )
    places = grid(3, config.hidden, config.quick, small=True)
    runs = Runs(config, data)
    seeds = list(SEEDS[: config.seeds])
    tuning: dict[str, dict[str, float]] = {}
    for structure in places.structures:
        losses = {r: runs.value(structure, TUNING_SEED, r, test=False)[1] for r in config.rates}
        tuning[structure.key] = {f"{rate:g}": loss for rate, loss in losses.items()}
        say(f"rates of {structure.key}: {tuning[structure.key]}")
    chosen = {key: float(min(found, key=found.__getitem__)) for key, found in tuning.items()}
    values: dict[str, dict[str, float]] = {structure.key: {} for structure in places.structures}
    for seed in seeds:
        for structure in places.structures:
            found, _ = runs.value(structure, seed, chosen[structure.key], test=True)
            values[structure.key][str(seed)] = found
            say(f"seed {seed}, {structure.key}: {100 * found:.1f}")
    cells = []
    for structure in places.structures:
        mean, sd = mean_sd(list(values[structure.key].values()))
        cells.append(
            {
                "row": structure.row,
                "column": structure.column,
                "structure": dict(structure.changes),
                "paper": None,
                "values": values[structure.key],
                "failed": [],
                "mean": mean,
                "sd": sd,
                "rate": chosen[structure.key],
                **runs.facts[structure.key],
            }
        )
    flags = [f"--{n}={v}" for n, v in vars(config).items() if v != getattr(FeatureTable(Path()), n)]
    command = ["prernn tables --table=features --source=FILE", *flags]
    result = {
        "table": NAMES[config.pretraining],
        "title": TITLES[config.pretraining],
        "data": config.source.name,
        "quick": config.quick,
        "metric": TOP1,
        "command": " ".join(part for part in command if not part.startswith(("--source", "--out"))),
        "date": time.strftime("%Y-%m-%d"),
        "device": device_of([{"device": jax.devices()[0].device_kind}]),
        "seconds": round(time.perf_counter() - began, 1),
        "seeds": {"classes, videos and weights": seeds, "training": seeds, "tuning": [TUNING_SEED]},
        "settings": {
            name: getattr(config, name)
            for name in (
                "pretraining", "videos", "steps", "units", "hidden", "training_steps",
                "batch_size", "frame_steps",
            )
        },
        "rates": {
            "tried": list(config.rates),
            "how": "of each structure the rate with the lowest validation loss, on a draw of its "
            "own",
            "validation": tuning,
        },
        "columns": [{"key": key, "label": label} for key, label in places.columns.items()],
        "rows": [{"key": key, "label": label} for key, label in places.rows.items()],
        "cells": cells,
        **judge(NAMES[config.pretraining], TOP1, cells),
    }  # fmt: skip
    for path in write_table(config.out, result):
        say(f"written: {path}")
    return result


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = parse(
        FeatureTable,
        argv,
        program="prernn tables --table=features",
        description=(
            "Table 3 on features of real videos: fc7 learns from single frames, becomes recurrent "
            "and learns from few videos; every structure, many draws."
        ),
        examples=("prernn tables --table=features --source=ucf101_fc6.npz --videos=1",),
    )
    run(config)
