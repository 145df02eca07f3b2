"""Which table a file is read by, what stands before its keys, and what speaks for that table."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing
from weights_port import mapping
from weights_port.formats.source import Source
from weights_port.mapping import Assignment, Layout
from weights_port.tables.architecture import Architecture
from weights_port.tables.elsewhere import elsewhere

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
    """The tables that fit a file best; several only where they fit equally.

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
    return tied


def _layouts(source: Source, architecture: Architecture, wishes: Wishes) -> Sequence[Layout]:
    name = wishes.layout
    if name == "auto":
        name = source.metadata.get("layout", "auto")  # what our own export wrote
        if architecture.layout(name) is None:
            name = "auto"
    if name == "auto":
        return [
            layout
            for layout in architecture.layouts
            if layout.family in (source.family, "any")
            and (not layout.needs or any(re.fullmatch(layout.needs, key) for key in source.arrays))
        ]
    named = [layout for layout in architecture.layouts if layout.name == name]
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


def decide(
    source: Source,
    architecture: Architecture,
    tied: list[Choice],
    wishes: Wishes,
    digest: Callable[[], str],
) -> Choice:
    """The one of equally good tables that the user's words or the file's evidence name.

    Args:
        source: The file.
        architecture: The network.
        tied: The tables.
        wishes: What the user says.
        digest: Gives the file's SHA-256.

    Raises:
        InputError: Nothing names one of them, or the evidence contradicts itself.
    """
    tied = [choice for choice in tied if _agrees(choice.layout, architecture, wishes)] or tied
    if len(tied) == 1:
        return tied[0]
    evidence = {choice.layout.name: _evidence(source, choice.layout, digest) for choice in tied}
    named = [choice for choice in tied if evidence[choice.layout.name]]
    if len(named) == 1:
        reason = "; ".join(evidence[named[0].layout.name])
        note = f"layout {named[0].layout.name}, as {reason}; {_rivals(tied, named[0])}"
        return dataclasses.replace(named[0], notes=(note,))
    assumed = [choice for choice in tied if choice.layout.assumed]
    if not named and len(assumed) == 1:
        note = f"the keys are those of the layout {assumed[0].layout.name}, which was taken; "
        return dataclasses.replace(assumed[0], notes=(note + _rivals(tied, assumed[0]),))
    lines = [
        f"  --layout {choice.layout.name}: {meaning(choice.layout, architecture)}"
        + "".join(f"; {reason}" for reason in evidence[choice.layout.name])
        for choice in tied
    ]
    flags = "--channels, --range, --input-mean and --input-std"
    if architecture.backbone == "resnet":
        flags = f"--place, --pool, {flags}"
    raise InputError(
        f"{source.path} fits these layouts of {architecture.name} equally, and nothing in the file "
        "says which one its weights were trained with; a wrong one gives other numbers without a "
        "word. Give the right one:\n" + "\n".join(lines) + f"\n  ({flags} say single points)"
    )


def _rivals(tied: list[Choice], chosen: Choice) -> str:
    names = [f"--layout {choice.layout.name}" for choice in tied if choice is not chosen]
    return f"give {' or '.join(names)} if the weights are those"


def _evidence(source: Source, layout: Layout, digest: Callable[[], str]) -> list[str]:
    """What in a file speaks for a layout."""
    reasons = [
        reason
        for pattern, reason in layout.signs.items()
        if any(re.fullmatch(pattern, key) for key in source.arrays)
    ]
    if layout.digests and digest().startswith(layout.digests):
        reasons.append("its SHA-256 is that of a published file")
    return reasons


def facts(layout: Layout, architecture: Architecture) -> dict[str, Any]:
    """What a layout says on the points that a user can say too."""
    caffe = layout.variant == "caffe"
    pre = layout.preprocessing
    found: dict[str, Any] = {
        "pool": layout.arguments.get("pool", "end" if caffe else "both"),
        "channels": pre.channels,
        "scale": 1 if pre.scale != 1.0 else 255,
        "mean": pre.mean,
        "std": pre.std,
    }
    if architecture.backbone == "resnet":
        found["place"] = layout.arguments.get("place", "first" if caffe else "second")
    return found


def _agrees(layout: Layout, architecture: Architecture, wishes: Wishes) -> bool:
    said = facts(layout, architecture)
    return all(getattr(wishes, name) in (None, value) for name, value in said.items())


def meaning(layout: Layout, architecture: Architecture) -> str:
    """A layout's network and input in words."""
    said = facts(layout, architecture)
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
                "--input-mean (and --input-std) on the new one"
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
