"""The controls: what each pooling can and cannot tell, and the command on a small draw."""

import json

import numpy as np
import pytest

from prernn_jax.data.feature_files import FeatureSet
from prernn_jax.data.media.flow import quantise
from train.action.__main__ import main as train_main
from train.controls import BINS, POOLINGS, controls_of, flow_histograms, main
from train.gesture.__main__ import main as gesture_main


def clips_in_order(count, seed):
    """Class 0 shows A and then B, class 1 the other way round; C comes at random steps."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.3, (count, 8, 3)).astype(np.float32)
    labels = np.arange(count) % 2
    for clip, label in zip(steps, labels, strict=True):
        clip[1:3, label] += 2
        clip[5:7, 1 - label] += 2
        clip[rng.integers(8), 2] += 2
    return FeatureSet({"features": steps, "labels": labels})


def test_each_control_tells_what_it_can():
    sets = {n: clips_in_order(c, c) for n, c in (("train", 80), ("validation", 40), ("test", 60))}
    found = {control.name: control for control in controls_of(sets, None)}
    assert set(found) == set(POOLINGS)
    assert found["mean"].test < 0.7  # both classes have the same mean
    for name in ("halves", "thirds", "mean + ramp", "all steps"):
        assert found[name].test > 0.9, name


def test_poolings_of_a_short_sequence():
    steps = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    np.testing.assert_allclose(POOLINGS["mean"](steps), [[4.5, 5.5, 6.5]])
    np.testing.assert_allclose(POOLINGS["halves"](steps), [[1.5, 2.5, 3.5, 7.5, 8.5, 9.5]])
    assert POOLINGS["thirds"](steps).shape == (1, 9)
    change = POOLINGS["mean + ramp"](steps)[0, 3:]
    np.testing.assert_allclose(change, np.full(3, (-0 - 1 + 2 + 9) / 4), rtol=1e-6)


@pytest.mark.parametrize("quarter", range(4))
def test_a_histogram_of_flow_knows_the_direction(quarter):
    way = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])[quarter]
    fields = np.zeros((2, 8, 8, 1, 2), np.float32)
    fields[0, :4] = 3.0 * way
    clip = quantise(fields).reshape(2, 8, 8, 2)
    found = flow_histograms(clip)
    assert found.shape == (2, BINS + 1)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.argmax(found[0]) == quarter * BINS // 4
    assert found[1, BINS] == 1  # rest


@pytest.mark.slow
def test_the_command(tmp_path):
    sizes = {"train": 5, "validation": 6, "test": 10, "static_train": 8, "static_validation": 4}
    main(
        [
            *(f"--embedded.{name}={size}" for name, size in sizes.items()),
            "--pretraining.rgb_epochs=1", "--pretraining.flow_epochs=1", "--crop=32", "--steps=5",
            f"--workdir={tmp_path / 'runs'}", f"--cache_dir={tmp_path / 'data'}",
        ]
    )  # fmt: skip
    file = tmp_path / "runs" / "controls-embedded-temporal.json"
    found = json.loads(file.read_text(encoding="utf-8"))["controls"]
    assert [one["name"] for one in found][: len(POOLINGS)] == list(POOLINGS)
    assert len(found) == len(POOLINGS) + 2
    assert all(0 <= one["test"] <= 1 for one in found)


@pytest.mark.nightly
@pytest.mark.optimised
@pytest.mark.parametrize(
    ("application", "train", "kind"),
    [("action", train_main, "temporal"), ("gesture", gesture_main, "depth")],
)
def test_the_drawn_clips_need_a_memory(tmp_path, application, train, kind):
    """The default draw and run: PreGRU 15 points above every control, 25 above no recurrence."""
    runs = tmp_path / "runs"
    place = [f"--workdir={runs}", f"--cache_dir={tmp_path / 'data'}"]
    for model in ("pre", "feedforward"):
        train([*place, "--film=0", f"--model={model}", f"--name={model}"])

    def top1(model):
        text = (runs / model / "summary.json").read_text(encoding="utf-8")
        return json.loads(text)["video_top1"]

    main([application, *place])
    text = (runs / f"controls-embedded-{kind}.json").read_text(encoding="utf-8")
    best = max(one["test"] for one in json.loads(text)["controls"])
    assert top1("pre") > best + 0.15
    assert top1("pre") > top1("feedforward") + 0.25
