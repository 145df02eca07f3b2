"""Writes a trained run for other programs: `prernn export RUN --format=onnx`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro

from prernn_jax.command import dispatch, parse, run_command
from prernn_jax.errors import InputError
from prernn_jax.export.model_card import write_card
from prernn_jax.export.onnx_file import frame_shape, onnx_bytes
from prernn_jax.export.onnx_graph import require_onnx
from prernn_jax.export.onnx_model import Kind
from prernn_jax.export.stablehlo import to_stablehlo
from prernn_jax.files.atomic import write_bytes
from prernn_jax.predict.predictor import model_path, read_trained

Format = Literal["onnx", "stablehlo", "torch"]
_FORMS = {"onnx": "ONNX, opset 17", "stablehlo": "StableHLO of jax.export for cpu, cuda, tpu"}
_TORCH = "a state dict for PyTorch and its metadata"
_WHAT = {"step": "one step: frames and carry -> outputs and next carry", "sequence": "a sequence"}


@dataclass(frozen=True)
class ExportCommand:
    """What to write.

    Attributes:
        run: The folder of a finished run, or its model.safetensors.
        format: `onnx` and `stablehlo`: a file of one step and one of a whole sequence. `torch`: a
            state dict, as `prernn port export` writes it.
        out: Folder for the files and the model's card; `export` in the run's folder by default.
    """

    run: tyro.conf.Positional[Path]
    format: Format = "onnx"
    out: Path | None = None


def run(command: ExportCommand) -> list[Path]:
    """Writes the files and the card; returns their paths."""
    path = model_path(command.run)
    out = command.out or path.parent / "export"
    if command.format == "onnx":
        require_onnx()
    files: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    if command.format != "torch":
        _, model, inference = read_trained(path)
        for kind in get_args(Kind):
            name = f"{kind}.{command.format}"
            if command.format == "onnx":
                contents[name] = onnx_bytes(model, inference, kind)[0]
            else:
                contents[name] = to_stablehlo(model, frame_shape(inference), kind)
            files[name] = f"{_WHAT[kind]} ({_FORMS[command.format]})"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_bytes(out / name, content)
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror}") from None
    if command.format == "torch":
        dispatch(["port", "export", str(path), f"--out={out / 'model.pth'}", "--overwrite"])
        files["model.pth"] = _TORCH
    card = write_card(path, out, {**_earlier(out), **files})
    for name in files:
        print(f"{out / name}  ({(out / name).stat().st_size / 1e6:.2f} MB)", flush=True)
    print(card, flush=True)
    return [*(out / name for name in files), card]


def _earlier(out: Path) -> dict[str, str]:
    """What earlier calls have written there, in another format."""
    known = {
        f"{kind}.{name}": f"{_WHAT[kind]} ({form})"
        for name, form in _FORMS.items()
        for kind in get_args(Kind)
    } | {"model.pth": _TORCH}
    return {name: what for name, what in known.items() if (out / name).is_file()}


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    run(
        parse(
            ExportCommand,
            argv,
            program="prernn export",
            description=(
                "Writes a trained run for other programs: ONNX, StableHLO or PyTorch, one step "
                "with its carry and a whole sequence, and a model card."
            ),
            examples=(
                "prernn export runs/gesture/NAME",
                "prernn export model.safetensors --format=stablehlo --out=exported",
            ),
        )
    )


if __name__ == "__main__":
    run_command(main)
