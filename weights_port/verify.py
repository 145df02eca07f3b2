"""The proof that a converted file holds the numbers of the file that it was made from."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.files import backbones
from prernn_jax.files.described import read_json_object
from weights_port.formats.open import open_source
from weights_port.formats.source import Source, sha256
from weights_port.mapping import Move
from weights_port.networks import ARCHITECTURES
from weights_port.outgoing import context_of
from weights_port.transforms import AGAIN, TRANSFORMS


@dataclass
class Verdict:
    """What the comparison of arrays found.

    Attributes:
        equal: How many arrays are equal to the bit.
        faults: One line for each array that is not, or is missing.
        notes: What the user should know.
    """

    equal: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify_arrays(path: Path, against: Path, member: str | None = None) -> tuple[Verdict, Source]:
    """Compares every array of a converted file with the original, read anew.

    Args:
        path: A file that `convert` wrote.
        against: The original.
        member: The file to read, where `against` is an archive with several; by default the one
            that the conversion read.

    Returns:
        The verdict, and the original as read.

    Raises:
        InputError: One of the files is bad, or the first was not made by `convert`.
    """
    ours, metadata = backbones.read_parameters(path)
    moves = recorded_moves(path, metadata)
    same = against.is_file() and sha256(against) == metadata.get("source_sha256")
    if same and member is None:
        member = metadata.get("source_member") or None
    source = open_source(against, member=member)
    if source.family != metadata.get("source_family"):
        raise InputError(
            f"{against} is {source.format}; {path} was made from a file of the kind "
            f"{metadata.get('source_format')}"
        )
    verdict = Verdict()
    if not same:
        verdict.notes.append(
            f"{against.name} is not the file it was made from "
            f"({metadata.get('source_file')}): the SHA-256 differs"
        )
    channels = _channels(path, metadata)
    for move in moves:
        if move.source not in source.arrays or move.target not in ours:
            lacks = path if move.source in source.arrays else against
            verdict.faults.append(f"{move.source} -> {move.target}: not in {lacks.name}")
            continue
        context = context_of(source, move, channels)
        original = source.arrays[move.source]
        if move.transform in AGAIN:
            original = TRANSFORMS[move.transform].apply(original, context).view
        undone = TRANSFORMS[move.transform].undo(ours[move.target], context)
        fault = _difference(undone, original)
        if fault:
            verdict.faults.append(f"{move.source} -> {move.target}: {fault}")
        else:
            verdict.equal += 1
    known = {move.source for move in moves} | json.loads(metadata.get("left_out", "{}")).keys()
    verdict.faults += [
        f"{key}: not used, nor left out on purpose" for key in source.arrays if key not in known
    ]
    fresh = set(json.loads(metadata.get("fresh", "[]")))
    given = {move.target for move in moves} | fresh
    verdict.faults += [
        f"{name}: not from the file"
        for name in ours
        if name not in given and not name.startswith("preprocessing.")
    ]
    return verdict, source


def recorded_moves(path: Path, metadata: dict[str, str]) -> list[Move]:
    """Which array of the original became which parameter, as `convert` wrote it down.

    Raises:
        InputError: The file was not made by `convert`, or was changed afterwards.
    """
    if "derived" in metadata:
        raise InputError(
            f"{path} was changed after its conversion ({metadata['derived']}); verify the file "
            "that it was made from"
        )
    if not {"sources", "transforms", "partners"} <= metadata.keys():
        raise InputError(
            f"{path} does not say from what it was converted; verify takes a file that "
            "`prernn port convert` wrote"
        )
    sources, transforms, partners = (
        read_json_object(metadata, name, where=str(path))
        for name in ("sources", "transforms", "partners")
    )
    return [
        Move(source, target, transforms[target], tuple(partners.get(target, ())))
        for target, source in sources.items()
    ]


def _channels(path: Path, metadata: dict[str, str]) -> int:
    """Channels of the feature map before the first dense layer."""
    width = read_json_object(metadata, "arguments", where=str(path)).get("width", 64)
    factor = next(
        a.channels for a in ARCHITECTURES.values() if a.backbone == metadata.get("architecture")
    )
    return factor * int(width)


def _difference(undone: np.ndarray, original: np.ndarray) -> str | None:
    """What differs between two arrays, compared by their bits; leading axes of 1 do not count."""
    if undone.dtype != np.float32:
        return f"{undone.dtype}, expected float32"
    if undone.size != original.size:
        return f"shape {undone.shape}, the original is {original.shape}"
    expected = np.ascontiguousarray(original, np.float32).reshape(-1).view(np.uint32)
    found = np.ascontiguousarray(undone).reshape(-1).view(np.uint32)
    differ = np.count_nonzero(expected != found)
    return f"{differ} of {found.size} numbers differ" if differ else None


def print_verdict(verdict: Verdict, say: Callable[[str], None] = print) -> None:
    """The verdict in words."""
    for note in verdict.notes:
        say(f"note: {note}")
    for fault in verdict.faults:
        say(f"  {fault}")
    word = "all" if not verdict.faults else "only"
    say(f"arrays: {word} {verdict.equal} equal to the bit, {len(verdict.faults)} faults")


def layer_reports(path: Path, source: Source, image: Path | None) -> float | None:
    """Runs the original network and ours on the same inputs and prints what differs.

    Returns:
        The largest relative difference of a layer; None where torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    from weights_port.parity import example_inputs, parity
    from weights_port.report import print_parity

    _, metadata = backbones.read_parameters(path)
    moves = recorded_moves(path, metadata)
    inputs = example_inputs(backbones.load_pretrained(path), metadata, image)
    return max(
        print_parity(name, parity(backbones.load_pretrained(path), metadata, source, moves, x))
        for name, x in inputs.items()
    )
