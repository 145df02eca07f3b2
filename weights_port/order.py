"""Layers of a file without a graph, told by the order and the shapes of its arrays alone."""

import re
from collections.abc import Sequence
from typing import Any

from weights_port.formats.source import Source
from weights_port.graph import Block, NotFound, Pool, Step, Unit
from weights_port.mapping import Move
from weights_port.tables.architecture import Architecture
from weights_port.tables.vgg import DEPTHS

# What an array is to its layer, by the last word of its key.
_ROLES = {
    **dict.fromkeys(("weight", "weights", "kernel", "w", "gamma", "scale"), "weight"),
    **dict.fromkeys(("bias", "biases", "b", "beta", "offset", "shift"), "bias"),
    **dict.fromkeys(("running_mean", "moving_mean", "mean"), "mean"),
    **dict.fromkeys(("running_var", "moving_variance", "moving_var", "variance", "var"), "var"),
}


def ordered_steps(source: Source, architecture: Architecture) -> list[Step]:
    """The layers of a network in the order of the computation.

    Raises:
        NotFound: The arrays do not say their roles, or no network or several fit.
    """
    units = _units(source)
    if architecture.backbone == "resnet":
        return _blocks(source, units)
    convolutions = [unit for unit in units if not unit.dense]
    dense = [unit for unit in units if unit.dense]
    if units != [*convolutions, *dense]:
        raise NotFound("it has a convolution after a matrix")
    if architecture.backbone == "vgg16":
        stages = _stages([_shape(source, unit)[0] for unit in convolutions])
    else:
        stages = (1, 1, 2, 2, 2)
        if len(convolutions) != 8:
            raise NotFound(f"it has {len(convolutions)} convolutions, expected 8")
    result: list[Step] = []
    rest = iter(convolutions)
    for count in stages:
        result += [next(rest) for _ in range(count)]
        result.append(Pool({}))
    return result + list(dense)


def _units(source: Source) -> list[Unit]:
    """Convolutions and matrices in the order of the file, each with its bias and batch-norm."""
    layers: dict[str, dict[str, str]] = {}
    for key in source.arrays:
        stem, word = re.fullmatch(r"(.*?)[./_]?([a-z]+(?:_[a-z]+)?|)(?::0)?", key).groups()  # type: ignore[union-attr]
        if word not in _ROLES and "_" in word:  # conv1_w: the role is the last word
            stem, word = f"{stem}_{word.rpartition('_')[0]}", word.rpartition("_")[2]
        if key.endswith("num_batches_tracked"):
            continue
        if word not in _ROLES:
            raise NotFound(f"the name of {key} does not say what the array is to its layer")
        roles = layers.setdefault(stem, {})
        if _ROLES[word] in roles:
            raise NotFound(f"{key} and {roles[_ROLES[word]]} are the same to one layer")
        roles[_ROLES[word]] = key
    units: list[Unit] = []
    for stem, roles in layers.items():
        weight = roles.get("weight", "")
        axes = source.arrays[weight].ndim if weight else 0
        if axes >= 2:
            kept = axes > 2 and _ours_last(source.arrays[weight].shape)
            attributes: dict[str, Any] = {"kept": kept or (axes == 2 and any(
                unit.attributes["kept"] for unit in units))}  # fmt: skip
            units.append(Unit(stem, weight, roles.get("bias", ""), {}, attributes, axes == 2))
        elif roles.keys() == {"weight", "bias", "mean", "var"} and units and not units[-1].norm:
            names = {"weight": "scale", "bias": "bias", "mean": "mean", "var": "var"}
            units[-1].norm.update(
                {names[role]: Move(key, names[role], "same") for role, key in roles.items()}
            )
        else:
            raise NotFound(f"{stem} is neither a convolution, a matrix nor a batch-norm after one")
    return units


def _ours_last(shape: tuple[int, ...]) -> bool:
    """Whether a kernel's spatial axes come first, as in TensorFlow."""
    return len(set(shape[:-2])) == 1 and shape[0] in (1, 3, 7) and len(set(shape[2:])) > 1


