"""Says what a trained run sees in videos: `prernn predict RUN INPUT...`."""

import contextlib
import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from prernn_jax.command import parse, run_command
from prernn_jax.data.face.records import read_boxes
from prernn_jax.data.media.flow import require_flow
from prernn_jax.data.records import Record
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json
from prernn_jax.predict.film import landmarks_film, scores_film, write_mp4
from prernn_jax.predict.outcome import VideoLandmarks, VideoScores
from prernn_jax.predict.predictor import Predictor, read_trained
from prernn_jax.predict.records import record_of
from prernn_jax.predict.video_input import VideoInput, camera, find_inputs, standard_input


@dataclass(frozen=True)
class PredictCommand:
    """What to look at.

    Attributes:
        paths: The folder of a finished run or its model.safetensors, wherever it lies; then the
            inputs: video files, folders of videos or of pictures, - for the standard input, or the
            number of a camera. With --stream=both first two runs, of RGB and of flow.
        stream: `own`: the run's own stream. `both`: the class scores of two runs are averaged.
        weights: The weights of the two runs of --stream=both; only their ratio counts.
        out: Folder for one JSON file a video, and the films.
        film: Write an mp4 for each video too.
        box: Models of faces: the square around the face in the first frame, x0 y0 x1 y1 in pixels.
        boxes: Models of faces: JSON file of boxes for every frame, {"NAME": {"1": [x0, y0, x1,
            y1], ...}}; NAME is the file's name without its ending.
        seconds: How long a camera films.
    """

    paths: tyro.conf.Positional[tuple[str, ...]]
    stream: Literal["own", "both"] = "own"
    weights: tuple[float, float] = (1.0, 1.0)
    out: Path = Path("predictions")
    film: bool = False
    box: tuple[float, float, float, float] | None = None
    boxes: Path | None = None
    seconds: float = 5.0


def open_model(run: Path) -> Predictor:
    """Reads a run's model.

    Raises:
        InputError: There is none, it cannot be read, or does not say how a video becomes its input.
    """
    path, model, _ = read_trained(run)
    predictor = Predictor(model, str(path))
    require_flow(predictor.inference.flow)
    return predictor


def fused(streams: Sequence[VideoScores], weights: tuple[float, float]) -> VideoScores:
    """The weighted mean of two streams' scores; the sequences of both stand side by side."""
    first, second = streams
    share = np.asarray(weights) / sum(weights)
    scores = share[0] * first.scores + share[1] * second.scores
    return replace(
        first,
        scores=scores,
        windows=first.windows + second.windows,
        places=first.places + second.places,
    )


def run(command: PredictCommand) -> int:
    """Predicts, writes and says; returns the status: 2 where a video could not be used."""
    count = 2 if command.stream == "both" else 1
    if len(command.paths) <= count:
        raise InputError(
            f"{len(command.paths)} paths given; expected {count} run{'s' * (count > 1)} and then "
            "one or more videos: prernn predict RUN INPUT..."
        )
    predictors = [open_model(Path(path)) for path in command.paths[:count]]
    _check(command, predictors)
    faults = 0
    with contextlib.ExitStack() as stack:
        videos = dict(_named(command, command.paths[count:], stack))
        new = not command.out.exists()
        try:
            command.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out={command.out} cannot be made: {error.strerror}") from None
        if new:
            stack.callback(_remove_empty, command.out)
        for name, video in videos.items():
            try:
                _one(command, predictors, name, video)
            except InputError as error:
                if len(videos) == 1:
                    raise
                print(f"error: {error}", file=sys.stderr, flush=True)
                faults += 1
        if faults:
            raise InputError(f"{faults} of {len(videos)} videos could not be used")
    return 0


