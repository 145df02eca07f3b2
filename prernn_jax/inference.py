"""What turns a video into a model's input, as text in the model's file.

The weights and the preprocessing say how a prepared picture is normalised. The rest stands here:
which pictures, how many, cut how, and what the outputs mean. A model file then needs nothing else.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from prernn_jax.errors import InputError
from prernn_jax.json_values import typed
from prernn_jax.precision import Precision
from prernn_jax.preprocess import LARGEST

VERSION = 1
"""The version of the text. A reader takes its own version and all before it."""

ApplicationName = Literal["action", "gesture", "face"]
Pictures = Literal["frames", "flow"]
_MOST = dict.fromkeys(
    ("steps", "channels", "stack", "clip_length", "stride", "windows", "points", "batch_size"),
    2**16,
) | {"quality": 100, "size": LARGEST, "short_side": LARGEST}
"""The largest value of what is counted from 1: a wrong number must not fill the memory."""


@dataclass(frozen=True)
class Inference:
    """How a video becomes a model's input, and what the model's outputs are.

    Attributes:
        application: What the outputs are: scores of actions or of gestures, or landmarks of faces.
        steps: Time steps T of a sequence.
        size: Side of the network's input in pixels.
        channels: Channels of a picture, or of a stack of flow.
        classes: Names of the outputs of actions and gestures, in their order.
        pictures: What a step is made of: RGB or grey frames, or optical flow.
        stack: Actions: flow fields L of a step.
        clip_length: Gestures: frames L of a step.
        stride: Gestures: one frame is taken of every `stride` frames.
        windows: Actions: sequences into which a video is divided.
        flow: Algorithm of the optical flow.
        short_side: Shorter side in pixels to which frames are brought first; None keeps them.
        quality: Quality of the JPEG pictures between preparing and cutting, as in training.
        gray: Whether frames are made grey.
        box: Faces: what the network looks at: the middle square of the `picture`, or a square
            around the `face`, which is followed from frame to frame.
        enlarge: Faces: side of the square that is looked at, in parts of the landmarks' box.
        points: Faces: landmarks P.
        batch_size: Sequences in a batch of the program's own test. Another size may change the
            last bits of an output.
        precision: The precision of activations and products in that test.

    Raises:
        InputError: A value that no model can have.
    """

    application: ApplicationName
    steps: int
    size: int
    channels: int = 3
    classes: tuple[str, ...] = ()
    pictures: Pictures = "frames"
    stack: int = 1
    clip_length: int = 1
    stride: int = 1
    windows: int = 1
    flow: Literal["none", "dis", "tvl1"] = "none"
    short_side: int | None = None
    quality: int = 95
    gray: bool = False
    box: Literal["picture", "face"] = "picture"
    enlarge: float = 1.3
    points: int = 68
    batch_size: int = 1
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            if (value := getattr(self, name)) is not None and not 1 <= value <= most:
                raise InputError(f"{name} is {str(value)[:80]}; expected 1 to {most}")
        for name in self.classes:
            if not name or not name.isprintable():
                raise InputError(f"a class is called {name[:80]!r}; expected a text of one line")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise InputError(f"two classes are called {twice[:80]!r}; expected names that differ")
        if not 0 < self.enlarge < 10:
            raise InputError(f"enlarge is {self.enlarge}; expected a number between 0 and 10")
        if self.pictures == "flow" and self.flow == "none":
            raise InputError("pictures is 'flow' and flow is 'none'; name the flow's algorithm")
        if self.application != "face" and not self.classes:
            raise InputError(f"a model of {self.application}s needs the names of its classes")

    def to_json(self) -> str:
        """All fields that differ from their defaults, and the version of the text."""
        fields: dict[str, Any] = {"version": VERSION}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                fields[field.name] = value
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str, *, where: str = "metadata") -> "Inference":
        """Reads what `to_json` wrote, also that of an earlier version.

        Args:
            text: The text.
            where: What to call the file in messages.

        Raises:
            InputError: No JSON object, a later version, or a field that cannot be used.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: `inference` in the metadata is no JSON: {error}") from error
        if not isinstance(fields, dict) or type(fields.get("version")) is not int:
            raise InputError(f"{where}: `inference` in the metadata is no object with a version")
        version = fields.pop("version")
        if not 1 <= version <= VERSION:
            raise InputError(
                f"{where}: `inference` in the metadata is of version {version}; this program knows "
                f"1 to {VERSION}: install a newer prernn-jax"
            )
        missing = {"application", "steps", "size"} - fields.keys()
        if missing:
            raise InputError(f"{where}: `inference` in the metadata lacks {', '.join(missing)}")
        try:
            found: Inference = typed(cls, fields, "`inference` in the metadata")
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return found

    def check_outputs(self, count: int, *, where: str) -> None:
        """Compares the outputs of a model with what they are to be.

        Args:
            count: Outputs K of the model.
            where: What to call the model in messages.

        Raises:
            InputError: It has another number of them.
        """
        if self.application == "face":
            wanted, what = 2 * self.points, f"{self.points} landmarks"
        else:
            wanted, what = len(self.classes), f"{len(self.classes)} classes"
        if count != wanted:
            raise InputError(
                f"{where} has {count} outputs, and `inference` names {what}; expected {wanted}: "
                "take the file that belongs to this model"
            )
