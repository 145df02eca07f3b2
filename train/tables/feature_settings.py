"""What a table of features of videos is made of: `prernn tables --table=features`."""

from dataclasses import dataclass
from pathlib import Path

from prernn_jax.errors import InputError

from .feature_runs import Frames
from .grid import CELLS, Cell
from .settings import SEEDS

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


@dataclass(frozen=True)
class FeatureTable:
    """Table 3 on features of real videos.

    Attributes:
        source: The npz file (docs/data.md, "Features of videos").
        test_set: Name of the array in it that says which videos are for testing.
        seeds: How many seeds draw classes, videos and weights.
        pretraining: Whose frames fc7 learns: those of other classes (half of all), those of other
            videos of the same classes (from other groups), or those of the labelled videos.
        videos: Labelled videos a class, each of a group of its own.
        steps: Time steps T, evenly placed.
        units: How many features to take, the first ones of the file; all when not given.
        hidden: Units of fc7.
        training_steps: Steps of SGD, with `batch_size` sequences each.
        batch_size: Sequences a step.
        frame_steps: Steps of fc7's pre-training, with 64 frames each.
        rates: Learning rates to choose from.
        tuning_draws: How many draws of their own the rates are chosen on: one says too little.
        cells: Only the rows of these cells; a table can be made row by row.
        quick: A few structures only, to see the program work.
        workdir: Where the values of finished runs are kept; none is computed twice.
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
    tuning_draws: int = 3
    cells: tuple[Cell, ...] = CELLS
    quick: bool = False
    workdir: Path = Path("runs/tables/features")
    out: Path = Path("tables")


def check(config: FeatureTable) -> None:
    """Raises an InputError for what cannot be run."""
    names = (
        "videos", "steps", "units", "hidden", "training_steps", "batch_size", "frame_steps",
        "tuning_draws",
    )  # fmt: skip
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: expected 1 or more")
    if not 1 <= config.seeds <= len(SEEDS):
        raise InputError(f"--seeds={config.seeds}: expected 1 to {len(SEEDS)}")
    if not config.rates or min(config.rates) <= 0:
        raise InputError(f"--rates {config.rates}: expected one or more, all above 0")
    if not config.cells:
        raise InputError("--cells: name one or more")


SETTINGS = (
    "pretraining", "videos", "steps", "units", "hidden", "training_steps", "batch_size",
    "frame_steps",
)  # fmt: skip
"""Fields that decide a value, beside structure, seed and rate."""


def command_of(config: FeatureTable) -> str:
    """The command that gives the table."""
    flags = []
    for name, value in vars(config).items():
        if name in ("source", "workdir", "out") or value == getattr(FeatureTable(Path()), name):
            continue
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        flags.append(f"--{name} {shown}" if isinstance(value, tuple) else f"--{name}={shown}")
    return " ".join(["prernn tables --table=features --source=FILE", *flags])
