"""Layers without known names, in the order of the computation, put in a network's places."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from weights_port.graph import Block, NotFound, Pool, Step, Unit
from weights_port.mapping import Move
from weights_port.tables.vgg import DEPTHS

_C3D = (("1a",), ("2a",), ("3a", "3b"), ("4a", "4b"), ("5a", "5b"))  # a pooling after each group


class Placed(NamedTuple):
    """The layers of a file in their places.

    Attributes:
        moves: Which array is which parameter.
        arguments: What the layers say of the network; None where they leave it open.
    """

    moves: list[Move]
    arguments: dict[str, Any]


def _layer(unit: Unit, name: str, transform: str) -> list[Move]:
    """A layer's kernel and its bias."""
    if unit.attributes.get("kept"):
        transform = "kept"
    moves = [Move(unit.kernel, f"{name}.kernel", transform)]
    return moves + ([Move(unit.bias, f"{name}.bias", "same")] if unit.bias else [])


def _norm(unit: Unit, name: str, *, folded: bool) -> list[Move]:
    """A batch-norm's arrays; the bias of the convolution before it may go into the mean."""
    moves = []
    for role, move in unit.norm.items():
        key, transform = move.source, move.transform
        partners: tuple[str, ...] = ()
        if transform == "divide":
            partners = (key.rpartition("[")[0] + "[2]",)
        if role == "mean" and folded and unit.bias:
            partners = (*partners, unit.bias)
            transform = "less the convolution's bias" if transform == "same" else transform
        moves.append(Move(key, f"{name}.{role}", transform, partners))
    return moves


def _normed(unit: Unit, conv: str, bn: str) -> list[Move]:
    """A ResNet's convolution without a bias, and its batch-norm.

    Where a converter has folded the batch-norm into the convolution, its bias is what remains.
    """
    moves = [_layer(unit, conv, "conv2d")[0]]
    if unit.norm:
        return moves + _norm(unit, bn, folded=True)
    if not unit.bias:
        raise NotFound(f"{unit.name} has neither a batch-norm nor a bias")
    return [*moves, Move(unit.bias, f"{bn}.bias", "same")]


def _is(unit: Unit, **wanted: Any) -> None:
    """Raises an error where a convolution has other attributes than these, if it has them."""
    for name, value in wanted.items():
        found = unit.attributes.get(name)
        if found and set(found) != {value}:
            raise NotFound(f"{unit.name} has {name} {found}, expected {value}")


def _chain(found: Sequence[Step], groups: int) -> tuple[list[list[Unit]], list[Unit], list[Pool]]:
    """Convolutions in groups with a pooling after each, the layers after them, the poolings."""
    convolutions: list[list[Unit]] = [[]]
    pools: list[Pool] = []
    for step in found:
        if isinstance(step, Block):
            raise NotFound("it has residual blocks")
        if isinstance(step, Unit):
            convolutions[-1].append(step)
        elif step.attributes.get("operation", "max") == "max" and len(pools) < groups:
            pools.append(step)
            convolutions.append([])
        elif set(step.attributes.get("kernel", ())) - {1}:
            raise NotFound("it pools more often, or otherwise")
    if len(pools) < groups:
        raise NotFound(f"it has {len(pools)} poolings between its convolutions, expected {groups}")
    *convolutions, dense = convolutions
    if len(dense) not in (2, 3):
        raise NotFound(f"it has {len(dense)} layers after the last pooling, expected 3")
    for unit in (unit for group in convolutions for unit in group):
        _is(unit, kernel=3, stride=1, pad=1)
    return convolutions, dense, pools


def _dense(units: Sequence[Unit]) -> list[Move]:
    """The dense layers; the first one's inputs are in the order C, (L,) H, W, or in ours."""
    moves: list[Move] = []
    for name, unit in zip(("fc6", "fc7", "fc8"), units, strict=False):
        flat = name == "fc6" and not unit.attributes.get("channels_last")
        moves += _layer(unit, name, "flatten" if flat else "dense")
    return moves


def _ceil(pools: Sequence[Pool]) -> str | None:
    """Where poolings of VGG and C3D are padded; None where the file does not say it."""
    modes = {pool.attributes.get("ceil_mode") for pool in pools}
    if len(modes) > 1:
        raise NotFound("some of its poolings keep the last odd row, others drop it")
    return {True: "end", False: "both", None: None}[modes.pop()]


