"""The grids of the three tables: every place of the paper, and what each run is."""

from pathlib import Path

import pytest

from prernn_jax.errors import InputError
from train.face.config import FaceConfig
from train.run.config import check_run
from train.tables.grid import CELLS, CONTROL, PLAIN, grid
from train.tables.jobs import Done
from train.tables.outcome import cell_of, own_epochs
from train.tables.paper import paper_value
from train.tables.settings import (
    RATES,
    SEEDS,
    TUNING_SEED,
    TablesConfig,
    bases,
    check,
    jobs,
    starts,
    with_epochs,
)

REAL = {"source": Path("videos"), "weights": Path("net.safetensors")}


def places(table, width=4096, quick=False):
    return {(s.row, s.column): dict(s.changes) for s in grid(table, width, quick).structures}


def test_table_1_has_the_papers_sizes():
    found = places(1)
    for cell in CELLS:
        sizes = [found[cell, f"hidden{n}"]["hidden"] for n in range(1, 6)]
        assert sizes == [256, 512, 1024, 2048, 4096]
        assert all(found[cell, f"hidden{n}"]["stacked"] == 2 for n in range(1, 6))
        assert found[cell, "matched"] == {
            "model": "traditional", "cell": cell, "layers": ("fc6", "fc7"), "stacked": 2,
        }  # fmt: skip
        assert found[cell, "pre-fc6-fc7"]["model"] == "pre"
    assert [places(1, 128)["gru", f"hidden{n}"]["hidden"] for n in range(1, 6)] == [
        8, 16, 32, 64, 128,
    ]  # fmt: skip


def test_table_2_has_the_papers_structures():
    found = places(2)
    for cell in CELLS:
        layers = [found[cell, f"pre-{name}"]["layers"] for name in ("fc6", "fc7", "fc6-fc7")]
        assert layers == [("fc6",), ("fc7",), ("fc6", "fc7")]
        third = found[cell, "pre-fc6-fc7-extra1"]
        assert (third["layers"], third["extra"]) == (("fc6", "fc7"), 1)


def test_table_3_has_the_papers_structures():
    found = places(3)
    for cell in CELLS:
        assert found[cell, "pre-random"]["init"] == "random"
        assert ((cell, "sih") in found) == ((cell, "sih-random") in found) == (cell != "vrnn")
        assert found[cell, "matched"]["model"] == "traditional"
    assert found["lstm", "sih"]["model"] == "pre_sih"


@pytest.mark.parametrize("table", [1, 2, 3])
def test_every_table_has_gru_both_ways_and_the_control(table):
    found = places(table)
    assert found[CONTROL, "feedforward"] == {"model": "feedforward"}
    plain = {column: changes for (row, column), changes in found.items() if row == PLAIN}
    assert plain
    for column, changes in plain.items():
        assert changes == found["gru", column] | {"readout": "none"}


@pytest.mark.parametrize("table", [1, 2, 3])
@pytest.mark.parametrize("quick", [False, True])
def test_every_structure_has_a_column_and_a_configuration_that_a_run_can_have(table, quick):
    config = TablesConfig(table, quick=quick)
    found = grid(table, 128, quick)
    names = set()
    assert {s.column for s in found.structures} == set(found.columns)
    for structure in found.structures:
        assert structure.row in found.rows
        for seed in (SEEDS[0], SEEDS[1]):
            for job in jobs(bases(config), structure, seed, 0.05):
                check_run(job.config)
                assert job.config.embedded.seed == job.config.seed == seed
                names.add(job.folder)
    assert len(names) == 2 * len(found.structures)


def test_what_two_tables_share_is_one_run():
    first, second = TablesConfig(1), TablesConfig(2)
    shared = {s.key: s for s in grid(1, 128).structures}
    both = 0
    for structure in grid(2, 128).structures:
        if structure.key in shared:
            mine = jobs(bases(first), shared[structure.key], SEEDS[0], 0.05)
            assert mine == jobs(bases(second), structure, SEEDS[0], 0.05)
            both += 1
    assert both >= 7  # PreRNN fc6/7 and the traditional net of each cell, and the control


def test_tuning_has_seeds_of_its_own():
    assert TUNING_SEED not in SEEDS
    assert FaceConfig().embedded.seed not in (*SEEDS, TUNING_SEED)
    assert len(set(RATES)) == len(RATES)


