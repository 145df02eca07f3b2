"""One file of weights becomes a safetensors file of ours, which says where it came from."""

import datetime
import importlib.metadata
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.files import backbones, safetensors
from prernn_jax.files.safetensors import Outgoing
from prernn_jax.preprocess import Preprocessing
from weights_port import mapping
from weights_port.formats.mean_volume import read_mean_volume, with_volume
from weights_port.formats.open import open_source
from weights_port.formats.source import Source, nonfinite, sha256
from weights_port.mapping import Assignment, Layout
from weights_port.suspects import looks_like
from weights_port.tables.architecture import Architecture, scaled
from weights_port.tables.c3d import C3D
from weights_port.tables.resnet50 import RESNET50
from weights_port.tables.vgg16 import VGG16
from weights_port.transforms import TRANSFORMS, Context

ARCHITECTURES: dict[str, Architecture] = {a.name: a for a in (VGG16, C3D, RESNET50)}


@dataclass
class Plan:
    """What becomes of every array of a file.

    Attributes:
        architecture: The network.
        layout: The table that was used.
        assignment: Which array goes where, and which are left out.
        outgoing: The network's arrays by our names, not yet put together.
        fresh: Parameters that the file does not hold and that start at zero.
        metadata: How to build the network.
        preprocessing: What the weights expect.
        notes: What the user should know.
    """

    architecture: Architecture
    layout: Layout
    assignment: Assignment
    outgoing: dict[str, Outgoing]
    fresh: list[str]
    metadata: dict[str, str]
    preprocessing: Preprocessing
    notes: list[str] = field(default_factory=list)


def convert(
    path: Path,
    arch: str,
    out: Path,
    *,
    layout: str = "auto",
    mean: Path | None = None,
    overwrite: bool = False,
    allow_nonfinite: bool = False,
) -> tuple[Source, Plan]:
    """Writes a file's weights under our names.

    Args:
        path: A file of PyTorch, safetensors or Caffe.
        arch: A key of `ARCHITECTURES`.
        out: The safetensors file to write.
        layout: A layout of that network; "auto" takes the one that knows most keys.
        mean: C3D's mean volume, `.binaryproto` or `.npy`.
        overwrite: Replace `out`.
        allow_nonfinite: Accept NaN and infinity among the weights.

    Returns:
        The file as read, and what was done with it.

    Raises:
        InputError: The file is bad or of another network, or `out` cannot be written.
    """
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; choose another name or give --overwrite")
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(sha256, path)
        source = open_source(path)
        plan = make_plan(source, ARCHITECTURES[arch], layout)
        bad = [] if allow_nonfinite else nonfinite(source.arrays)
        if bad:
            raise InputError(
                f"{path}: NaN or infinity in {', '.join(bad[:8])}; the file is damaged, or the "
                "training had diverged. Give --allow-nonfinite to convert it all the same"
            )
        arrays: dict[str, np.ndarray | Outgoing] = dict(plan.outgoing)
        if mean is not None:
            volume, note = read_mean_volume(mean)
            plan.preprocessing = with_volume(plan.preprocessing, volume, plan.metadata, mean)
            plan.notes.append(note)
            arrays["preprocessing.mean_volume"] = volume
        metadata = plan.metadata | {
            "layout": plan.layout.name,
            "preprocessing": plan.preprocessing.to_json(),
            "source_file": path.name,
            "source_size": str(path.stat().st_size),
            "source_sha256": "0" * 64,  # until it is known, which takes as long as the rest
            "source_format": source.format,
            "fresh": json.dumps(plan.fresh),
            "sources": json.dumps({m.target: m.source for m in plan.assignment.moves}),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "version": f"prernn-jax {importlib.metadata.version('prernn-jax')}",
        }
        safetensors.write_safely(
            out,
            arrays,
            metadata,
            overwrite=overwrite,
            late=lambda: {"source_sha256": digest.result()},
            durable=False,  # it can be made again
        )
    return source, plan


def make_plan(source: Source, architecture: Architecture, layout: str = "auto") -> Plan:
    """Decide where every array of a file goes.

    Raises:
        InputError: One readable list of all keys, parameters and shapes that do not fit.
    """
    table = choose_layout(source, architecture, layout)
    assignment = mapping.assign(table, source.arrays)
    shapes = {m.target: source.arrays[m.source].shape for m in assignment.moves}
    arguments = architecture.infer(shapes, table)
    metadata = {
        "architecture": architecture.backbone,
        "arguments": json.dumps(arguments),
        "variant": table.variant,
    }
    wanted = backbones.flat_shapes(backbones.build(metadata, where=str(source.path)))
    channels = architecture.channels * arguments["width"]
    outgoing = _outgoing(source, assignment, wanted, channels)
    fresh = mapping.check_complete(assignment, wanted, table)
    mapping.raise_faults(
        assignment.faults, str(source.path), _hint(source, architecture, table, assignment)
    )
    for target in fresh:
        zeros = np.zeros(wanted[target], np.float32)
        outgoing[target] = Outgoing(zeros, zeros.shape, zeros.dtype)
    preprocessing = scaled(
        table.preprocessing, arguments.get("image_size", 224), architecture.image_size
    )
    plan = Plan(architecture, table, assignment, outgoing, fresh, metadata, preprocessing)
    plan.notes += [table.note] if table.note else []
    other = {str(source.arrays[m.source].dtype) for m in assignment.moves} - {"float32"}
    if other:
        plan.notes.append(f"converted to float32 from {', '.join(sorted(other))}")
    if fresh:
        plan.notes.append(f"not in the file, start at zero: {', '.join(fresh)}")
    return plan


def choose_layout(source: Source, architecture: Architecture, name: str) -> Layout:
    """The table of that name; "auto" takes what the file says, or the one that knows most keys."""
    table = architecture.layout(name)
    if name != "auto" and table is None:
        raise InputError(
            f"{architecture.name} has no layout {name!r}; it has "
            f"{', '.join(layout.name for layout in architecture.layouts)} (or auto)"
        )
    if table is None:
        table = architecture.layout(source.metadata.get("layout", ""))
    if table is None:
        able = [layout for layout in architecture.layouts if layout.family == source.family]
        table = max(able, key=lambda layout: mapping.assign(layout, source.arrays).covered)
    if table.family != source.family:
        raise InputError(
            f"{source.path} is {source.format}; the layout {table.name!r} is one of "
            f"{table.family} files; leave --layout at auto"
        )
    return table


def context_of(source: Source, key: str, channels: int) -> Context:
    """What the transform of one array needs to know."""
    return Context(channels, source.arrays.get(key.rpartition("[")[0] + "[2]"))


def _outgoing(
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
            new = TRANSFORMS[move.transform].apply(array, context_of(source, move.source, channels))
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


def _hint(source: Source, architecture: Architecture, table: Layout, assignment: Assignment) -> str:
    seen = looks_like(source.arrays)
    text = (
        f"does not fit {architecture.name} in the layout {table.name!r} "
        f"({assignment.covered} of {len(source.arrays)} keys known)"
    )
    if seen is not None and not seen.lower().startswith(architecture.name):
        text += f"; it looks like {seen}"
    return text + "; + only in the file, - only in the network, ! wrong shape:"
