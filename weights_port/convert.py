"""One file of weights becomes a safetensors file of ours, which says where it came from."""

import dataclasses
import datetime
import functools
import importlib.metadata
import itertools
import json
import re
import types
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.files import architectures, backbones, safetensors
from prernn_jax.files.safetensors import Outgoing
from prernn_jax.preprocess import Preprocessing
from weights_port import mapping
from weights_port.choice import Choice, Wishes, apply_wishes, fitting, wished_input
from weights_port.evidence import Witnesses, decide
from weights_port.formats.mean_volume import read_mean_volume, with_volume
from weights_port.formats.open import open_source
from weights_port.formats.source import Source, nonfinite, sha256
from weights_port.input_range import measure
from weights_port.mapping import Assignment, Layout
from weights_port.networks import ARCHITECTURES, check_depth
from weights_port.outgoing import transformed
from weights_port.rules import read_table
from weights_port.structure import by_structure
from weights_port.suspects import looks_like
from weights_port.tables.architecture import Architecture, scaled
from weights_port.transforms import TRANSFORMS

_FLAT_VAR = 1 - 1e-5  # with epsilon it is one: the batch-norm only scales and shifts


@dataclass
class Plan:
    """What becomes of every array of a file.

    Attributes:
        architecture: The network.
        layout: The table that was used.
        assignment: Which array goes where, and which are left out.
        outgoing: The network's arrays by our names, not yet put together.
        fresh: Parameters that the file does not hold and that start at zero; variances such that
            they change nothing.
        prefix: What stands before the network's keys in the file.
        metadata: How to build the network.
        preprocessing: What the weights expect.
        notes: What the user should know.
    """

    architecture: Architecture
    layout: Layout
    assignment: Assignment
    outgoing: dict[str, Outgoing]
    fresh: list[str]
    prefix: str
    metadata: dict[str, str]
    preprocessing: Preprocessing
    notes: list[str] = field(default_factory=list)


