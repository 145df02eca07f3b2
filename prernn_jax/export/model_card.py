"""The card beside a model: a README.md in the layout that a model hub expects."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.files.backbones import read_metadata
from prernn_jax.inference import Inference

CARD = "README.md"
_TASKS = {"action": "video-classification", "gesture": "video-classification", "face": "other"}
_METRICS = {
    "video_top1": "accuracy over videos",
    "clip_top1": "accuracy over sequences",
    "nme_outer_eye": "mean error in parts of the distance of the outer eye corners",
    "auc_outer_eye": "area under the curve of these errors up to 0.08",
    "failure_outer_eye": "share of frames with an error above 0.08",
    "nme_two_points": "mean error in parts of the distance of two landmarks",
    "nme_box_diagonal": "mean error in parts of the diagonal of the landmarks' box",
    "loss": "loss",
}
_DRAWN = "Apache-2.0, as the package: it was trained from nothing on data that the package draws."
_UNKNOWN = (
    "It started from {weights} and was trained on {data}: their licences decide what "
    "may be done with it. Put the result here and into `license` above."
)


def write_card(
    model: Path, folder: Path | None = None, exported: Mapping[str, str] | None = None
) -> Path:
    """Writes the card of a model.

    What the run's folder says is taken from beside the model: `config.json` and `summary.json`.

    Args:
        model: The model's file.
        folder: Where the card goes; beside the model when None.
        exported: Further files that lie there, and what each is.

    Returns:
        The card's file.

    Raises:
        InputError: The model cannot be read, or the card cannot be written.
    """
    path = (folder or model.parent) / CARD
    files = {model.name: "the weights and all that `prernn predict` needs"} if not folder else {}
    try:
        write_text(path, card(model, {**files, **(exported or {})}))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    return path


def card(model: Path, files: Mapping[str, str]) -> str:
    """The text of a card; see `write_card`."""
    metadata = read_metadata(model)
    config, summary = (_beside(model, name) for name in ("config.json", "summary.json"))
    inference = None
    if "inference" in metadata:
        inference = Inference.from_json(metadata["inference"], where=str(model))
    application = inference.application if inference else config.get("application", "")
    drawn = config.get("data") == "embedded" and not config.get("weights")
    head = ["---", "library_name: prernn-jax"]
    head += ["license: apache-2.0"] if drawn else ["license: other"]
    head += [f"pipeline_tag: {_TASKS[application]}"] if application in _TASKS else []
    head += ["tags:", "- video", "- jax", "- flax", "- recurrent", "---", ""]
    call = json.loads(metadata.get("sequence", "{}"))
    name = str(config.get("name") or model.resolve().parent.name)
    lines = [
        *head,
        f"# {name}",
        "",
        f"A {metadata.get('architecture', 'network')} over time, made by `{call.get('function')}` "
        "(PreRNN: Yang, Molchanov and Kautz, CVPR 2018) and trained with `prernn-jax`.",
        "",
        *_data(config, summary, inference),
        *_preprocessing(metadata, inference),
        "## Files",
        "",
        *(f"- `{file}`: {what}" for file, what in files.items()),
        "",
        "## Use",
        "",
        "```python",
        "import prernn_jax as pj",
        "",
        'found = pj.load("model.safetensors").predict("video.mp4")',
        "```",
        "",
        "## Licence of the weights",
        "",
        _DRAWN
        if drawn
        else _UNKNOWN.format(
            weights=_start(config),
            data=_source(config),
        ),
        "",
    ]
    return "\n".join(lines)


def _start(config: Mapping[str, Any]) -> str:
    """The network that a run started from."""
    if not config:
        return "weights that are not known"
    if config.get("weights"):
        return f"the weights {config['weights']}"
    return "a network that was trained on data that the package draws"


def _source(config: Mapping[str, Any]) -> str:
    """The data that a run was trained on."""
    if config.get("data") == "folder":
        return f"a person's own videos, `{config.get('source')}`"
    return f"`{config['data']}`" if config.get("data") else "data that are not known"


def _beside(model: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((model.parent / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _data(
    config: Mapping[str, Any], summary: Mapping[str, Any], inference: Inference | None
) -> list[str]:
    lines = ["## Data and results", ""]
    if config:
        drawn = config.get("data") == "embedded"
        why = ", which the package draws; it knows nothing of real videos" * drawn
        lines.append(
            f"Trained and tested on {_source(config)}{why}. Its settings stand in `config.json`."
        )
    else:
        lines.append("There is no `config.json` beside the model that would say it.")
    rows = [
        f"| {what} | {summary[key]:.4f} |"
        for key, what in _METRICS.items()
        if isinstance(summary.get(key), int | float)
    ]
    if rows:
        lines += ["", "| on the test set | |", "| --- | --- |", *rows]
    if inference and inference.classes:
        lines += ["", f"Classes, in their order: {', '.join(inference.classes)}."]
    return [*lines, ""]


def _preprocessing(metadata: Mapping[str, str], inference: Inference | None) -> list[str]:
    lines = ["## Preprocessing", ""]
    if inference is not None:
        side, first = inference.size, inference.short_side
        resized = f"Frames are brought to a shorter side of {first} pixels. " if first else ""
        square = "the middle square"
        if inference.application == "face" and inference.box == "face":
            square = f"a square around the face, {inference.enlarge:g} times its landmarks' box,"
        lines.append(f"{resized}The network takes {square} at {side}x{side} pixels,")
        kind = {
            "action": f"{inference.steps} steps spread over the video",
            "gesture": f"{inference.steps} clips of {inference.clip_length} frames",
            "face": f"every frame, in sequences of {inference.steps}; its outputs are x and y of "
            f"{inference.points} landmarks in this square, -0.5 to 0.5",
        }[inference.application]
        if inference.pictures == "flow":
            kind += f", each of {inference.stack} fields of optical flow ({inference.flow})"
        lines.append(f"{kind}{', grey' if inference.gray else ''}.")
    else:
        lines.append("The file does not say how a video becomes the input.")
    if "preprocessing" in metadata:
        fields = json.loads(metadata["preprocessing"])
        shown = {key: fields[key] for key in ("channels", "scale", "mean", "std") if key in fields}
        lines += ["", f"Values 0 to 255, then: `{json.dumps(shown)}`."]
    return [*lines, ""]
