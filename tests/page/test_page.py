"""`prernn page`: its files, and in a browser the numbers of JAX."""

import functools
import http.server
import json
import shutil
import threading

import numpy as np
import pytest
from drawn import drawn

import prernn_jax as pj
from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.data.drawn.gestures import GESTURE_CLASSES
from prernn_jax.errors import InputError
from prernn_jax.page.__main__ import main
from prernn_jax.page.runtime import FILES, runtime_files


def face():
    model = drawn(
        lambda: pj.make_recurrent(CompactVGG(channels=(4, 4), hidden=8, image_size=24), "fc6")
    )
    model.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    model.inference = pj.Inference("face", steps=4, size=24)
    return model


def gesture():
    backbone = pj.c3d(
        num_outputs=10, width=2, hidden=8, image_size=48, clip_length=4, in_channels=1,
        stage_sizes=(1, 1), stride=2,
    )  # fmt: skip
    model = drawn(lambda: pj.make_recurrent(backbone, "fc7", cell="lstm"))
    model.preprocess = pj.Preprocessing(scale=1 / 64, mean=(1.0,))
    model.inference = pj.Inference(
        "gesture", steps=10, size=48, channels=1, classes=GESTURE_CLASSES, clip_length=4,
        short_side=48, gray=True,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for make in (face, gesture):
        (folder / make.__name__).mkdir()
        pj.save(folder / make.__name__ / "model.safetensors", make())
    return folder


@pytest.fixture
def runtime(tmp_path):
    """A folder of the names of onnxruntime-web's files; the page copies them as they are."""
    folder = tmp_path / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(name)
    return folder.parent


def test_its_files(runs, runtime, tmp_path, capsys):
    main([str(runs / "gesture"), f"--out={tmp_path / 'site'}", f"--ort={runtime}"])
    about = json.loads((tmp_path / "site/page.json").read_text())
    assert about["about"] == "A recurrent net (gesture), one step for every 4 frames."
    assert about["carry"] == [["carry_0_h", 8], ["carry_0_c", 8]]
    assert about["gates"] == ["gate_fc7_i", "gate_fc7_f", "gate_fc7_o"]
    assert about["inference"]["classes"] == list(GESTURE_CLASSES)
    for clip in about["clips"]:
        size = (tmp_path / "site" / clip["file"]).stat().st_size
        assert size == 3 * np.prod(clip["shape"])
        assert 0 <= clip["label"] < 10
    for name in ("index.html", "page.js", "page.css", "step.onnx", *(f"ort/{n}" for n in FILES)):
        assert (tmp_path / "site" / name).stat().st_size > 0
    assert "http.server" in capsys.readouterr().out


def test_bad_input(runs, runtime, tmp_path, monkeypatch):
    model = face()
    names = tuple(f"class {number}" for number in range(136))
    model.inference = pj.Inference(
        "action", 3, 24, channels=3, classes=names, pictures="flow", flow="dis"
    )
    pj.save(tmp_path / "flow.safetensors", model)
    with pytest.raises(InputError, match="sees optical flow, which the page does not compute"):
        main([str(tmp_path / "flow.safetensors"), f"--ort={runtime}"])
    with pytest.raises(InputError, match=r"there is no ort\.wasm\.min\.mjs, .* in it"):
        runtime_files(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="npm, which fetches it, is not installed"):
        main([str(runs / "face"), f"--out={tmp_path / 'site'}"])
    assert not (tmp_path / "site").exists()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["face", "gesture"])
def test_a_browser_gives_the_numbers_of_jax(runs, tmp_path, name):
    """With the real onnxruntime-web, from npm, in a real Chromium with a fake camera."""
    browsers = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or shutil.which("npm") is None:
        pytest.skip("needs chromium and npm")
    main([str(runs / name), f"--out={tmp_path}"])
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    try:
        with browsers.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page()
            faults = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.wait_for_function("globalThis.prernn", timeout=120_000)
            found = page.evaluate("prernn.playClip(0, 0)")
            page.click("#camera")
            page.wait_for_function("prernn.history.length >= 3", timeout=60_000)
            page.click("#forget")
            page.click("#stop")
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    assert faults == []
    model = pj.load(runs / name / "model.safetensors")
    model.eval()
    shape = json.loads((tmp_path / "page.json").read_text())["clips"][0]["shape"]
    clip = np.frombuffer((tmp_path / "clip0.bin").read_bytes(), np.uint8).reshape(*shape, 3)
    if name == "gesture":
        clip = clip[..., :1].reshape(-1, 4, 48, 48, 1)
    x = model.preprocess.normalise(clip[None])
    whole, alone = np.asarray(model(x)[0])[0], np.asarray(model(x[0][:, None])[0])[:, 0]
    np.testing.assert_allclose([step["memory"] for step in found], whole, atol=1e-3)
    np.testing.assert_allclose([step["alone"] for step in found], alone, atol=1e-3)
    assert np.abs(whole - alone).max() > 0.01
