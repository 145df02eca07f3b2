"""Table 3 on features of real videos: `prernn tables --table=features --source=FILE.npz`.

fc7 is trained on single frames first (the pre-training): of other classes, of other videos of the
same classes, or of the few labelled videos themselves. Then it becomes recurrent and learns the few
videos. Every seed draws classes, videos and weights. Rates are chosen for each structure on
validation groups of a seed of its own.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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
    Length,
    compiled,
    draw_videos,
    pretrained,
    structure_of,
)
from .feature_settings import NAMES, SETTINGS, TITLES, FeatureTable, check, command_of
from .grid import Structure, grid, only
from .kept_values import KeptValues
from .outcome import TOP1, device_of
from .report import write_table
from .settings import SEEDS, TUNING_SEED
from .statistics import mean_sd

_CHUNK = 32  # test videos at a time


class Value(NamedTuple):
    """What came of a run.

    Attributes:
        top1: Accuracy of the videos.
        nll: Mean negative log likelihood.
        parameters: Of the network, all that are trained.
        hidden: Hidden size of a traditional network.
    """

    top1: float
    nll: float
    parameters: int
    hidden: int | None


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
        about = {name: getattr(config, name) for name in SETTINGS} | {"data": config.source.name}
        self._kept = KeptValues(config.workdir, about | {"videos of the file": len(data.labels)})

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

    def value(self, structure: Structure, seed: int, rate: float, test: bool) -> Value:
        """What comes of a run on the test or the validation videos."""
        name = f"{structure.key}, seed {seed}, rate {rate:g}, {'test' if test else 'validation'}"
        return Value(*self._kept.get(name, lambda: self._value(structure, seed, rate, test)))

    def _value(self, structure: Structure, seed: int, rate: float, test: bool) -> Value:
        draw, net = self._of_seed(seed)
        config = replace(ActionConfig(), **{**structure.changes, "seed": seed})
        surgery = surgery_call(config, Backbone(net, ""), len(draw.classes))
        model = apply_surgery(net, surgery, rngs=nnx.Rngs(seed))
        x, y = self._videos(draw, draw.train)
        order = Length(self.config.training_steps, self.config.batch_size).order(len(x), seed)
        done, params = self._trained(structure.key, model, x, y, order, rate)
        size = sum(value.size for value in jax.tree.leaves(params))
        shown = draw.test if test else draw.validation
        scores = []
        for start in range(0, len(shown), _CHUNK):
            part, _ = self._videos(draw, shown[start : start + _CHUNK])
            filled = np.pad(part, ((0, _CHUNK - len(part)), (0, 0), (0, 0)))
            scores.append(np.asarray(done.predict(params, filled)[0])[: len(part)])
        found = np.concatenate(scores)
        labels = np.searchsorted(draw.classes, self.data.labels[shown])
        nll = -np.log(np.maximum(found[np.arange(len(found)), labels], 1e-9)).mean()
        if not np.isfinite(nll):
            nll = math.inf  # a rate that diverges must not be chosen: a NaN is not lower
        return Value(top1(found, labels), float(nll), size, surgery.get("hidden"))

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
    places = only(grid(3, config.hidden, config.quick, small=True), config.cells)
    runs = Runs(config, data)
    seeds = list(SEEDS[: config.seeds])
    draws = range(TUNING_SEED, TUNING_SEED + config.tuning_draws)
    losses: dict[str, dict[float, list[float]]] = {}
    for seed in draws:
        for structure in places.structures:
            for rate in config.rates:
                loss = runs.value(structure, seed, rate, test=False).nll
                losses.setdefault(structure.key, {}).setdefault(rate, []).append(loss)
    tuning = {
        key: {f"{rate:g}": float(np.mean(found)) for rate, found in of_rates.items()}
        for key, of_rates in losses.items()
    }
    say(f"validation loss by rate: {tuning}")
    for key, of_rates in tuning.items():
        if not np.isfinite(list(of_rates.values())).any():
            raise InputError(f"{key} diverges with every rate; give smaller --rates")
    chosen = {key: float(min(found, key=found.__getitem__)) for key, found in tuning.items()}
    found: dict[str, dict[int, Value]] = {structure.key: {} for structure in places.structures}
    for seed in seeds:
        for structure in places.structures:
            value = runs.value(structure, seed, chosen[structure.key], test=True)
            found[structure.key][seed] = value
            say(f"seed {seed}, {structure.key}: {100 * value.top1:.1f}")
    cells: list[dict[str, Any]] = []
    for structure in places.structures:
        of_seeds = found[structure.key]
        mean, sd = mean_sd([value.top1 for value in of_seeds.values()])
        cells.append(
            {
                "row": structure.row,
                "column": structure.column,
                "structure": dict(structure.changes),
                "paper": None,
                "values": {str(seed): value.top1 for seed, value in of_seeds.items()},
                "failed": [],
                "mean": mean,
                "sd": sd,
                "rate": chosen[structure.key],
                "parameters": of_seeds[seeds[0]].parameters,
                "hidden": of_seeds[seeds[0]].hidden,
            }
        )
    command = command_of(config)
    result = {
        "table": NAMES[config.pretraining],
        "title": TITLES[config.pretraining],
        "data": config.source.name,
        "quick": config.quick,
        "metric": TOP1,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "device": device_of([{"device": jax.devices()[0].device_kind}]),
        "seconds": round(time.perf_counter() - began, 1),
        "seeds": {"classes, videos and weights": seeds, "training": seeds, "tuning": list(draws)},
        "settings": {name: getattr(config, name) for name in SETTINGS},
        "rates": {
            "tried": list(config.rates),
            "how": "of each structure the rate with the lowest mean validation loss, on draws of "
            "their own",
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
