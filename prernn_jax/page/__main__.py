"""Builds a static page that runs a trained model in a browser: `prernn page RUN`."""

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro

from prernn_jax import streaming
from prernn_jax.command import parse, run_command
from prernn_jax.errors import InputError
from prernn_jax.export.onnx_file import onnx_bytes
from prernn_jax.export.onnx_graph import require_onnx
from prernn_jax.files.atomic import write_bytes
from prernn_jax.inference import Inference
from prernn_jax.page.drawn_clips import draw_clips, knows_drawn
from prernn_jax.page.runtime import runtime_files
from prernn_jax.predict.predictor import read_trained

SITE = ("index.html", "page.css", "page.js")
_CLIPS = 3
_TITLES = {
    "action": "What is being done?",
    "gesture": "Which gesture is it?",
    "face": "Where is the face?",
}
_DRAWN = (
    "This net was trained on drawn pictures only and knows nothing of your room: the test clips "
    "show what it can do."
)


@dataclass(frozen=True)
class PageCommand:
    """What to build.

    Attributes:
        run: The folder of a finished run, or its model.safetensors. Runs that see optical flow
            have no page: a browser would have to compute the flow.
        out: Folder of the page; `page` in the run's folder by default.
        ort: The unpacked npm package onnxruntime-web. By default npm fetches it.
    """

    run: tyro.conf.Positional[Path]
    out: Path | None = None
    ort: Path | None = None


def check(inference: Inference, where: Path) -> None:
    """Raises an InputError for a model that a page cannot run."""
    if inference.pictures == "flow":
        raise InputError(
            f"{where} sees optical flow, which the page does not compute; give a run of RGB frames "
            "(prernn train action --stream=spatial), of gestures or of faces"
        )


def build(command: PageCommand) -> Path:
    """Writes the page's files; returns its folder."""
    require_onnx()
    path, model, inference = read_trained(command.run)
    check(inference, path)
    content, names = onnx_bytes(model, inference, "step", gates=True)
    files: dict[str, bytes] = {"step.onnx": content}
    clips = []
    for number, (pictures, truth) in enumerate(draw_clips(inference, _CLIPS)):
        files[f"clip{number}.bin"] = pictures.tobytes()
        clips.append({"file": f"clip{number}.bin", "shape": pictures.shape[:3], **truth})
    widths = [part.shape[1] for part in jax.tree.leaves(streaming.init(model))]
    length = inference.clip_length
    seen = "each frame" if length == 1 else f"every {length} frames"
    about = {
        "title": _TITLES[inference.application],
        "about": f"A recurrent net ({path.resolve().parent.name}), one step for {seen}.",
        "note": _DRAWN if knows_drawn(inference) else "",
        "inference": json.loads(inference.to_json()),
        "frames": names.frames,
        "outputs": names.outputs,
        "carry": list(zip(names.carry, widths, strict=True)),
        "gates": names.gates,
        "clips": clips,
    }
    files["page.json"] = json.dumps(about).encode()
    site = importlib.resources.files("prernn_jax.page") / "site"
    files |= {name: (site / name).read_bytes() for name in SITE}
    files |= {f"ort/{name}": data for name, data in runtime_files(command.ort).items()}
    out = command.out or path.parent / "page"
    try:
        (out / "ort").mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_bytes(out / name, data)
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror}") from None
    megabytes = sum(map(len, files.values())) / 1e6
    print(
        f"{out}  ({megabytes:.0f} MB). Look at it with: python -m http.server -d {out} 8000, then "
        "http://localhost:8000",
        flush=True,
    )
    return out


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    build(
        parse(
            PageCommand,
            argv,
            program="prernn page",
            description=(
                "Builds a static page that runs a trained model in the visitor's browser, on a "
                "camera, a video or drawn test clips, with and without its memory."
            ),
            examples=("prernn page runs/gesture/NAME", "prernn page model.safetensors --out=site"),
        )
    )


if __name__ == "__main__":
    run_command(main)
