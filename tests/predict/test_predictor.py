"""A model's file and a video -> what the model sees; the same for every form of the video."""

import json

import cv2
import numpy as np
import pytest
from drawn import drawn
from small_videos import write_video

import prernn_jax as pj
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.backbones.cross_modality import FLOW
from prernn_jax.data.media.video import read_frames
from prernn_jax.errors import InputError
from prernn_jax.predict.face_input import is_lost
from prernn_jax.predict.predictor import Predictor
from prernn_jax.predict.video_input import camera, find_inputs

RGB = pj.Preprocessing(scale=1 / 255, mean=(0.5,))


def network(inputs):
    return CompactVGG(channels=(4, 4), hidden=6, image_size=32, in_channels=inputs)


def action_model(**more):
    settings = {
        "steps": 3,
        "size": 32,
        "classes": ("a", "b", "c"),
        "short_side": 40,
        "batch_size": 4,
    }
    inference = pj.Inference("action", **{**settings, **more})
    model = drawn(lambda: pj.make_recurrent(network(inference.channels), "fc7", outputs=3))
    model.preprocess = FLOW if inference.pictures == "flow" else RGB
    model.inference = inference
    return model


def face_model(box):
    model = drawn(lambda: pj.make_recurrent(network(3), "fc7", outputs=10))
    model.preprocess = RGB
    model.inference = pj.Inference("face", steps=4, size=32, points=5, box=box, batch_size=2)
    return model


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.integers(0, 256, (60, 120, 3), dtype=np.uint8), (0, 0), 3)
    pictures = [np.ascontiguousarray(base[:, 2 * n : 2 * n + 80]) for n in range(9)]
    return write_video(tmp_path_factory.mktemp("video") / "moving.mp4", pictures)


@pytest.fixture(scope="module")
def frames(video):
    return np.stack(list(read_frames(video)))


@pytest.mark.parametrize(
    "more", [{}, {"pictures": "flow", "flow": "dis", "stack": 2, "channels": 4, "windows": 3}]
)
def test_file_pictures_and_array_give_the_same(tmp_path, video, frames, more):
    pj.save(tmp_path / "m.safetensors", action_model(**more))
    model = pj.load(tmp_path / "m.safetensors")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"frame{number}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    predictor = Predictor(model)
    expected = model.predict(video)
    for other in (predictor(frames), predictor(folder), predictor(str(video))):
        np.testing.assert_array_equal(other.scores, expected.scores)
    assert expected.frames == 9
    assert len(expected.windows) == model.inference.windows
    np.testing.assert_allclose(expected.scores.sum(), 1, rtol=1e-6)
    written = json.loads(json.dumps(expected.to_json()))
    assert [entry["class"] for entry in written["top5"]] == [name for name, _ in expected.top()]
    assert [step["frame"] for step in written["windows"][0]] == expected.places[0].tolist()


@pytest.mark.parametrize("make", [action_model, lambda: face_model("face")])
def test_a_model_that_says_nan_names_no_class_and_no_place(frames, make):
    model = make()
    layer = model.backbone.conv1
    layer.kernel.set_value(layer.kernel[...] * np.float32(np.nan))
    with pytest.raises(InputError, match="says NaN or infinity of"):
        Predictor(model)(frames)


def test_landmarks_stand_in_the_pixels_of_the_video(frames):
    """What is found in a part of the picture does not move when the whole picture is given."""
    model = face_model("picture")
    small = Predictor(model)(frames)
    assert small.landmarks.shape == (9, 5, 2)
    np.testing.assert_array_equal(small.boxes[0], np.array([10, 0, 70, 60]) - 0.5)
    box = np.array([20.0, 10.0, 52.0, 42.0]) - 0.5
    given = Predictor(model)(frames, boxes=np.tile(box, (9, 1)))
    moved = Predictor(model)(frames[:, 10:42, 20:52])
    np.testing.assert_allclose(given.landmarks, moved.landmarks + np.array([20, 10]), atol=1e-3)


