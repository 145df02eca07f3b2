"""A frozen trunk: cached features train to the same bits as features computed with each batch."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prernn_jax.errors import InputError
from prernn_jax.files.safetensors import read
from train.action.__main__ import main
from train.features import main as features_main
from train.run.feature_batches import (
    Cache,
    FixedSet,
    batches_per_epoch,
    computed_with_each_batch,
)

pytestmark = pytest.mark.slow

SIZES = {"train": 4, "validation": 6, "test": 10, "static_train": 8, "static_validation": 4}
SHORT = [f"--embedded.{name}={size}" for name, size in SIZES.items()]
SHORT += ["--pretraining.rgb_epochs=1", "--pretraining.flow_epochs=1", "--crop=32", "--steps=5"]
SHORT += ["--epochs=2", "--batch_size=8", "--film=0"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("trunk")


def flags(place, *more):
    return [*SHORT, f"--workdir={place / 'runs'}", f"--cache_dir={place / 'data'}", *more]


def of_run(place, name):
    folder = place / "runs" / name
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return (folder / "model.safetensors").read_bytes(), summary


@pytest.mark.parametrize(
    ("model", "runs"),
    [("pre", ["frozen", "cached", "cached"]), ("feedforward", ["frozen", "cached"])],
)
def test_cached_equals_frozen_to_the_bit(place, model, runs):
    for trunk in runs:  # the second cached one reads the kept features
        views = [f"--model={model}", f"--trunk={trunk}", "--views=2"]
        main(flags(place, f"--name={model}-{trunk}", *views))
    one, other = of_run(place, f"{model}-frozen"), of_run(place, f"{model}-cached")
    assert one[0] == other[0]
    for name in ("video_top1", "loss"):
        assert one[1][name] == other[1][name]
    start = next((place / "runs" / "pretrained").glob("temporal-*.safetensors"))
    before, after = (
        read(path)[0] for path in (start, place / "runs" / f"{model}-cached" / "model.safetensors")
    )
    np.testing.assert_array_equal(before["conv1.kernel"], after["backbone.conv1.kernel"])
    assert np.any(after["backbone.fc.kernel"] != 0)


def test_a_slow_trunk_moves_little(place):
    model = {}
    for rate in ("1", "1e-4"):
        name = f"trained-{rate}"
        main(flags(place, f"--name={name}", "--trunk=trained", f"--trunk_rate={rate}"))
        model[rate] = read(place / "runs" / name / "model.safetensors")[0]
    start = read(next((place / "runs" / "pretrained").glob("temporal-*.safetensors")))[0]

    def moved(rate, name):
        return np.abs(model[rate][f"backbone.{name}"] - start[name]).max()

    assert 0 < moved("1e-4", "conv1.kernel") < 1e-3 * moved("1", "conv1.kernel")
    new = [np.abs(model[rate]["backbone.fc.kernel"]).max() for rate in ("1", "1e-4")]
    assert new[1] > new[0] / 2  # the output layer began at zero and has the whole rate


def test_features_are_computed_once(place, capsys):
    features_main(flags(place, "--seed=3"))
    assert "features of 32 sequences (train): written" in capsys.readouterr().out
    main(flags(place, "--name=later", "--trunk=cached"))
    assert "features of" not in capsys.readouterr().out


def test_damaged_features_are_one_line(place):
    features_main(flags(place))
    for file in (place / "data" / "features").rglob("train.npz"):
        file.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"train\.npz are damaged .*delete the file"):
        main(flags(place, "--name=damaged", "--trunk=cached"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trunk=cached", "--batch_norm=train"], "--trunk=cached needs --batch_norm=frozen"),
        (["--views=2", "--trunk=trained"], "--views belongs to"),
        (["--views=0", "--trunk=cached"], "--views=0: expected 1 or more"),
        (["--trunk_rate=0.1", "--trunk=cached"], "--trunk_rate belongs to --trunk=trained"),
        (["--trunk_rate=0", "--trunk=trained"], "--trunk_rate=0.0: expected more than 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(place, more, message):
    with pytest.raises(InputError, match=message):
        main(flags(place, "--name=never", *more))
    assert not Path(place / "runs" / "never").exists()


def test_each_view_counts_in_an_epoch(tmp_path):
    """The schedule of the learning rate has the length of the passes that the loader makes."""
    fixed = FixedSet(12, lambda row: {"row": np.int64(row)})
    loader, _ = computed_with_each_batch(
        fixed, {}, lambda batch: batch["row"], batch_size=4, seed=0
    )
    clips = SimpleNamespace(batches_per_epoch=1)  # of 6 clips with two views each
    given = SimpleNamespace(fixed=fixed, cache=Cache(tmp_path, {}), batches=clips)
    frozen = SimpleNamespace(trunk="frozen", batch_size=4)
    assert batches_per_epoch(frozen, given) == loader.batches_per_epoch == 3
    assert batches_per_epoch(SimpleNamespace(trunk="trained", batch_size=4), given) == 1
