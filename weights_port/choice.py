"""Which tables fit a file, what stands before its keys, and what the user says of its weights."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prernn_jax.errors import InputError
from prernn_jax.files.described import read_json_object
from prernn_jax.preprocess import Preprocessing
from weights_port import mapping
from weights_port.formats.source import Source
from weights_port.mapping import Assignment, Layout
from weights_port.tables.architecture import Architecture
from weights_port.tables.elsewhere import elsewhere
from weights_port.tables.resnet import padding

_WHOLE = 10  # arrays that make a network and not a part of one


@dataclass(frozen=True)
class Wishes:
    """What the user says of the weights that their keys do not tell; None leaves it open.

    Attributes:
        layout: A layout's name.
        prefix: What stands before the network's keys.
        place: Of a ResNet's block, the convolution with the stride.
        pool: Padding of the pooling: on `both` sides or none, or at the `end` (Caffe's ceil mode).
        channels: Order of the input's channels.
        scale: Largest value of the input before the mean is subtracted, 1 or 255.
        mean: Of each input channel, on that scale.
        std: Of each input channel, on that scale.
    """

    layout: str = "auto"
    prefix: str | None = None
    place: Literal["first", "second"] | None = None
    pool: Literal["both", "end"] | None = None
    channels: Literal["rgb", "bgr"] | None = None
    scale: Literal[1, 255] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Choice:
    """A table that a file may be read by.

    Attributes:
        layout: The table.
        prefix: What stands before the network's keys in the file.
        assignment: What the table makes of the file.
        notes: What the user should know of the choice.
    """

    layout: Layout
    prefix: str
    assignment: Assignment
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> int:
        """How well the table fits."""
        filled = {move.target for move in self.assignment.moves}
        missing = len(self.layout.expects - filled)
        return len(filled) - len(self.assignment.faults) - missing


def fitting(source: Source, architecture: Architecture, wishes: Wishes) -> list[Choice]:
    """The tables that fit a file best and agree with what the user says of the weights.

    Returns:
        Several only where they fit equally. Where none agrees, those that fit best.

    Raises:
        InputError: There is no such layout, or the file holds the network more than once.
    """
    found = [
        choice
        for layout in _layouts(source, architecture, wishes)
        for choice in _choices(source, architecture, layout, wishes.prefix)
    ]
    best = max(choice.score for choice in found)
    tied = [choice for choice in found if choice.score == best]
    prefixes = sorted({choice.prefix for choice in tied})
    if len(prefixes) > 1 and all(len(choice.assignment.moves) > _WHOLE for choice in tied):
        raise InputError(
            f"{source.path} holds the network more than once, under {', '.join(prefixes)}; say "
            f"which with --prefix: --prefix {prefixes[0] or prefixes[1]}"
        )
    return [choice for choice in tied if _agrees(choice, architecture, wishes)] or tied


def _layouts(source: Source, architecture: Architecture, wishes: Wishes) -> Sequence[Layout]:
    name = wishes.layout
    if name == "auto":
        if written := architecture.named(source.metadata.get("layout", "")):
            return [_as_exported(source, architecture, layout) for layout in written]
        return [
            layout
            for layout in architecture.layouts
            if layout.family in (source.family, "any")
            and (not layout.needs or any(re.fullmatch(layout.needs, key) for key in source.arrays))
        ]
    named = architecture.named(name)
    if not named:
        names = dict.fromkeys(layout.name for layout in architecture.layouts)
        raise InputError(
            f"{architecture.name} has no layout {name!r}; it has {', '.join(names)} (or auto)"
        )
    if named[0].family not in (source.family, "any"):
        raise InputError(
            f"{source.path} is {source.format}; the layout {name!r} is one of "
            f"{named[0].family} files; leave --layout at auto"
        )
    return named


def _as_exported(source: Source, architecture: Architecture, layout: Layout) -> Layout:
    """The table that our own export names, with the network and the input that it wrote down."""
    said, where = source.metadata, str(source.path)
    if said.get("architecture") != architecture.backbone or "preprocessing" not in said:
        return layout
    arguments = read_json_object(said, "arguments", where=where)
    variant = said.get("variant", layout.variant)
    if variant == "caffe" and architecture.backbone == "resnet":
        arguments.setdefault("pool", "end")  # said, so that nobody is asked
    size = arguments.get("image_size")
    return dataclasses.replace(
        layout,
        variant=variant,
        arguments={**layout.arguments}
        | {name: arguments[name] for name in ("epsilon", "place", "pool") if name in arguments},
        preprocessing=Preprocessing.from_json(said["preprocessing"]),
        image_size=size if isinstance(size, int) else 0,
    )


def _choices(
    source: Source, architecture: Architecture, layout: Layout, prefix: str | None
) -> list[Choice]:
    """What a table makes of the file under every prefix at which a network may begin."""
    others = elsewhere(architecture.classifier)
    if prefix is not None:
        assignment = mapping.assign(layout, source.arrays, prefix, others)
        outside = {
            key: f"outside the prefix {prefix!r}"
            for key in source.arrays
            if not key.startswith(prefix) and key not in assignment.skipped
        }
        taken = {move.source for move in assignment.moves}
        assignment.skipped |= {k: why for k, why in outside.items() if k not in taken}
        assignment.faults = [
            fault for fault in assignment.faults
            if fault.removeprefix("+ ").split(":")[0] not in outside
        ]  # fmt: skip
        return [Choice(layout, prefix, assignment)]
    return [
        Choice(layout, found, mapping.assign(layout, source.arrays, found, others))
        for found in mapping.prefixes(layout, source.arrays, architecture.first)
    ]


def facts(choice: Choice, architecture: Architecture) -> dict[str, Any]:
    """What a choice says on the points that a user can say too."""
    layout, pre = choice.layout, choice.layout.preprocessing
    caffe = layout.variant == "caffe"
    found: dict[str, Any] = {
        "pool": "end" if caffe else "both",
        "channels": pre.channels,
        "scale": 1 if pre.scale != 1.0 else 255,
        "mean": pre.mean,
        "std": pre.std,
    }
    if architecture.backbone == "resnet":
        found["pool"] = padding(layout, {move.target for move in choice.assignment.moves})
        found["place"] = layout.arguments.get("place", "first" if caffe else "second")
    return found


def _agrees(choice: Choice, architecture: Architecture, wishes: Wishes) -> bool:
    said = facts(choice, architecture)
    return all(getattr(wishes, name) in (None, value) for name, value in said.items())


def meaning(choice: Choice, architecture: Architecture) -> str:
    """A choice's network and input in words."""
    said = facts(choice, architecture)
    words = [f"{said['channels'].upper()} from 0 to {said['scale']} less {said['mean']}"]
    if said["std"] != (1.0,):
        words[0] += f", divided by {said['std']}"
    if "place" in said:
        words.append(f"stride in the {said['place']} convolution of a block")
    if architecture.backbone == "resnet":
        sides = "on both sides" if said["pool"] == "both" else "at the end"
        words.append(f"max-pool padded {sides}")
    elif said["pool"] == "end":
        words.append("pooling keeps the last odd row")
    return "; ".join(words)


def apply_wishes(
    wishes: Wishes, architecture: Architecture, arguments: dict[str, Any], variant: str
) -> str:
    """Puts the user's words on the network into its arguments; returns the variant.

    Raises:
        InputError: The network has no such point.
    """
    if architecture.backbone == "resnet":
        arguments |= {k: v for k in ("place", "pool") if (v := getattr(wishes, k)) is not None}
        return variant
    if wishes.place is not None:
        raise InputError(f"--place is of ResNets; {architecture.name} has no stride to place")
    if wishes.pool is None:
        return variant
    rest = "pytorch" if architecture.backbone == "c3d" else "torchvision"
    return "caffe" if wishes.pool == "end" else rest


def wished_input(wishes: Wishes, preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing with what the user says of it.

    Raises:
        InputError: The range is another than the layout's, and its mean is not given.
    """
    change: dict[str, Any] = {}
    old = 1 if preprocessing.scale != 1.0 else 255
    if wishes.scale is not None and wishes.scale != old:
        if wishes.mean is None:
            raise InputError(
                f"--range {wishes.scale}: the layout's mean is on the range {old}; give "
                "--input_mean (and --input_std) on the new one"
            )
        change = {"scale": 1 / 255 if wishes.scale == 1 else 1.0, "std": (1.0,)}
    if wishes.channels is not None and wishes.channels != preprocessing.channels:
        change["channels"] = wishes.channels
        for name in ("mean", "std"):  # they stay with their channels
            change.setdefault(name, tuple(reversed(getattr(preprocessing, name))))
    for name in ("mean", "std"):
        if getattr(wishes, name) is not None:
            change[name] = getattr(wishes, name)
    return dataclasses.replace(preprocessing, **change)
