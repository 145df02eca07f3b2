"""What the runs of a table have in common: data, budget, seeds, rates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prernn_jax.errors import InputError
from prernn_jax.precision import Precision

from ..action.config import ActionConfig, action_preset
from ..engine.optim import Schedule
from ..face.config import FaceConfig, face_preset
from .grid import CELLS, Cell, Grid, Structure
from .jobs import Config, Job, stage_one

Data = Literal["embedded", "300vw", "ucf101", "hmdb51"]

# Fixed on 2026-11-25, before any of the grids ran; no setting was chosen on runs with these.
SEEDS = range(3101, 3121)
TUNING_SEED = 7001
RATES = (0.05, 0.1, 0.2)  # among which --tune chooses
# Of the drawn actions, where the traditional VRNN stops improving; the others do after 8.
_EPOCHS = {"vrnn": 24}
STREAM_WEIGHTS = (1.0, 1.5)  # spatial and temporal, the usual ones of two-stream networks


@dataclass(frozen=True)
class TablesConfig:
    """Runs a table's grid and writes its outcome; started again, it goes on where it was.

    Attributes:
        table: 1: hidden sizes. 2: hierarchy of recurrent layers. 3: structure and initialisation.
        data: `embedded`: a miniature on data generated here. Else the paper's own: 300vw for tables
            1 and 2, ucf101 or hmdb51 for table 3.
        source: Folder with the official files of real data.
        cache_dir: Where prepared data are kept; ~/.cache/prernn_jax when not given.
        weights: Real data: the pre-trained VGG16, or ResNet50 of both streams.
        seeds: How many training seeds.
        jobs: Runs at a time; by default one a core on embedded data and one on real data.
        tune: Embedded faces: choose each structure's learning rate on validation data, from the
            same few; the default there. Without it all runs have the same rate.
        cells: Only the rows of these cells; a table can be made row by row.
        columns: Only these structures, such as `pre matched feedforward`; all when not given.
        same_data: Embedded data: all seeds train and test on the same drawn data. That is faster,
            and an interval then says nothing of other data of this kind.
        joint: Embedded table 3: train the whole network and not only the layers behind the cached
            trunk. Its files are named `table3-joint`.
        quick: A few structures, one seed and a short training, to see the program work.
        epochs: Real data: passes over the training set, in place of the preset's.
        batch_size: Real data: sequences a step, in place of the preset's.
        devices: Over how many devices a batch is split.
        workers: Processes that read and augment for each run; the preset's when not given.
        precision: Precision of activations and products.
        workdir: Where the runs are kept.
        out: Where `tableN.json`, `.md` and `.png` are written.
        redraw: Run nothing: write the files of all tables in --out again, from their values.
    """

    table: Literal[1, 2, 3]
    data: Data = "embedded"
    source: Path | None = None
    cache_dir: Path | None = None
    weights: Path | None = None
    seeds: int = 5
    jobs: int | None = None
    tune: bool | None = None
    cells: tuple[Cell, ...] = CELLS
    columns: tuple[str, ...] = ()
    same_data: bool = False
    joint: bool = False
    quick: bool = False
    epochs: int | None = None
    batch_size: int | None = None
    devices: int = 1
    workers: int | None = None
    precision: Precision = "float32"
    workdir: Path = Path("runs/tables")
    out: Path = Path("tables")
    redraw: bool = False

    @property
    def faces(self) -> bool:
        """Whether the table is one of the two about face alignment."""
        return self.table != 3

    @property
    def key(self) -> int | str:
        """What the table is called in its files and claims."""
        return f"{self.table}-joint" if self.joint else self.table

    @property
    def one_start(self) -> bool:
        """Whether all seeds of embedded data start from one pre-trained CNN."""
        return self.faces or self.same_data

    @property
    def tuned(self) -> bool:
        """Whether rates are chosen for each structure."""
        small = self.data == "embedded" and self.faces and not self.quick
        return small if self.tune is None else self.tune

    @property
    def training_seeds(self) -> list[int]:
        """The seeds of the runs; on embedded data also those of the data."""
        return list(SEEDS[: 1 if self.quick else self.seeds])


def check(config: TablesConfig) -> None:
    """Raises an InputError for what cannot be run."""
    fitting = ("embedded", "300vw") if config.faces else ("embedded", "ucf101", "hmdb51")
    if config.data not in fitting:
        raise InputError(
            f"--table={config.table} --data={config.data}: expected --data={' or '.join(fitting)}"
        )
    if not 1 <= config.seeds <= len(SEEDS):
        raise InputError(f"--seeds={config.seeds}: expected 1 to {len(SEEDS)}")
    for name in ("jobs", "epochs", "batch_size"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: expected 1 or more")
    if config.joint and (config.faces or config.data != "embedded"):
        raise InputError(
            "--joint: only --table=3 --data=embedded stands on a cached trunk; the others train "
            "the whole network anyway. Leave it out"
        )
    if config.tune and not config.faces and config.data == "embedded":
        raise InputError(
            "--tune: the rates that it tries are those of SGD on the faces, and the drawn actions "
            "are trained with Adam at the preset's rate; leave it out"
        )
    if not config.cells:
        raise InputError("--cells: name one or more")
    if config.data == "embedded":
        given = [
            f"--{name}"
            for name in ("source", "weights", "epochs", "batch_size")
            if getattr(config, name) is not None
        ]
        if given:
            raise InputError(f"{', '.join(given)}: for real data, not for --data=embedded")
        return
    network = "vgg16" if config.faces else "resnet50"
    for name in ("source", "weights"):
        if getattr(config, name) is None:
            raise InputError(
                f"--data={config.data} needs --source, the official layout, and --weights, "
                f"a converted {network} (prernn port convert FILE --arch {network})"
            )
    if config.tune:
        raise InputError(
            f"--tune: {config.data} has no validation set, and rates are never chosen on the test "
            "set; leave it out"
        )
    if config.same_data:
        raise InputError(f"--same_data: {config.data} is the same for all seeds; leave it out")
    if config.quick:
        raise InputError("--quick is a small miniature; it belongs to --data=embedded")


def bases(config: TablesConfig) -> list[Config]:
    """The configurations that the structures change: one for faces, one a stream for actions."""
    if config.faces:
        return [_shared(config, face_preset({"data": config.data}), _small_faces)]
    # The drawn actions differ in their motion; single pictures of them are only worth a run in
    # themselves, and each would double the time of the grid.
    streams = ("temporal",) if config.data == "embedded" else ("spatial", "temporal")
    presets = [action_preset({"data": config.data, "stream": stream}) for stream in streams]
    return [_shared(config, preset, _small_actions) for preset in presets]


def _shared(config: TablesConfig, preset: Any, small: Any) -> Any:
    changes: dict[str, Any] = {
        "film": 0,
        "source": config.source,
        "cache_dir": config.cache_dir,
        "weights": config.weights,
        "devices": config.devices,
        "precision": config.precision,
        "workdir": config.workdir / _folder(config),
    }
    for name in ("workers", "epochs", "batch_size"):
        if getattr(config, name) is not None:
            changes[name] = getattr(config, name)
    if config.data == "embedded":
        changes["validate_every"] = 0
        changes = changes | small(config)
    return replace(preset, **changes)


def _folder(config: TablesConfig) -> str:
    if config.joint:
        return "actions-joint"
    return "faces" if config.faces else "actions"


def _small_faces(config: TablesConfig) -> dict[str, Any]:
    faces, pretraining, quick = FaceConfig().embedded, FaceConfig().pretraining, config.quick
    if quick:
        faces = replace(faces, static_train=8000, test=100)
        pretraining = replace(pretraining, epochs=4)
    return {
        "epochs": 20 if quick else 40,
        "checkpoint_every": 40,
        "schedule": Schedule(0.1, "cosine"),
        "embedded": faces,
        "pretraining": pretraining,
    }


def _small_actions(config: TablesConfig) -> dict[str, Any]:
    clips = ActionConfig().embedded
    if config.quick:
        clips = replace(clips, train=48, validation=40, test=80, static_train=256)
    else:
        # More test clips than the preset's 200, whose sampling would be most of the scatter.
        clips = replace(clips, test=800)
    # Epochs: where the traditional GRU stops improving (docs/tables/README.md, Table 3).
    changes: dict[str, Any] = {"epochs": 8, "checkpoint_every": 8, "embedded": clips}
    if config.joint:
        # An epoch takes twenty times as long. A trunk that takes whole steps loses what it knows
        # before the recurrent layer has learned anything (docs/tables/README.md, Table 3).
        rate = Schedule(3e-3, "cosine", warmup=0.5)
        changes |= {"trunk": "trained", "trunk_rate": 0.03, "epochs": 4, "schedule": rate}
    if config.quick:
        changes["epochs"] = 4
    return changes


def with_epochs(config: TablesConfig, places: Grid) -> Grid:
    """The grid with more epochs for cells that learn more slowly; only behind a cached trunk."""
    if config.faces or config.data != "embedded" or config.joint or config.quick:
        return places

    def longer(structure: Structure) -> Structure:
        if structure.row not in _EPOCHS:
            return structure
        return replace(structure, changes={**structure.changes, "epochs": _EPOCHS[structure.row]})

    return Grid(places.columns, [longer(structure) for structure in places.structures])


def starts(config: TablesConfig, shared: Sequence[Config]) -> dict[int, list[Config]]:
    """Training seed -> the configurations of `bases` with the pre-trained CNN of its runs.

    Real data start from the given weights, the miniatures from a compact CNN that is trained here
    unless it is there: the faces all from one, the actions from one for each seed, if the seeds
    have data of their own.
    """
    if config.data != "embedded":
        return {seed: list(shared) for seed in config.training_seeds}
    if config.one_start:
        begun = [replace(base, weights=stage_one(base)) for base in shared]
        return dict.fromkeys(config.training_seeds, begun)

    def own(base: Config, seed: int) -> Config:
        base = replace(base, pretraining=replace(base.pretraining, seed=seed))
        return replace(base, weights=stage_one(base))

    return {seed: [own(base, seed) for base in shared] for seed in config.training_seeds}


def jobs(
    bases: Sequence[Config],
    structure: Structure,
    seed: int,
    rate: float | None,
    purpose: str = "",
    same_data: bool = False,
) -> list[Job]:
    """The runs that give one value of a structure: one, or one a stream.

    Args:
        bases: See `bases`.
        structure: Where in the table.
        seed: The seed of the training and of the embedded data.
        rate: First learning rate; that of the base when None.
        purpose: What the folder's name begins with.
        same_data: The embedded data keep the base's own seed.
    """
    made = []
    for base in bases:
        schedule = base.schedule if rate is None else replace(base.schedule, base=rate)
        changes = dict(structure.changes) | {"seed": seed, "schedule": schedule}
        if base.data == "embedded" and not same_data:
            changes["embedded"] = replace(base.embedded, seed=seed)
        before = [word for word in (purpose, "same" if same_data else "") if word]
        stream = [] if base.application == "face" else [base.stream]
        parts = [*before, *stream, structure.key, f"rate{schedule.base:g}", f"seed{seed}"]
        made.append(Job(replace(base, **changes, name="-".join(parts))))
    return made