def test_a_face_is_followed(frames):
    model = face_model("face")
    found = Predictor(model)(frames, boxes=[10, 5, 50, 45])
    np.testing.assert_array_equal(found.boxes[0], np.array([10, 6, 50, 46]) - 0.5)
    corner, far = found.landmarks[0].min(axis=0), found.landmarks[0].max(axis=0)
    side = 1.3 * (far - corner).max()
    np.testing.assert_allclose(found.boxes[1][2] - found.boxes[1][0], side, atol=1)
    np.testing.assert_allclose(
        found.boxes[1].reshape(2, 2).mean(axis=0), (corner + far) / 2, atol=1
    )


def test_a_lost_face_is_looked_for_where_it_began(frames):
    model = pj.make_recurrent(network(3), "fc7", outputs=10)  # its outputs are zero: one point
    model.preprocess, model.inference = RGB, face_model("face").inference
    found = Predictor(model)(frames[:3], boxes=[10, 5, 50, 45])
    np.testing.assert_array_equal(found.boxes, np.repeat(found.boxes[:1], 3, axis=0))
    far = np.array([[70.0, 70.0], [90.0, 90.0]], np.float32)
    assert is_lost(far, 60, 100)  # its middle lies below the picture
    assert not is_lost(far, 100, 100)
    assert is_lost(far / 10, 60, 100)  # 2 pixels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), "frames are float32; expected uint8"),
        (np.zeros((8, 8), np.uint8), r"frames of shape \(8, 8\); expected \(N, H, W, 3\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"frames of shape \(0, 8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.uint8), r"\(8, 8, 3\) may be one picture; .* give array\[None\]"),
        ("absent.mp4", "there is no absent.mp4; expected a video file"),
        (np.zeros((1, 40, 40, 3), np.uint8), "has 1 frame; optical flow needs 2"),
        (np.zeros((4, 4, 4, 3), np.uint8), "optical flow needs frames of at least 16x16"),
    ],
)
def test_bad_input(given, message):
    more = {"pictures": "flow", "flow": "dis", "stack": 2, "channels": 4, "short_side": None}
    with pytest.raises(InputError, match=message):
        action_model(**more).predict(given)


def test_a_model_that_says_nothing_and_boxes_of_others(frames):
    model = action_model()
    with pytest.raises(InputError, match="boxes belong to models of faces"):
        model.predict(frames, boxes=[0, 0, 8, 8])
    model.inference = None
    with pytest.raises(InputError, match="does not say how a video becomes its input"):
        model.predict(frames)
    with pytest.raises(InputError, match="give a box for each frame or none"):
        face_model("picture").predict(frames, boxes=[0, 0, 8, 8])
    with pytest.raises(InputError, match="a box has no size"):
        face_model("face").predict(frames, boxes=[8, 0, 8, 8])
    with pytest.raises(InputError, match="more frames than the 2 boxes"):
        face_model("face").predict(frames, boxes=[[0, 0, 8, 8]] * 2)


def test_folders(tmp_path, video):
    with pytest.raises(InputError, match="holds neither videos nor pictures"):
        find_inputs(tmp_path)
    for name in ("b/x.mp4", "a/x.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(video.read_bytes())
    assert [found.name for found in find_inputs(tmp_path)] == [
        str(tmp_path / "a/x.mp4"), str(tmp_path / "b/x.mp4")
    ]  # fmt: skip
    with pytest.raises(InputError, match="holds 2 videos; give one of them"):
        action_model().predict(tmp_path)


def test_pictures_that_cannot_be_frames(tmp_path):
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "2.png").write_bytes(b"")
    (found,) = find_inputs(tmp_path)
    with pytest.raises(InputError, match=r"2\.png is not a picture, or is damaged; leave it out"):
        list(found.frames())
    (tmp_path / "1.JPG").write_bytes((tmp_path / "1.png").read_bytes())
    with pytest.raises(InputError, match=r"1\.JPG and 1\.png, two pictures of one name; keep one"):
        find_inputs(tmp_path)


def test_an_absent_camera_is_one_line(capfd):
    with pytest.raises(InputError, match="there is no camera 91 on this machine"):
        camera(91, 1.0)
    assert capfd.readouterr().err == ""  # OpenCV says nothing of its own
