"""What pre-trained weights expect of an image: nobody has to remember which ones want BGR."""

import dataclasses
import json
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.json_values import typed

LARGEST = 2**15
"""Pixels of a side of an image."""


@dataclasses.dataclass(frozen=True, eq=False)  # by identity: it may hold an array
class Preprocessing:
    """Turns uint8 RGB frames into the input of a network.

    In this order: resize, crop the centre, reorder the channels, times `scale`, minus the mean,
    divided by `std`.

    Attributes:
        channels: Order of the network's input channels; "flow" leaves them as they come.
        scale: Factor that multiplies the 0..255 values.
        mean: Mean of each input channel, in the network's order, after scaling; or one for all.
        std: Standard deviation of each input channel, or one for all.
        resize: (height, width), or one number for the shorter side; None keeps the size.
        crop: (height, width) cut from the centre; None keeps all.
        antialias: Whether to smooth before shrinking, as PIL and torchvision do and OpenCV and
            Caffe do not.
        mean_volume: (L, H, W, C) at the size after `resize`, in the network's channel order,
            subtracted before the crop in place of `mean` (C3D).
    """

    channels: Literal["rgb", "bgr", "flow"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    antialias: bool = True
    mean_volume: np.ndarray | None = None

    def __post_init__(self) -> None:
        faults = [
            (self.channels not in ("rgb", "bgr", "flow"), "channels", "'rgb', 'bgr' or 'flow'"),
            (not np.isfinite(self.scale) or self.scale == 0, "scale", "a number other than 0"),
            (not self.mean or not np.isfinite(self.mean).all(), "mean", "finite numbers"),
            (not self.std or not all(0 < s < np.inf for s in self.std), "std", "numbers above 0"),
            (not _are_sizes(self.resize), "resize", f"1 to {LARGEST} pixels, or None"),
            (
                not _are_sizes(self.crop) or len(self.crop or (1, 1)) != 2,
                "crop",
                f"a height and a width of 1 to {LARGEST} pixels, or None",
            ),
        ]
        for wrong, name, expected in faults:
            if wrong:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")
        volume = self.mean_volume
        if volume is not None and (volume.ndim != 4 or not np.isfinite(volume).all()):
            raise InputError(
                f"the mean volume has shape {volume.shape}; expected (L, H, W, C), finite numbers"
            )

    def __call__(self, frames: Any) -> jax.Array:
        """Frames (..., H, W, C), 0..255, RGB -> (..., h, w, C) float32 for the network.

        With a mean volume the axis before H is time, at most as long as the volume.

        Raises:
            InputError: The frames have too few axes, or are too small or too long.
        """
        x = jnp.asarray(frames)
        if x.ndim < 3:
            raise InputError(f"expected frames (..., H, W, C), got shape {x.shape}")
        x = x.astype(jnp.float32)
        if self.resize is not None:
            x = self._resized(x)
        top, left, height, width = self._crop_of(x.shape[-3], x.shape[-2])
        x = x[..., top : top + height, left : left + width, :]
        return self.normalise(x, top=top, left=left)

    def normalise(
        self, frames: Any, *, top: int | None = None, left: int | None = None
    ) -> jax.Array:
        """Changes the values only: for frames that have the network's size already.

        Args:
            frames: (..., h, w, C), 0..255, RGB.
            top: First row of the crop in the resized image, for the mean volume; the centre's
                when None.
            left: First column, likewise.

        Returns:
            Same shape, float32.
        """
        x = jnp.asarray(frames).astype(jnp.float32)
        if self.channels == "bgr":
            x = x[..., ::-1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, x.shape[-1]):
                raise InputError(
                    f"frames have {x.shape[-1]} channels, and {name} is {values}; expected one "
                    "number for each channel, or one for all"
                )
        x = x * jnp.float32(self.scale)
        x = x - jnp.broadcast_to(self._mean_of(x.shape, top, left), x.shape)
        std = jnp.asarray(np.asarray(self.std, np.float32))
        return x / jnp.broadcast_to(std, x.shape)

    def _mean_of(self, shape: tuple[int, ...], top: int | None, left: int | None) -> jax.Array:
        if self.mean_volume is None:
            return jnp.asarray(np.asarray(self.mean, np.float32))
        length, height, width, _ = self.mean_volume.shape
        if len(shape) < 4 or shape[-4] > length or shape[-3] > height or shape[-2] > width:
            raise InputError(
                f"the mean volume is {self.mean_volume.shape} (L, H, W, C), got frames of shape "
                f"{shape}; clips must not be longer or larger"
            )
        top = (height - shape[-3]) // 2 if top is None else top
        left = (width - shape[-2]) // 2 if left is None else left
        cut = self.mean_volume[: shape[-4], top : top + shape[-3], left : left + shape[-2]]
        return jnp.asarray(np.ascontiguousarray(cut, np.float32))

    def _resized(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[-3:-1]
        if isinstance(self.resize, int):
            short = min(height, width)
            # The longer side is cut off, not rounded, as in torchvision.
            size = (height * self.resize // short, width * self.resize // short)
        else:
            assert self.resize is not None
            size = self.resize
        if size == (height, width):
            return x
        shape = (*x.shape[:-3], *size, x.shape[-1])
        x = jax.image.resize(x, shape, "linear", antialias=self.antialias)
        return jnp.clip(jnp.round(x), 0.0, 255.0)  # the originals resize 8-bit images

    def _crop_of(self, height: int, width: int) -> tuple[int, int, int, int]:
        if self.crop is None:
            return 0, 0, height, width
        if height < self.crop[0] or width < self.crop[1]:
            raise InputError(
                f"frames of {height}x{width} are smaller than the crop of "
                f"{self.crop[0]}x{self.crop[1]}; give larger frames"
            )
        top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
        return top, left, *self.crop

    def to_json(self) -> str:
        """All fields except the volume, which is an array of its own in the file."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del fields["mean_volume"]
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str, mean_volume: np.ndarray | None = None) -> "Preprocessing":
        """Reads what `to_json` wrote.

        Raises:
            InputError: Not a JSON object, fields that this version does not know, or values that
                no image can be prepared with.
        """
        try:
            fields = json.loads(text)
            if not isinstance(fields, dict) or "mean_volume" in fields:
                raise InputError("expected a JSON object of the fields of Preprocessing")
            found: Preprocessing = typed(cls, fields, "its fields")
            return dataclasses.replace(found, mean_volume=mean_volume)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the preprocessing in the metadata is unusable: {error}") from error


def _are_sizes(sizes: int | tuple[int, int] | None) -> bool:
    if sizes is None:
        return True
    given = sizes if isinstance(sizes, tuple) else (sizes,)
    whole = all(isinstance(size, int) and not isinstance(size, bool) for size in given)
    return whole and all(1 <= size <= LARGEST for size in given)


TORCHVISION = Preprocessing(  # of ImageNet's training images, RGB from 0 to 1
    channels="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
CAFFE = Preprocessing(channels="bgr", mean=(103.939, 116.779, 123.68))  # of ImageNet, 0 to 255