def _shape(source: Source, unit: Unit) -> tuple[int, int, int]:
    """Outputs, inputs and side of a convolution."""
    shape = source.arrays[unit.kernel].shape
    return (shape[-1], shape[-2], shape[0]) if unit.attributes["kept"] else (*shape[:2], shape[-1])


def _stages(outputs: Sequence[int]) -> tuple[int, ...]:
    """The VGG that has this many convolutions of these numbers of outputs.

    Raises:
        NotFound: None has.
    """
    for stages in DEPTHS.values():
        expected = [
            outputs[0] * factor
            for count, factor in zip(stages, (1, 2, 4, 8, 8), strict=True)
            for _ in range(count)
        ]
        if list(outputs) == expected:
            return stages
    raise NotFound(f"no VGG has {len(outputs)} convolutions of {sorted(set(outputs))} outputs")


def _blocks(source: Source, units: list[Unit]) -> list[Step]:
    """A ResNet's layers; the shortcut's convolution may stand before the others or after them."""
    convolutions = [unit for unit in units if not unit.dense]
    dense = [unit for unit in units if unit.dense]
    if len(dense) > 1 or units[len(convolutions) :] != dense or not convolutions:
        raise NotFound("it has several matrices, or one between its convolutions")
    found = [_shape(source, unit) for unit in convolutions]
    width = min((outputs for outputs, _, _ in found[1:]), default=1)
    counts = [found.count((width * 2**s, width * 2**s, 3)) for s in range(4)]
    ways: dict[str, list[Step]] = {}
    for kind, expansion in (("bottleneck", 4), ("basic", 1)):
        for first in (True, False):
            sides = _expected(found[0], width, counts, kind, expansion, first=first)
            if [shape for _, shape in sides] == found:
                ways[kind + str(first)] = _collected(convolutions, [part for part, _ in sides])
    if len(ways) != 1:
        raise NotFound(
            f"its {len(convolutions)} convolutions fit {len(ways)} orders of a ResNet's, expected 1"
        )
    return next(iter(ways.values())) + list(dense)


def _expected(
    stem: tuple[int, int, int],
    width: int,
    counts: Sequence[int],
    kind: str,
    expansion: int,
    *,
    first: bool,
) -> list[tuple[str, tuple[int, int, int]]]:
    """What each convolution is (stem, first, main or shortcut) and its shape, in order."""
    result = [("stem", (*stem[:2], 7))]
    inputs = stem[0]
    for stage, count in enumerate(counts):
        middle = width * 2**stage
        outputs = expansion * middle
        blocks = count if kind == "bottleneck" else (count + (stage > 0)) // 2
        for _ in range(blocks):
            if kind == "bottleneck":
                main = [(middle, inputs, 1), (middle, middle, 3), (outputs, middle, 1)]
            else:
                main = [(middle, inputs, 3), (middle, middle, 3)]
            parts = [("first" if not n else "main", shape) for n, shape in enumerate(main)]
            if inputs != outputs:
                short = ("shortcut", (outputs, inputs, 1))
                parts = [short, *parts] if first else [*parts, short]
            result += parts
            inputs = outputs
    return result


def _collected(units: Sequence[Unit], parts: Sequence[str]) -> list[Step]:
    result: list[Step] = [units[0], Pool({})]
    waiting: list[Unit] = []
    for unit, part in zip(units[1:], parts[1:], strict=True):
        if part == "first":
            result.append(Block([unit], waiting))
            waiting = []
            continue
        last = result[-1]
        if part == "main" and isinstance(last, Block):
            last.main.append(unit)
        elif isinstance(last, Block) and not last.shortcut and len(last.main) > 1 and _after(parts):
            last.shortcut.append(unit)
        else:
            waiting = [unit]
    return result


def _after(parts: Sequence[str]) -> bool:
    """Whether shortcuts stand after the convolutions of their blocks."""
    return parts.index("shortcut") > parts.index("first")