def test_real_data_are_run_with_the_papers_presets():
    (faces,) = bases(TablesConfig(1, data="300vw", **REAL))
    assert (faces.preset, faces.epochs, faces.schedule.base) == ("paper", 30, 1e-4)
    spatial, temporal = bases(TablesConfig(3, data="ucf101", batch_size=8, **REAL))
    assert (spatial.stream, spatial.schedule.base, spatial.epochs) == ("spatial", 3e-4, 90)
    assert (temporal.stream, temporal.schedule.base, temporal.epochs) == ("temporal", 1e-2, 100)
    assert spatial.batch_size == temporal.batch_size == 8
    assert spatial.weights == REAL["weights"]
    structure = grid(1, 4096).structures[0]
    (job,) = jobs([faces], structure, SEEDS[0], None)
    assert job.config.schedule == faces.schedule


def test_the_seeds_of_drawn_actions_start_from_networks_of_their_own(monkeypatch):
    monkeypatch.setattr(
        "train.tables.settings.stage_one",
        lambda base: Path(f"{base.application}-{base.pretraining.seed}"),
    )

    def first(table, **changes):
        config = TablesConfig(table, seeds=2, **changes)
        found = starts(config, bases(config))
        assert list(found) == list(SEEDS[:2])
        return [str(of_seed[0].weights) for of_seed in found.values()]

    assert first(3) == [f"action-{seed}" for seed in SEEDS[:2]]
    assert len(set(first(3, same_data=True))) == len(set(first(1))) == 1
    real = TablesConfig(3, data="ucf101", **REAL)
    found = starts(real, bases(real))
    assert [base.weights for base in found[SEEDS[0]]] == [REAL["weights"]] * 2


def test_the_vrnn_of_drawn_actions_has_more_epochs():
    config, whole = TablesConfig(3), grid(3, 128, small=True)
    places = with_epochs(config, whole)
    assert own_epochs(places) == {"epochs of VRNN": 24}
    for structure in places.structures:
        (job,) = jobs(bases(config), structure, SEEDS[0], None)
        assert job.config.epochs == (24 if structure.row == "vrnn" else 8)
    for other in (TablesConfig(3, joint=True), TablesConfig(3, quick=True), TablesConfig(1)):
        assert with_epochs(other, whole) == whole


def test_joint_training_is_a_table_of_its_own():
    cached, joint = TablesConfig(3), TablesConfig(3, joint=True)
    assert (cached.key, joint.key) == (3, "3-joint")
    (before,), (after,) = bases(cached), bases(joint)
    assert (before.trunk, after.trunk) == ("cached", "trained")
    assert before.workdir != after.workdir
    assert before.embedded == after.embedded
    places = {(s.row, s.column): s for s in grid(3, 128).structures}
    (job,) = jobs(bases(joint), places["gru", "pre"], 1, None)
    cell = cell_of(joint.key, places["gru", "pre"], {1: [(job, Done(None))]})
    assert cell["paper"] == paper_value(3, "gru", "pre") == 0.937


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TablesConfig(1, data="ucf101", **REAL), "expected --data=embedded or 300vw"),
        (TablesConfig(3, data="300vw", **REAL), "expected --data=embedded or ucf101 or hmdb51"),
        (TablesConfig(1, data="300vw"), "prernn port convert FILE --arch vgg16"),
        (TablesConfig(3, data="ucf101", source=Path("x")), "--arch resnet50"),
        (TablesConfig(1, data="300vw", tune=True, **REAL), "300vw has no validation set"),
        (TablesConfig(1, data="300vw", quick=True, **REAL), "--quick is a small miniature"),
        (TablesConfig(1, weights=Path("x")), "--weights: for real data"),
        (TablesConfig(1, seeds=0), "--seeds=0: expected 1 to 20"),
        (TablesConfig(3, tune=True), "--tune: the rates that it tries are those of SGD"),
        (TablesConfig(1, joint=True), "--joint: only --table=3 --data=embedded"),
        (TablesConfig(3, data="ucf101", joint=True, **REAL), "--joint: only --table=3"),
        (TablesConfig(1, jobs=0), "--jobs=0: expected 1 or more"),
    ],
)
def test_what_cannot_be_run_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        check(config)
