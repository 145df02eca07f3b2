"""`python -m train.fuse`: scores of runs as files, matched, weighted and refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from prernn_jax.errors import InputError
from train.fuse import choose_weights, fuse, fused_top1, main
from train.run.scores import Scores, read_scores, scores_path, write_scores

CLASSES, VIDEOS = 4, 40
LABELS = np.arange(VIDEOS) % CLASSES


def draw(seed, strength):
    """Scores that know the true class more or less well."""
    raw = np.random.default_rng(seed).normal(size=(VIDEOS, CLASSES))
    raw += strength * np.eye(CLASSES)[LABELS]
    return np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)


def make(run, scores, which="test"):
    run.mkdir(exist_ok=True)
    names = np.array([f"v_ä{number}" for number in range(VIDEOS)])
    classes = np.array([f"class {number}" for number in range(CLASSES)])
    return Scores(run, names, scores, LABELS, classes, "ucf101", "1", which)


@pytest.fixture
def runs(tmp_path):
    """Two runs; their second has its videos in another order."""
    folders = [tmp_path / "spatial", tmp_path / "temporal"]
    for which, seeds in (("test", (1, 2)), ("validation", (3, 4))):
        write_scores(make(folders[0], draw(seeds[0], 0.7), which))
        other = make(folders[1], draw(seeds[1], 1.4), which)
        order = np.random.default_rng(5).permutation(VIDEOS)
        rows = {name: getattr(other, name)[order] for name in ("video", "scores", "labels")}
        write_scores(replace(other, **rows))
    return folders


def expected(weights, seeds):
    """The mean of the two runs of `runs`, and its top-1."""
    mean = (weights[0] * draw(seeds[0], 0.7) + weights[1] * draw(seeds[1], 1.4)) / sum(weights)
    return mean, float(np.mean(mean.argmax(axis=1) == LABELS))


def command(folders, *more):
    main([*map(str, folders), *more])


def test_a_file_comes_back_as_it_was_written(tmp_path):
    written = make(tmp_path / "run", draw(0, 1.0))
    write_scores(written)
    found = read_scores(tmp_path / "run", "test")
    for name in ("video", "scores", "labels", "classes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
        assert getattr(found, name).dtype == getattr(written, name).dtype
    assert (found.data, found.split, found.set) == ("ucf101", "1", "test")
    with np.load(scores_path(tmp_path / "run", "test"), allow_pickle=False) as file:
        names = {"video", "scores", "labels", "classes", "data", "split", "set"}
        assert set(file.files) == names
        assert file["data"].shape == file["split"].shape == file["set"].shape == ()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["scores-test.npz"]


def test_the_mean_is_weighted_and_videos_are_matched_by_name(runs):
    streams = [read_scores(run, "test") for run in runs]
    assert streams[0].video.tolist() != streams[1].video.tolist()
    mean, right = expected((1, 1.5), (1, 2))
    np.testing.assert_allclose(fuse(streams, (1, 1.5)), mean, rtol=1e-12)
    np.testing.assert_allclose(fuse(streams, (2e300, 3e300)), mean, rtol=1e-12)
    np.testing.assert_array_equal(fuse(streams, (3, 0)), streams[0].scores)
    assert fused_top1(runs, (1, 1.5)) == right
    assert fused_top1(runs, (1, 1.5), "validation") == expected((1, 1.5), (3, 4))[1]


def test_the_program_says_each_and_all_and_writes_it(runs, tmp_path, capsys):
    out = tmp_path / "fused.json"
    command(runs, "--weights", "1", "1.5", f"--out={out}")
    result = json.loads(out.read_text())
    alone = [fused_top1([run], [1]) for run in runs]
    assert result["video_top1_of_each"] == alone
    assert result["video_top1"] == expected((1, 1.5), (1, 2))[1]
    assert result["validation_video_top1"] == expected((1, 1.5), (3, 4))[1]
    assert (result["weights"], result["weights_are"]) == ([1, 1.5], "given")
    lines = "".join(capsys.readouterr().out.splitlines())
    for value in (*alone, result["video_top1"]):
        assert f"video_top1 {value:.4f}" in lines
    command([*runs, runs[0]], f"--out={out}")
    assert json.loads(out.read_text())["weights"] == [1, 1, 1]


def test_weights_are_chosen_on_validation_alone(runs, tmp_path):
    grid = [(a, b) for a in range(5) for b in range(5) if np.gcd(a, b) == 1]
    assert len(grid) == 13
    best = max(expected(weights, (3, 4))[1] for weights in grid)
    chosen = choose_weights(runs)
    assert expected(chosen, (3, 4))[1] == best
    # A test set on which the first run is always right and the second always wrong changes nothing.
    for run, place in zip(runs, (0, 1), strict=True):
        found = read_scores(run, "test")
        scores = np.eye(CLASSES)[(found.labels + place) % CLASSES]
        write_scores(replace(found, scores=scores))
    assert choose_weights(runs) == chosen
    out = tmp_path / "fused.json"
    command(runs, "--choose", f"--out={out}")
    result = json.loads(out.read_text())
    assert result["weights"] == list(chosen)
    assert result["validation_video_top1"] == best
    assert result["weights_are"] == "chosen on the validation set"


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ([[0.9, 0.1]], [[0.8, 0.2]], (1, 1)),  # all are right: nearest to equal
        ([[0.2, 0.8]], [[0.3, 0.7]], (1, 1)),  # none is
        ([[0.25, 0.75]], [[0.7, 0.3]], (3, 4)),  # right from 5 : 4 in favour of the second on
        ([[0.0, 1.0]], [[0.51, 0.49]], (0, 1)),  # the first does harm in every share
        # Right beyond equal on either side: the first has more.
        ([[0.7, 0.3], [0.25, 0.75]], [[0.25, 0.75], [0.7, 0.3]], (4, 3)),
    ],
)
def test_ties_go_to_the_weights_nearest_to_equal(tmp_path, first, second, chosen):
    folders = [tmp_path / "a", tmp_path / "b"]
    for run, scores in zip(folders, (first, second), strict=True):
        run.mkdir()
        count = len(scores)
        names, labels = np.array(["x", "y"][:count]), np.zeros(count, np.int64)
        classes = np.array(["p", "q"])
        write_scores(Scores(run, names, np.array(scores), labels, classes, "d", "", "validation"))
    assert choose_weights(folders) == chosen


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": "embedded-12"}, "has the data 'embedded-12', .*spatial has 'ucf101'"),
        ({"split": "2"}, "has the split '2', .*spatial has '1'"),
        ({"classes": np.array(["class 1", "class 0", "class 2", "class 3"])}, "in the same order"),
        ({"video": np.array([f"w{number}" for number in range(VIDEOS)])}, "80 are in only one"),
        ({"labels": np.zeros(VIDEOS, np.int64)}, "30 videos different classes"),
    ],
)
def test_runs_that_do_not_belong_together(runs, changed, message):
    write_scores(replace(read_scores(runs[1], "test"), **changed))
    with pytest.raises(InputError, match=message):
        command(runs)


def test_a_video_that_only_one_run_has(runs):
    found = read_scores(runs[1], "test")
    rows = {name: getattr(found, name)[:-1] for name in ("video", "scores", "labels")}
    write_scores(replace(found, **rows))
    with pytest.raises(InputError, match=f"has 39 videos and .* has 40.*: {found.video[-1]};"):
        command(runs)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--weights", "1"], "--weights 1: 1 weights for 2 runs"),
        (["--weights", "1", "2", "3"], "3 weights for 2 runs"),
        (["--weights", "1", "-1"], "--weights 1 -1: expected finite numbers of zero or more"),
        (["--weights", "0", "0"], "not all of them zero"),
        (["--weights", "1", "nan"], "expected finite"),
        (["--weights", "inf", "1"], "expected finite"),
        (["--weights", "1", "1", "--choose"], "exclude each other"),
        (["--out=/nowhere/fused.json"], "--out=/nowhere/fused.json cannot be written"),
    ],
)
def test_bad_flags(runs, more, message):
    with pytest.raises(InputError, match=message):
        command(runs, *more)


def test_bad_folders(runs, tmp_path):
    with pytest.raises(InputError, match="1 runs given; give the folders of two or more"):
        command(runs[:1])
    with pytest.raises(InputError, match=r"there is no folder .*nothing"):
        command([runs[0], tmp_path / "nothing"])
    with pytest.raises(InputError, match="at most 4"):
        command([*runs, *runs, *runs], "--choose")
    scores_path(runs[1], "validation").unlink()
    command(runs)
    with pytest.raises(InputError, match=r"no scores-validation\.npz in .*give the weights"):
        command(runs, "--choose")
    scores_path(runs[0], "test").unlink()
    with pytest.raises(InputError, match=r"no scores-test\.npz in .*spatial; .*--resume"):
        command(runs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.full((VIDEOS, CLASSES), np.nan)}, "a score is not finite"),
        ({"scores": np.full((VIDEOS, CLASSES), 1.0)}, "not probabilities"),
        ({"scores": np.full((VIDEOS, CLASSES), [1.5, -0.5, 0.0, 0.0])}, "not probabilities"),
        ({"scores": np.zeros((VIDEOS, CLASSES + 1))}, "have the shapes"),
        ({"labels": np.full(VIDEOS, CLASSES)}, "a label is outside 0 to 3"),
        ({"labels": np.zeros(VIDEOS)}, "are of the kinds U, f, f, U"),
        ({"video": np.array(["v"] * VIDEOS)}, "a video is named twice"),
    ],
)
def test_faulty_contents(runs, changed, message):
    write_scores(replace(read_scores(runs[0], "test"), **changed))
    with pytest.raises(InputError, match=message):
        read_scores(runs[0], "test")


def test_damaged_files(runs):
    path = scores_path(runs[0], "test")
    whole = path.read_bytes()
    for content in (
        b"",
        b"nothing",
        whole[: len(whole) // 2],
        whole.replace(b"v\0\0\0", b"w\0\0\0"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"scores-test\.npz: it cannot be read"):
            read_scores(runs[0], "test")
    with path.open("wb") as file:
        np.savez(file, video=np.array([{"a": "pickle"}], object))
    with pytest.raises(InputError, match=r"cannot be read .*allow_pickle"):
        read_scores(runs[0], "test")
    path.write_bytes(scores_path(runs[0], "validation").read_bytes())
    with pytest.raises(InputError, match="holds the set 'validation' and not 'test'"):
        read_scores(runs[0], "test")