def _remove_empty(folder: Path) -> None:
    """Removes a folder into which nothing was written."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _check(command: PredictCommand, predictors: Sequence[Predictor]) -> None:
    found = [predictor.inference for predictor in predictors]
    if command.stream == "both":
        if not all(one.application == "action" for one in found):
            raise InputError("--stream=both: both runs must be of actions")
        if found[0].classes != found[1].classes:
            raise InputError(
                "--stream=both: the runs have different classes; train both on the same data"
            )
        if [one.pictures for one in found] != ["frames", "flow"]:
            raise InputError(
                f"--stream=both: the runs see {found[0].pictures} and {found[1].pictures}; "
                "expected a spatial run, which sees frames, then a temporal one, which sees flow"
            )
        if min(command.weights) < 0 or not np.isfinite(sum(command.weights)):
            raise InputError(f"--weights {command.weights}: expected finite numbers of 0 or more")
        if sum(command.weights) == 0:
            raise InputError("--weights 0 0: one of them must be more than 0")
    if found[0].application != "face" and (command.box or command.boxes):
        raise InputError("--box and --boxes belong to models of faces; leave them out")
    if not 0 < command.seconds < np.inf:
        raise InputError(f"--seconds={command.seconds}: expected more than 0")


def _named(
    command: PredictCommand, inputs: Sequence[str], stack: contextlib.ExitStack
) -> Iterator[tuple[str, VideoInput]]:
    """The videos by the names of their files in --out."""
    seen: dict[str, str] = {}
    for text in inputs:
        if text == "-":
            videos = [stack.enter_context(standard_input())]
        elif text.isdecimal() and not Path(text).exists():
            videos = [camera(int(text), command.seconds)]
        else:
            videos = find_inputs(Path(text))
        for video in videos:
            name = {"-": "standard-input"}.get(video.name, video.name).replace(" ", "-")
            below = Path(name).relative_to(text) if Path(text).is_dir() else Path(Path(name).name)
            # A folder of pictures is one video, which has the folder's name.
            inside = below.with_suffix("").parts if below.name else (Path(text).resolve().name,)
            stem = "_".join(inside)
            if stem in seen:
                raise InputError(
                    f"{seen[stem]} and {video.name} would both be written as {stem}.json; predict "
                    "them one after the other with different --out"
                )
            seen[stem] = video.name
            yield stem, video


def _one(
    command: PredictCommand, predictors: Sequence[Predictor], name: str, video: VideoInput
) -> None:
    found: VideoScores | VideoLandmarks
    flow: Record | None = None
    streams: list[VideoScores] = []
    if predictors[0].inference.application == "face":
        result = predictors[0](video, boxes=_boxes(command, name))
        assert isinstance(result, VideoLandmarks)
        found = result
    else:
        for predictor in predictors:
            record = record_of(video, predictor.inference)
            flow = record if predictor.inference.pictures == "flow" else flow
            streams.append(predictor.scores_of(record))
        found = streams[0] if len(streams) == 1 else fused(streams, command.weights)
    written = command.out / f"{name}.json"
    about = {
        "model": list(command.paths[: len(predictors)]),
        "application": predictors[0].inference.application,
        "version": importlib.metadata.version("prernn-jax"),
        "stream": command.stream,
    }
    try:
        write_json(written, {**about, **found.to_json()})
    except OSError as error:
        raise InputError(f"{written} cannot be written: {error.strerror}") from None
    files = str(written)
    if command.film:
        path = command.out / f"{name}.mp4"
        if isinstance(found, VideoScores):
            write_mp4(path, scores_film(found, video.frames(), flow), video.rate)
        else:
            write_mp4(path, landmarks_film(found, video.frames()), video.rate)
        files += f", {path}"
    print(f"{video.name}: {found.brief}  ({files})", flush=True)


def _boxes(command: PredictCommand, name: str) -> np.ndarray | None:
    if command.boxes is None:
        return None if command.box is None else np.asarray(command.box, np.float32)
    given = read_boxes(command.boxes).get(name)
    if not given:
        raise InputError(f"{command.boxes} has no boxes for the video {name}")
    frames = sorted(given)
    if frames != list(range(1, len(frames) + 1)):
        raise InputError(f"{command.boxes}: video {name}: expected boxes for frames 1, 2, 3, ...")
    return np.stack([given[frame] for frame in frames])


def main(argv: Sequence[str]) -> int:
    """Runs the command line."""
    command = parse(
        PredictCommand,
        argv,
        program="prernn predict",
        description=(
            "Says what a trained run sees in videos. Pictures are prepared as the model's file "
            "says, as in the run's own test. Writes a JSON file a video and prints a line."
        ),
        examples=(
            "prernn predict runs/action/NAME video.mp4 --film",
            "prernn predict model.safetensors folder --out=seen",
            "prernn predict --stream=both RUN_SPATIAL RUN_TEMPORAL video.avi",
        ),
    )
    return run(command)


if __name__ == "__main__":
    run_command(main)
