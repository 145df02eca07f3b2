"""A network's layers found by following a file's graph from value to value, not by their names."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from weights_port.formats.source import Node
from weights_port.mapping import Move


class NotFound(ValueError):
    """The file's layers are not those of the network; the text says where they differ."""


class Unit(NamedTuple):
    """A convolution or a dense layer with the batch-norm after it.

    Attributes:
        name: What the file calls it.
        kernel: Key of its kernel.
        bias: Key of its bias, or "".
        norm: Keys of the batch-norm's arrays by our names, and how to take each; empty without
            a batch-norm.
        attributes: What the file says of it; `eps` is the batch-norm's.
        dense: Whether it is a dense layer.
    """

    name: str
    kernel: str
    bias: str
    norm: dict[str, Move]
    attributes: dict[str, Any]
    dense: bool


class Pool(NamedTuple):
    """A pooling between two units."""

    attributes: dict[str, Any]


class Block(NamedTuple):
    """Two ways that meet in a sum.

    Attributes:
        main: The convolutions of the longer way.
        shortcut: The convolution of the shorter way, if it has one.
    """

    main: list[Unit]
    shortcut: list[Unit]


Step = Unit | Pool | Block
_TO_FIRST = ((0, 3, 1, 2), (0, 4, 1, 2, 3))  # N, (L,) H, W, C -> N, C, (L,) H, W
_TO_LAST = ((0, 2, 3, 1), (0, 2, 3, 4, 1))


def steps(nodes: Sequence[Node]) -> list[Step]:
    """The units, poolings and blocks of a network in the order of the computation.

    Raises:
        NotFound: The graph has other branches than the two ways of a residual block.
    """
    return _Walk(nodes).run()


class _Walk:
    """The way through one graph."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.readers: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            if node.outputs:  # losses and the like lead nowhere
                for value in node.inputs:
                    self.readers[value].append(node)
        written = {value for node in nodes for value in node.outputs}
        first = next((node for node in nodes if node.kind == "conv"), None)
        if first is None:
            raise NotFound("its graph has no convolution")
        if first.inputs and first.inputs[0] in written:
            data = next(node for node in nodes if first.inputs[0] in node.outputs)
            images = data.attributes.get("perm") in _TO_FIRST and data.inputs[0] not in written
            if data.inputs and not images:
                raise NotFound(f"{data.name} comes before the first convolution")
        self.first = first

    def run(self) -> list[Step]:
        """Follows the network from its first convolution to its end."""
        node: Node | None = self.first
        found: list[Step] = []
        line: list[Node] = []
        while node is not None:
            line.append(node)
            readers = self._next(node)
            if len(readers) == 2:
                found += list(_grouped(line))
                ways = [self._to_sum(reader, node) for reader in readers]
                (one, end), (other, other_end) = ways
                if end is not other_end:
                    raise NotFound(f"the two ways after {node.name} do not meet in one sum")
                main, shortcut = sorted(
                    (self._units(one, node), self._units(other, node)), key=len, reverse=True
                )
                found.append(Block(main, shortcut))
                line, node = [], end
                continue
            node = readers[0] if readers else None
        return found + list(_grouped(line))

    def _next(self, node: Node) -> list[Node]:
        readers = [r for value in node.outputs for r in self.readers[value]]
        unique = {id(reader): reader for reader in readers}
        if len(unique) > 2:
            raise NotFound(f"{len(unique)} layers read what {node.name} gives")
        if len(readers) == 2 and len(unique) == 1:
            raise NotFound(f"{readers[0].name} reads what {node.name} gives twice")
        return list(unique.values())

    def _to_sum(self, node: Node, start: Node) -> tuple[list[Node], Node]:
        """The layers from one of the two ways' beginnings to the sum, and the sum."""
        line: list[Node] = []
        while node.kind != "add":
            line.append(node)
            readers = self._next(node)
            if len(readers) != 1:
                raise NotFound(f"a way after {start.name} branches or ends at {node.name}")
            (node,) = readers
        if "coefficients" in node.attributes:
            raise NotFound(f"{node.name} adds with coefficients")
        return line, node

    def _units(self, line: list[Node], start: Node) -> list[Unit]:
        grouped = list(_grouped(line))
        units = [step for step in grouped if isinstance(step, Unit)]
        if len(units) != len(grouped):
            raise NotFound(f"a way after {start.name} has a pooling")
        return units


def _grouped(line: Sequence[Node]) -> Iterator[Step]:
    """Units and poolings of a chain of layers; a batch-norm belongs to the layer before it."""
    place, last = 0, False  # whether the channels have become the last axis
    while place < len(line):
        node = line[place]
        place += 1
        if node.attributes.get("type") == "Transpose":
            last = node.attributes.get("perm") in _TO_LAST
            if not last and node.attributes.get("perm") not in _TO_FIRST:
                raise NotFound(f"{node.name} changes the order of the axes")
        elif last and node.kind == "conv":
            raise NotFound(f"{node.name} has its channels in the last axis")
        elif node.kind == "pool":
            yield Pool(dict(node.attributes))
        elif node.kind in ("conv", "dense"):
            after = []
            while place < len(line) and line[place].kind in ("batch_norm", "scale"):
                after.append(line[place])
                place += 1
            yield _unit(node, after, channels_last=last)
            last = False
        elif node.kind in ("batch_norm", "scale"):
            raise NotFound(f"{node.name} follows no convolution")
        elif node.kind == "concat" or (node.kind == "other" and node.arrays):
            raise NotFound(f"{node.name} is a layer ({node.attributes['type']}) of another kind")


def _unit(node: Node, after: Sequence[Node], *, channels_last: bool) -> Unit:
    if node.attributes.get("group", 1) != 1 or set(node.attributes.get("dilation", ())) - {1}:
        raise NotFound(f"{node.name} is a grouped or dilated convolution")
    if not 1 <= len(node.arrays) <= 2:
        raise NotFound(f"{node.name} has {len(node.arrays)} arrays, expected a kernel and a bias")
    kernel, bias = (*node.arrays, "")[:2]
    attributes = dict(node.attributes) | {"channels_last": channels_last}
    norm: dict[str, Move] = {}
    for layer in after:
        if layer.kind == "scale":
            roles: tuple[str, ...] = ("scale", "bias")
        elif layer.arrays and layer.arrays[-1].endswith("]"):  # Caffe: mean, variance, their factor
            roles = ("mean", "var", "")
        else:
            roles = ("scale", "bias", "mean", "var")
        if len(layer.arrays) != len(roles):
            raise NotFound(f"{layer.name} has {len(layer.arrays)} arrays, expected {len(roles)}")
        for role, key in zip(roles, layer.arrays, strict=True):
            transform = "divide" if "" in roles else "same"
            if role:
                norm[role] = Move(key, role, transform)
        attributes["eps"] = layer.attributes.get("eps", attributes.get("eps", 1e-5))
    if after and norm.keys() < {"scale", "bias", "mean", "var"} and "mean" not in norm:
        raise NotFound(f"{after[0].name} has no statistics")
    return Unit(node.name, kernel, bias, norm, attributes, node.kind == "dense")
