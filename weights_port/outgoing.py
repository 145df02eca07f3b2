"""A file's arrays as the network's, by a table; what does not fit is collected."""

from collections.abc import Mapping

from prernn_jax.files.safetensors import Outgoing
from weights_port.formats.source import Source
from weights_port.mapping import Assignment, Move
from weights_port.transforms import TRANSFORMS, Context, partner_key


def context_of(source: Source, move: Move, channels: int) -> Context:
    """What the transform of one array needs to know."""
    keys = move.partners or (partner_key(move.transform, move.source),)
    found = (source.arrays.get(key) for key in keys if key is not None)
    return Context(channels, tuple(array for array in found if array is not None))


def transformed(
    source: Source,
    assignment: Assignment,
    wanted: Mapping[str, tuple[int, ...]],
    channels: int,
) -> dict[str, Outgoing]:
    """The transformed arrays; what does not fit becomes a fault."""
    result: dict[str, Outgoing] = {}
    for move in assignment.moves:
        array = source.arrays[move.source]
        if move.target not in wanted:
            assignment.faults.append(f"+ {move.source}: the network has no {move.target}")
            continue
        if array.dtype.kind not in "fV":
            assignment.faults.append(f"! {move.source}: {array.dtype}, expected floating point")
            continue
        try:
            context = context_of(source, move, channels)
            new = TRANSFORMS[move.transform].apply(array, context)
        except ValueError as error:
            assignment.faults.append(f"! {move.source}: {error}, for {move.target}")
            continue
        if new.shape != wanted[move.target]:
            assignment.faults.append(
                f"! {move.source} {array.shape}: gives {new.shape}, {move.target} is "
                f"{wanted[move.target]}"
            )
        result[move.target] = new
    return result