def convert(
    path: Path,
    arch: str,
    out: Path,
    *,
    wishes: Wishes = Wishes(),  # noqa: B008 (frozen)
    table: Path | None = None,
    member: str | None = None,
    mean: Path | None = None,
    overwrite: bool = False,
    allow_nonfinite: bool = False,
) -> tuple[Source, Plan]:
    """Writes a file's weights under our names.

    Args:
        path: A file of any format that `open_source` reads.
        arch: A key of `ARCHITECTURES`.
        out: The safetensors file to write.
        wishes: What the user says of the weights.
        table: A table of the user's own, TOML; see rules.py.
        member: The file to read, where `path` is an archive with several.
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
        architecture = ARCHITECTURES[arch]
        if table is not None:
            own = read_table(table, architecture)
            architecture = dataclasses.replace(architecture, layouts=(own,))
            wishes = dataclasses.replace(wishes, layout=own.name)
        source = open_source(path, member=member)
        plan = make_plan(
            source, architecture, wishes, digest.result, allow_nonfinite=allow_nonfinite
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
            "source_family": source.family,
            "source_member": source.member,
            "prefix": plan.prefix,
            "sources": json.dumps({m.target: m.source for m in plan.assignment.moves}),
            "transforms": json.dumps({m.target: m.transform for m in plan.assignment.moves}),
            "partners": json.dumps(
                {m.target: m.partners for m in plan.assignment.moves if m.partners}
            ),
            "left_out": json.dumps(plan.assignment.skipped),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **({"nonfinite": "allowed"} if allow_nonfinite else {}),
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


def make_plan(
    source: Source,
    architecture: Architecture,
    wishes: Wishes = Wishes(),  # noqa: B008 (frozen)
    digest: Callable[[], str] = str,
    *,
    allow_nonfinite: bool = False,
) -> Plan:
    """Decides where every array of a file goes.

    Args:
        source: The file.
        architecture: The network.
        wishes: What the user says of the weights.
        digest: Gives the file's SHA-256, by which published files are known.
        allow_nonfinite: Accept NaN and infinity among the weights.

    Raises:
        InputError: One readable list of all keys, parameters and shapes that do not fit; the
            layouts that fit equally; or arrays with NaN or infinity.
    """
    tied = fitting(source, architecture, wishes)
    choice, reason = tied[0], ""
    plan = _plan(source, architecture, choice, wishes)
    unchecked = not allow_nonfinite
    if not plan.assignment.faults:
        if unchecked:  # before anything is measured
            _check_finite(source, plan)
            unchecked = False
        tried = plan
        witnesses = Witnesses(
            digest, lambda: measure(tried.outgoing, tried.metadata, architecture.first)
        )
        choice = decide(source, architecture, tied, witnesses, wishes)
    elif wishes.layout == "auto":
        _check_siblings(source, architecture, wishes)
        found, reason = by_structure(source, architecture, wishes)
        choice = found or choice
    if choice.layout is not plan.layout:
        plan = _plan(source, architecture, choice, wishes)
    hint = _hint(source, architecture, choice, reason)
    mapping.raise_faults(plan.assignment.faults, str(source.path), hint)
    check_depth(source.path, architecture, json.loads(plan.metadata["arguments"]))
    if unchecked:
        _check_finite(source, plan)
    plan.notes += [f"taken off the keys: {choice.prefix!r}"] if choice.prefix else []
    plan.notes += [*choice.notes, *([choice.layout.note] if choice.layout.note else [])]
    other = {str(source.arrays[m.source].dtype) for m in plan.assignment.moves} - {"float32"}
    if other:
        plan.notes.append(f"converted to float32 from {', '.join(sorted(other))}")
    if plan.fresh:
        shown = ", ".join(plan.fresh[:8])
        rest = f" and {len(plan.fresh) - 8} more" if len(plan.fresh) > 8 else ""
        plan.notes.append(f"not in the file, start afresh: {shown}{rest}")
    return plan


def _check_finite(source: Source, plan: Plan) -> None:
    used = {move.source: source.arrays[move.source] for move in plan.assignment.moves}
    if bad := nonfinite(used):
        raise InputError(
            f"{source.path}: NaN or infinity in {', '.join(bad[:8])}; the file is damaged, or the "
            "training had diverged. Give --allow_nonfinite to convert it all the same"
        )


def _check_siblings(source: Source, architecture: Architecture, wishes: Wishes) -> None:
    """Checks that the file is not a network of the same family at another depth.

    Raises:
        InputError: It is.
    """
    family = ARCHITECTURES.get("vgg" if architecture.backbone == "vgg16" else architecture.backbone)
    if not architecture.depth or family is None:
        return
    best = fitting(source, family, wishes)[0]
    if best.assignment.faults:
        return
    plan = _plan(source, family, best, wishes)
    if not plan.assignment.faults:
        check_depth(source.path, architecture, json.loads(plan.metadata["arguments"]))


def _plan(source: Source, architecture: Architecture, choice: Choice, wishes: Wishes) -> Plan:
    """What becomes of the file by this table; the faults stand in the assignment."""
    table, assignment = choice.layout, choice.assignment
    shapes = {
        m.target: TRANSFORMS[m.transform].shape(source.arrays[m.source].shape)
        for m in assignment.moves
    }
    arguments = architecture.infer(shapes, table)
    if "stage_sizes" in architecture.depth:  # what is missing is then told as missing
        wanted_sizes = architecture.depth["stage_sizes"]
        pairs = itertools.zip_longest(wanted_sizes, arguments["stage_sizes"], fillvalue=1)
        arguments["stage_sizes"] = [max(pair) for pair in pairs]
        if assignment.faults or not assignment.moves:
            arguments["block"] = architecture.depth["block"]
    variant = apply_wishes(wishes, architecture, arguments, table.variant)
    if arguments.get("block") == "bottleneck":
        del arguments["block"]  # the default
    metadata = {
        "architecture": architecture.backbone,
        "arguments": json.dumps(arguments),
        "variant": variant,
    }
    try:
        wanted = _shapes(**metadata)
    except InputError as error:
        raise InputError(f"{source.path}: {error}") from error
    channels = architecture.channels * arguments["width"]
    outgoing = transformed(source, assignment, wanted, channels)
    fresh = mapping.check_complete(assignment, wanted, table)
    for target in fresh:
        value = {"var": _FLAT_VAR, "scale": 1.0}.get(target.rpartition(".")[2], 0.0)
        constant = np.full(wanted[target], value, np.float32)
        outgoing[target] = Outgoing(constant, constant.shape, constant.dtype)
    preprocessing = scaled(
        wished_input(wishes, table.preprocessing),
        arguments.get("image_size", 224),
        table.image_size or architecture.image_size,
    )
    return Plan(
        architecture, table, assignment, outgoing, fresh, choice.prefix, metadata, preprocessing
    )


@functools.lru_cache(maxsize=16)
def _shapes(architecture: str, arguments: str, variant: str) -> Mapping[str, tuple[int, ...]]:
    """The parameters of a network; several tables are tried for one file, mostly with the same."""
    metadata = {"architecture": architecture, "arguments": arguments, "variant": variant}
    return types.MappingProxyType(backbones.flat_shapes(architectures.build(metadata)))


def _hint(source: Source, architecture: Architecture, choice: Choice, reason: str) -> str:
    seen = looks_like(key.removeprefix(choice.prefix) for key in source.arrays)
    text = (
        f"does not fit {architecture.name} in the layout {choice.layout.name!r} "
        f"({choice.assignment.covered} of {len(source.arrays)} keys known)"
    )
    if seen is not None and not seen.lower().startswith(architecture.name):
        text += f"; it looks like {seen}"
        name = re.sub(r" with batch-norm", "_bn", seen.lower())
        text += f": give --arch {name}" if name in ARCHITECTURES else ""
    if choice.prefix:
        text += f"; {choice.prefix!r} was taken off the keys"
    text += f"; {reason}" if reason else ""
    return (
        text + ". A table of your own can be given with --table (docs/weights.md)"
        "; + only in the file, - only in the network, ! wrong shape:"
    )
