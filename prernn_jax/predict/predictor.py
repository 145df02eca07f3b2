"""A model and a video -> what the model sees: prepared as the program's own test prepares it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike, NDArray

from prernn_jax.cpu.xla import jit
from prernn_jax.data.records import Record
from prernn_jax.errors import InputError
from prernn_jax.files.models import load
from prernn_jax.inference import Inference
from prernn_jax.metrics import sequence_scores, video_scores
from prernn_jax.precision import cast, products_in
from prernn_jax.predict.face_input import (
    around_face,
    checked_boxes,
    in_pixels,
    is_lost,
    middle_square,
    shown,
    squares,
)
from prernn_jax.predict.outcome import VideoLandmarks, VideoScores
from prernn_jax.predict.records import Sequences, read_sequences, record_of
from prernn_jax.predict.video_input import VideoInput, as_input
from prernn_jax.sequence import OverFrames
from prernn_jax.streaming import Stream


def inference_of(model: Any, where: str = "this model") -> Inference:
    """What a model says of its input.

    Raises:
        InputError: It says nothing.
    """
    if not isinstance(model, OverFrames) or model.inference is None:
        raise InputError(
            f"{where} does not say how a video becomes its input: it is a backbone, was made by "
            "hand, or is of an older version; give the command that trained it again with "
            "--resume, which writes the file anew"
        )
    return model.inference


def model_path(run: Path) -> Path:
    """The model's file of a run, or the file itself.

    Raises:
        InputError: There is none.
    """
    path = run / "model.safetensors" if run.is_dir() else run
    if not path.is_file():
        state = "there is no model.safetensors in it" if run.is_dir() else "there is no such file"
        raise InputError(f"{run} is no finished run: {state}; finish it with --resume")
    return path


def read_trained(run: Path) -> tuple[Path, Any, Inference]:
    """The model of a finished run, for evaluation.

    Args:
        run: Its folder, or the model's file.

    Returns:
        The file, the model, and what it says of its input.

    Raises:
        InputError: There is none, it cannot be read, or does not say how a video becomes its input.
    """
    path = model_path(run)
    model = load(path)
    inference = inference_of(model, str(path))
    model.eval()
    return path, model, inference


class Predictor:
    """Says what a model sees in videos; compiled once for all of them.

    Args:
        model: A model whose `inference` is set: of a run, or set by hand. Left as it was.
        where: What to call the model in messages.

    Raises:
        InputError: The model does not say how a video becomes its input. A model with another
            number of outputs than it says is refused by the first call.
    """

    def __init__(self, model: Any, where: str = "this model") -> None:
        self.inference = found = inference_of(model, where)
        self.model = nnx.clone(model)
        self.model.eval()
        preprocess = self.model.preprocess
        graphdef, *states = nnx.split(self.model, nnx.Param, ...)

        @products_in(found.precision)
        def run(params: Any, others: Any, clips: Any, lengths: Any) -> Any:
            here = nnx.merge(graphdef, cast(params, found.precision), others)
            x = cast(preprocess.normalise(clips), found.precision)
            outputs, _ = here(x, lengths=lengths)
            found.check_outputs(outputs.shape[-1], where=where)
            outputs = outputs.astype(jnp.float32)
            if found.application == "face":
                return (outputs,)
            return sequence_scores(outputs, lengths), jax.nn.softmax(outputs, axis=-1)

        compiled = jit(run)
        self._run = lambda clips, lengths: compiled(*states, clips, lengths)

    def __call__(
        self, video: Any, *, boxes: ArrayLike | None = None
    ) -> VideoScores | VideoLandmarks:
        """Reads a video and says what the model sees in it.

        Args:
            video: A video file, a folder of pictures, or frames (N, H, W, 3) uint8 RGB.
            boxes: Models of faces: the square to begin with (4,), or one for each frame (N, 4):
                x0, y0, x1, y1 in pixels of the video; the middle of the first pixel is 0. By
                default the middle square of the picture.

        Returns:
            `VideoScores` or `VideoLandmarks`.

        Raises:
            InputError: The video cannot be read, or is too short for a step.
        """
        given = as_input(video)
        if self.inference.application == "face":
            return self._faces(given, checked_boxes(boxes))
        if boxes is not None:
            raise InputError("boxes belong to models of faces; leave them out")
        return self.scores_of(record_of(given, self.inference))

    def scores_of(self, record: Record) -> VideoScores:
        """Classes of a prepared record (`prernn_jax.data.records`)."""
        sequences, places = read_sequences(record, self.inference)
        scores, over_time = self._in_batches(sequences)
        lengths = [length for _, length in sequences]
        return VideoScores(
            name=record["name"],
            frames=len(record["frames"]),
            classes=self.inference.classes,
            scores=video_scores(_finite(scores, record["name"]), np.zeros(len(scores), int))[1][0],
            windows=tuple(rows[:n] for rows, n in zip(over_time, lengths, strict=True)),
            places=tuple(places),
        )

    def _in_batches(self, sequences: Sequences) -> list[NDArray[Any]]:
        """Runs sequences in batches of the size that the program's own test has."""
        size = self.inference.batch_size
        kept: list[list[NDArray[Any]]] = []
        for start in range(0, len(sequences), size):
            part = sequences[start : start + size]
            clips = np.zeros((size, *part[0][0].shape), np.uint8)
            lengths = np.ones(size, np.int32)
            for row, (clip, length) in enumerate(part):
                clips[row], lengths[row] = clip, length
            kept.append([v[: len(part)] for v in jax.device_get(self._run(clips, lengths))])
        return [np.concatenate(values) for values in zip(*kept, strict=True)]

    def _faces(self, video: VideoInput, boxes: NDArray[np.float32] | None) -> VideoLandmarks:
        if self.inference.box == "face" and (boxes is None or len(boxes) == 1):
            return self._followed(video, None if boxes is None else boxes[0])
        if boxes is not None and len(boxes) == 1:
            raise InputError(
                "this model of faces looks at the whole picture; give a box for each frame or none"
            )
        pictures, edges = squares(video.frames(), boxes, self.inference, video.name)
        steps = self.inference.steps
        sequences: Sequences = []
        for start in range(0, len(pictures), steps):
            part = pictures[start : start + steps]
            padding = np.zeros((steps - len(part), *part.shape[1:]), np.uint8)
            sequences.append((np.concatenate([part, padding]), len(part)))
        (outputs,) = self._in_batches(sequences)  # (W, T, 2 P)
        outputs = _finite(outputs.reshape(-1, outputs.shape[-1])[: len(pictures)], video.name)
        return VideoLandmarks(video.name, len(pictures), in_pixels(outputs, edges), edges)

    def _followed(self, video: VideoInput, first: NDArray[np.float32] | None) -> VideoLandmarks:
        """Each frame's square lies around the landmarks found in the frame before.

        Where these are lost it is that of the first frame again.
        """
        stream = Stream(
            self.model,
            prepare=self.model.preprocess.normalise,
            precision=self.inference.precision,
        )
        landmarks, edges, box = [], [], first
        for picture in video.frames():
            if box is None:
                box = middle_square(*picture.shape[:2])
            seen, where = shown(picture, box, self.inference)
            points = in_pixels(_finite(np.asarray(stream(seen[None]))[0], video.name), where)
            landmarks.append(points)
            edges.append(where)
            lost = is_lost(points, *picture.shape[:2])
            box = first if lost else around_face(points, self.inference.enlarge)
        if not landmarks:
            raise InputError(f"the video {video.name} has no frames")
        return VideoLandmarks(video.name, len(edges), np.stack(landmarks), np.stack(edges))


def _finite(outputs: NDArray[Any], video: str) -> NDArray[Any]:
    """The outputs; a NaN among them would be sorted as a class, and be a landmark of nowhere.

    Raises:
        InputError: One is NaN or infinite.
    """
    if not np.isfinite(outputs).all():
        raise InputError(
            f"the model says NaN or infinity of {video}: its weights or its precision do not suit "
            "this video; take another model, or train it with --precision=float32"
        )
    return outputs