def _vgg(found: list[Step]) -> Placed:
    groups, dense, pools = _chain(found, 5)
    moves: list[Move] = []
    for stage, units in enumerate(groups, start=1):
        for index, unit in enumerate(units, start=1):
            moves += _layer(unit, f"conv{stage}_{index}", "conv2d")
            moves += _norm(unit, f"bn{stage}_{index}", folded=False)
    arguments: dict[str, Any] = {"pool": _ceil(pools)}
    stages = tuple(map(len, groups))
    if stages not in DEPTHS.values():
        raise NotFound(f"no VGG has {stages} convolutions before its poolings")
    if stages != DEPTHS["vgg16"]:
        arguments["stages"] = list(stages)
    if any(unit.norm for units in groups for unit in units):
        arguments["batch_norm"] = True
    return Placed(moves + _dense(dense), arguments)


def _c3d(found: list[Step]) -> Placed:
    groups, dense, pools = _chain(found, 5)
    if [len(group) for group in groups] != [len(names) for names in _C3D]:
        raise NotFound(
            f"it has {[len(group) for group in groups]} convolutions before its poolings"
        )
    names = [name for group in _C3D for name in group]
    units = [unit for group in groups for unit in group]
    moves = [
        move
        for name, unit in zip(names, units, strict=True)
        for move in _layer(unit, f"conv{name}", "conv3d")
    ]
    return Placed(moves + _dense(dense), {"pool": _ceil(pools)})


def _resnet(found: list[Step]) -> Placed:
    if not (len(found) > 3 and isinstance(found[0], Unit) and isinstance(found[1], Pool)):
        raise NotFound("it does not begin with a convolution and a pooling")
    stem, pool = found[0], found[1]
    blocks = [step for step in found if isinstance(step, Block)]
    rest = [step for step in found[2 + len(blocks) :] if isinstance(step, Unit)]
    if not blocks or found[2 : 2 + len(blocks)] != blocks or len(rest) > 1:
        raise NotFound("its residual blocks do not follow each other up to one last layer")
    _is(stem, kernel=7, stride=2, pad=3)
    count = len(blocks[0].main)
    if count not in (2, 3) or any(
        len(block.main) != count or len(block.shortcut) > 1 for block in blocks
    ):
        raise NotFound("its blocks do not all have two or three convolutions and one shortcut")
    moves = _normed(stem, "conv1", "bn1")
    if stem.norm and stem.bias:  # kept as it is, as in the network of that name
        moves = [*_layer(stem, "conv1", "conv2d"), *_norm(stem, "bn1", folded=False)]
    sizes: list[int] = []
    place: str | None = "first" if count == 2 else None
    for block in blocks:
        if block.shortcut or not sizes:
            sizes.append(0)
        at = f"layer{len(sizes)}.{sizes[-1]}"
        sizes[-1] += 1
        for number, unit in enumerate(block.main, start=1):
            moves += _normed(unit, f"{at}.conv{number}", f"{at}.bn{number}")
            if count == 3 and number < 3 and set(unit.attributes.get("stride", ())) == {2}:
                place = ("first", "second")[number - 1]
        for unit in block.shortcut:
            moves += _normed(unit, f"{at}.downsample.0", f"{at}.downsample.1")
    moves += [move for unit in rest for move in _layer(unit, "fc", "dense")]
    arguments: dict[str, Any] = {
        "place": place,
        "pool": _padding(pool),
        "stem_bias": bool(stem.norm and stem.bias),
    }
    epsilons = {unit.attributes.get("eps", 1e-5) for block in blocks for unit in block.main}
    # The file has it in single precision.
    values = {float(f"{value:.6g}") for value in epsilons} or {1e-5}
    if len(values) > 1:
        raise NotFound(f"its batch-norms have several epsilons, {sorted(values)}")
    if values != {1e-5}:
        arguments["epsilon"] = values.pop()
    return Placed(moves, arguments)


def _padding(pool: Pool) -> str | None:
    """Where the first max-pool of a ResNet is padded; None where the file does not say it."""
    window = {name: pool.attributes.get(name) for name in ("kernel", "stride", "pad")}
    if None in window.values():
        return None
    ceil = bool(pool.attributes.get("ceil_mode"))
    pad = tuple(window["pad"] or ())
    if set(window["kernel"] or ()) == {3} and set(window["stride"] or ()) == {2}:
        if set(pad) == {1} and not ceil:
            return "both"
        if (set(pad) == {0} and ceil) or pad == (0, 0, 1, 1):
            return "end"
    raise NotFound(f"its first pooling has {window}{', rounded up' if ceil else ''}")


PLACES: Mapping[str, Callable[[list[Step]], Placed]] = {
    "vgg16": _vgg,
    "c3d": _c3d,
    "resnet": _resnet,
}
