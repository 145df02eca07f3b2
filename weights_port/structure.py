"""A network found by what its layers do, where the names in a file say nothing.

A file with a graph (Caffe, ONNX) is followed from layer to layer (graph.py); a file without one is
matched by the order and the shapes of its arrays (order.py).
"""

from collections.abc import Sequence
from typing import Any

from prernn_jax.errors import InputError
from weights_port.choice import Choice, Wishes
from weights_port.formats.source import Source
from weights_port.graph import NotFound, steps
from weights_port.mapping import Assignment, Layout, Move
from weights_port.order import ordered_steps
from weights_port.placement import PLACES
from weights_port.tables.architecture import BGR, RGB, Architecture
from weights_port.tables.c3d import SPORTS1M

_FRESH = r"(fc8|fc)\.(kernel|bias)|(.*\.)?(bn\d|downsample\.1)\.(scale|bias|mean|var)"


def by_structure(
    source: Source, architecture: Architecture, wishes: Wishes
) -> tuple[Choice | None, str]:
    """The layers of a file in the places of a network.

    Returns:
        The choice, or None and why there is none.

    Raises:
        InputError: The layers fit, but not all that decides the numbers is known.
    """
    how = "by its order and shapes" if source.graph is None else "along its graph"
    try:
        if source.graph is not None:
            found = steps(source.graph)
        else:
            found = ordered_steps(source, architecture)
        moves, arguments = PLACES[architecture.backbone](found)
        _all_taken(source, moves)
    except NotFound as error:
        return None, f"nor can it be matched {how}: {error}"
    variant, arguments = _variant(source, architecture, wishes, arguments)
    layout = Layout(
        "graph" if source.graph is not None else "order",
        source.family,
        variant,
        {},
        _input(source, architecture, wishes),
        fresh=_FRESH,
        arguments=arguments,
    )
    notes = [f"no table knows the names in the file: its layers were matched {how}"]
    if source.family == "caffe" and wishes.channels is None:
        notes.append(
            "the input is taken to be Caffe's usual one, BGR from 0 to 255 less the mean colour; "
            "say otherwise with --channels, --range and --input_mean"
        )
    skipped = {key: "a counter of PyTorch's training" for key in source.arrays if _counter(key)}
    for move in moves:
        skipped |= dict.fromkeys(move.partners, f"used with {move.source}")
    return Choice(layout, "", Assignment(moves, skipped), tuple(notes)), ""


def _counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _all_taken(source: Source, moves: Sequence[Move]) -> None:
    taken = {key for move in moves for key in (move.source, *move.partners)}
    rest = [key for key in source.arrays if key not in taken and not _counter(key)]
    if rest:
        raise NotFound(f"{', '.join(rest[:4])} belong to no layer of the network")


def _variant(
    source: Source, architecture: Architecture, wishes: Wishes, arguments: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The network's variant, and the arguments that differ from what it says.

    Raises:
        InputError: The file does not say where a stride or a padding lies, nor does the user.
    """
    told: dict[str, Any] = {}
    open_: list[str] = []
    for name, able in (("place", "first|second"), ("pool", "both|end")):
        if name in arguments:
            told[name] = getattr(wishes, name) or arguments.pop(name)
            open_ += [f"--{name} {able}"] if told[name] is None else []
            arguments.pop(name, None)
    if source.family != "caffe" and wishes.channels is None:
        open_.append("--channels rgb|bgr")
    if open_:
        raise InputError(
            f"{source.path} was matched by its structure, which leaves open what decides the "
            f"numbers; give {' and '.join(open_)} (docs/weights.md says what they mean)"
        )
    if architecture.backbone != "resnet":
        rest = "pytorch" if architecture.backbone == "c3d" else "torchvision"
        return "caffe" if told["pool"] == "end" else rest, arguments
    caffe = told["place"] == "first" and told["pool"] == "end"
    if not caffe:
        arguments |= {k: v for k, v in told.items() if v in ("first", "end")}
    if arguments["stem_bias"] == caffe:
        del arguments["stem_bias"]  # as the variant says
    return "caffe" if caffe else "torchvision", arguments


def _input(source: Source, architecture: Architecture, wishes: Wishes) -> Any:
    if architecture.backbone == "c3d":
        return SPORTS1M
    return RGB if wishes.channels == "rgb" and source.family != "caffe" else BGR
