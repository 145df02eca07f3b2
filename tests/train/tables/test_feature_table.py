"""Table 3 on features of videos: what is drawn, and a whole small table."""

import json

import numpy as np
import pytest
from feature_file import write

from prernn_jax.data.video_features import read_video_features
from prernn_jax.errors import InputError
from train.tables.__main__ import main
from train.tables.feature_runs import Length, draw_videos


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "f.npz")


@pytest.mark.parametrize("frames", ["same_videos", "other_classes", "other_videos"])
def test_a_draw_keeps_groups_and_sets_apart(file, frames):
    data = read_video_features(file)
    count = 1 if frames == "other_videos" else 2
    draw = draw_videos(data, 3, count, frames)
    labels = data.labels
    used = set(draw.classes.tolist())
    assert len(used) == (2 if frames == "other_classes" else 4)
    for numbers in (draw.train, draw.validation):
        assert np.bincount(labels[numbers], minlength=4)[list(used)].tolist() == [count] * len(used)
        assert not data.test[numbers].any()
    groups = [set(data.groups[n].tolist()) for n in (draw.train, draw.validation, draw.test)]
    assert len(groups[0]) == len(draw.train)
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert data.test[draw.test].all()
    assert set(labels[draw.test].tolist()) == used
    assert not data.test[draw.frames].any()
    if frames == "other_classes":
        assert not used & set(labels[draw.frames].tolist())
    elif frames == "other_videos":
        assert set(labels[draw.frames].tolist()) == used
        assert not set.union(*groups) & set(data.groups[draw.frames].tolist())
    else:
        assert set(draw.frames.tolist()) == set(draw.train.tolist())
    again = draw_videos(data, 3, count, frames)
    assert all(np.array_equal(a, b) for a, b in zip(draw, again, strict=True))


def test_too_many_videos_are_refused(file):
    with pytest.raises(InputError, match=r"has 4 groups .*--videos=3 needs 6"):
        draw_videos(read_video_features(file), 0, 3, "same_videos")
    with pytest.raises(InputError, match=r"--videos=2 needs 5: .* and one for fc7"):
        draw_videos(read_video_features(file), 0, 2, "other_videos")


def test_every_sequence_comes_before_any_comes_again():
    order = Length(5, 4).order(10, 0)
    assert order.shape == (5, 4)
    assert sorted(order.ravel()[:10].tolist()) == list(range(10))


@pytest.mark.slow
def test_a_small_table(file, tmp_path):
    main(
        [
            "--table=features", f"--source={file}", "--quick", "--seeds=2", "--hidden=8",
            "--steps=3", "--training_steps=40", "--batch_size=8", "--frame_steps=40",
            "--rates", "1e38", "0.03", f"--out={tmp_path / 'out'}",
            f"--workdir={tmp_path / 'values'}",
        ]
    )  # fmt: skip
    result = json.loads((tmp_path / "out" / "tablefeatures.json").read_text(encoding="utf-8"))
    cells = {(cell["row"], cell["column"]): cell for cell in result["cells"]}
    assert set(cells) == {("gru", "pre"), ("gru", "pre-random"), ("gru", "matched")}
    for cell in cells.values():
        assert len(cell["values"]) == 2
        assert cell["rate"] == 0.03  # the other gives NaN, which is not lower than anything
        assert cell["mean"] > 0.6  # two classes that one feature each tells apart
    assert cells["gru", "matched"]["hidden"] > 0
    assert "traditional" in (tmp_path / "out" / "tablefeatures.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "claims.png").stat().st_size > 1000


def test_bad_settings(file):
    for flag, message in (
        ("--videos=0", "--videos=0: expected 1 or more"),
        ("--seeds=0", "--seeds=0: expected 1 to 20"),
    ):
        with pytest.raises(InputError, match=message):
            main(["--table=features", f"--source={file}", flag])
