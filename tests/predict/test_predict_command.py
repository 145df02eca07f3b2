"""`prernn predict` from the command line to its files."""

import json

import av
import numpy as np
import pytest
from small_videos import numbered_pictures, write_video
from test_predictor import action_model, face_model

import prernn_jax as pj
from prernn_jax.errors import InputError
from prernn_jax.predict.__main__ import main
from prernn_jax.predict.film import over_frames
from prernn_jax.predict.outcome import VideoScores


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs of RGB, of flow and of faces, and two videos, of which one is damaged."""
    folder = tmp_path_factory.mktemp("predict")
    flow = {"pictures": "flow", "flow": "dis", "stack": 2, "channels": 4}
    models = {"rgb": action_model(), "flow": action_model(**flow), "face": face_model("face")}
    for name, model in models.items():
        (folder / name).mkdir()
        pj.save(folder / name / "model.safetensors", model)
    write_video(folder / "videos/good.mp4", numbered_pictures(6))
    write_video(folder / "long/good.mp4", numbered_pictures(12))
    (folder / "videos/bad.mp4").write_bytes(b"no video")
    return folder


def test_one_video_a_film_and_both_streams(place, tmp_path, capsys):
    video, out = place / "videos/good.mp4", f"--out={tmp_path}"
    scores = {}
    for paths in (["rgb"], ["flow"], ["rgb", "flow"]):
        stream = [f"--stream={'both' if len(paths) == 2 else 'own'}"]
        main([*stream, *(str(place / path) for path in paths), str(video), out, "--film"])
        found = json.loads((tmp_path / "good.json").read_text())
        assert found["frames"] == 6
        scores["+".join(paths)] = {e["class"]: e["probability"] for e in found["top5"]}
    assert "good.mp4: " in capsys.readouterr().out
    for name, share in scores["rgb+flow"].items():
        assert share == pytest.approx((scores["rgb"][name] + scores["flow"][name]) / 2, abs=1e-6)
    with av.open(str(tmp_path / "good.mp4")) as film:
        assert film.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in film.decode(video=0)) == 6


def test_a_model_file_and_faces(place, tmp_path):
    model, video = place / "face/model.safetensors", place / "videos/good.mp4"
    main([str(model), str(video), f"--out={tmp_path}", "--film", "--box", "10", "5", "40", "35"])
    found = json.loads((tmp_path / "good.json").read_text())
    assert np.shape(found["landmarks"]) == (6, 5, 2)
    assert (tmp_path / "good.mp4").stat().st_size > 0


def test_a_bad_video_leaves_nothing(place, tmp_path):
    with pytest.raises(InputError, match="cannot be decoded"):
        main([str(place / "rgb"), str(place / "videos/bad.mp4"), f"--out={tmp_path / 'new'}"])
    assert not (tmp_path / "new").exists()


def test_a_folder_goes_on_over_a_bad_video(place, tmp_path, capsys):
    with pytest.raises(InputError, match="1 of 2 videos could not be used"):
        main([str(place / "rgb"), str(place / "videos"), f"--out={tmp_path}"])
    assert [file.name for file in tmp_path.iterdir()] == ["good.json"]
    assert "error: the video" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{rgb}"], "1 paths given; expected 1 run and then one or more videos"),
        (["--stream=both", "{rgb}", "{video}"], "expected 2 runs and then"),
        (["{videos}", "{video}"], "is no finished run: there is no model.safetensors in it"),
        (["absent", "{video}"], "absent is no finished run: there is no such file"),
        (["{rgb}", "absent.mp4"], "there is no absent.mp4"),
        (["{rgb}", "{videos}/bad.mp4"], "cannot be decoded"),
        (["{rgb}", "91"], "there is no camera 91"),
        (["{rgb}", "{video}", "{long}"], "would both be written as good.json"),
        (["{rgb}", "{video}", "--box", "0", "0", "8", "8"], "belong to models of faces"),
        (["--stream=both", "{rgb}", "{face}", "{video}"], "both runs must be of actions"),
        (["--stream=both", "{rgb}", "{flow}", "{video}", "--weights", "0", "0"], "must be more"),
        (["--stream=both", "{rgb}", "{flow}", "{video}", "--weights", "1e308", "1e308"], "finite"),
        (["--stream=both", "{rgb}", "{rgb}", "{video}"], "the runs see frames and frames"),
        (["--stream=both", "{flow}", "{rgb}", "{video}"], "see flow and frames; expected a spat"),
        (["{rgb}", "{video}", "--seconds=nan"], "--seconds=nan: expected more than 0"),
        (["{rgb}", "{video}", "--out={video}"], "cannot be made"),
    ],
)
def test_bad_input(place, tmp_path, argv, message):
    names = {name: place / name for name in ("rgb", "flow", "face", "videos")}
    names |= {"video": place / "videos/good.mp4", "long": place / "long/good.mp4"}
    out = [] if "--out" in argv[-1] else [f"--out={tmp_path / 'out'}"]
    with pytest.raises(InputError, match=message):
        main([word.format(**names) for word in argv] + out)
    assert not list(tmp_path.rglob("*.json"))


def test_probabilities_stay_until_the_next_step_begins():
    rows, places = np.eye(2)[[0, 1, 0]], np.array([1, 3, 4])
    found = VideoScores("v", 6, ("a", "b"), np.array([0.5, 0.5]), (rows,), (places,))
    assert over_frames(found).argmax(axis=1).tolist() == [0, 0, 0, 1, 0, 0]
