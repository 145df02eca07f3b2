"""The scripts in examples/ and the notebook run as they are, and say what they should."""

import json
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from small_videos import numbered_pictures, write_video

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORTER_THAN = 60  # lines


def inputs_of(script, folder):
    """The arguments of a script, files that stand in for the user's."""
    if script != "real_weights":
        return []
    torch = pytest.importorskip("torch")
    from reference_files import resnet50

    torch.save(resnet50().state_dict(), folder / "tiny.pth")  # torchvision's layout, 2 channels
    video = write_video(folder / "video.mp4", numbered_pictures(4))
    return [str(folder / "tiny.pth"), str(video)]


def scripts():
    """Each script; those that train or convert take half a minute and run at night."""
    for path in sorted(EXAMPLES.glob("*.py")):
        long = path.stem in ("own_folder", "real_weights")
        yield pytest.param(path, id=path.stem, marks=pytest.mark.nightly if long else ())


@pytest.mark.slow
@pytest.mark.parametrize("script", list(scripts()))
def test_it_runs(script, tmp_path, monkeypatch, capsys):
    if script.stem == "onnx_step":
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRERNN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", [str(script), *inputs_of(script.stem, tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert said
    for number in re.findall(r"(?:parts|again|sequence|JAX): ([0-9.e-]+)", said):
        assert float(number) < 1e-4


@pytest.mark.slow
def test_the_notebook_runs_and_says_what_it_shows(capsys):
    """Each cell of code, as a kernel runs it; the stored outputs are those of now."""
    matplotlib.use("agg")
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    space, drawn = {}, 0
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        capsys.readouterr()
        exec("".join(cell["source"]), space)
        stored = [line for out in cell["outputs"] for line in out.get("text", ())]
        assert capsys.readouterr().out == "".join(stored)
        pictures = [out for out in cell["outputs"] if out["output_type"] == "display_data"]
        assert len(pictures) == len(plt.get_fignums())
        drawn += len(pictures)
        plt.close("all")
    assert drawn == 2


def test_they_are_short():
    paths = list(EXAMPLES.glob("*.py"))
    assert len(paths) >= 6
    for script in paths:
        assert len(script.read_text(encoding="utf-8").splitlines()) < SHORTER_THAN
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [line for cell in cells if cell["cell_type"] == "code" for line in cell["source"]]
    assert len(code) < SHORTER_THAN
