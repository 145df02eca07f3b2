"""A table of the user's own, read from a TOML file: `--table rules.toml`."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing
from weights_port.mapping import Layout
from weights_port.tables.architecture import BGR, RGB, Architecture
from weights_port.transforms import TRANSFORMS

_KEYS = {"variant", "arguments", "input", "rows", "names", "fresh"}
_ROW = {"source", "target", "transform", "skip"}


def read_table(path: Path, architecture: Architecture) -> Layout:
    """The table in a TOML file.

    Args:
        path: The file: `rows` of `source` (a regular expression for a whole key), `target` and
            `transform`, or `source` and `skip` (a reason); `names` (of a named group, text in the
            file -> text in our names); `variant`, `arguments`, `input`, `fresh`.
        architecture: The network that the table is for.

    Raises:
        InputError: The file cannot be read, or lists all that is wrong with it.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    faults = [f"unknown entry {key!r}" for key in data.keys() - _KEYS]
    rows: dict[str, tuple[str | None, str]] = {}
    given = data.get("rows")
    if not isinstance(given, list) or not given:
        faults.append("no [[rows]]: each needs source, target and transform, or source and skip")
        given = []
    for number, row in enumerate(given, start=1):
        source = row.get("source") if isinstance(row, dict) else None
        fault = _fault(row)
        if fault:
            faults.append(f"row {number}: {fault}")
        elif source in rows:
            faults.append(f"row {number}: {source!r} stands twice")
        else:
            rows[str(source)] = (row.get("target"), row.get("transform", row.get("skip")))
    names, arguments, variant, fresh = (
        data.get(name, default)
        for name, default in (
            ("names", {}), ("arguments", {}), ("variant", _variant(architecture)), ("fresh", "(?!)")
        )
    )  # fmt: skip
    if not isinstance(names, dict) or not all(
        isinstance(known, dict) and all(isinstance(text, str) for text in known.values())
        for known in names.values()
    ):
        faults.append("`names` must map groups to tables of text")
    if not isinstance(arguments, dict):
        faults.append("`arguments` must be a table")
    if not isinstance(variant, str):
        faults.append("`variant` must be text")
    if not isinstance(fresh, str) or _bad_pattern(fresh):
        faults.append("`fresh` must be a regular expression")
    try:
        preprocessing = _input(data.get("input", "torchvision"))
    except (TypeError, ValueError, InputError) as error:
        faults.append(f"`input`: {error}")
    if faults:
        raise InputError(f"{path}: " + "; ".join(faults))
    return Layout("table", "any", variant, rows, preprocessing, names, fresh, arguments=arguments)


def _variant(architecture: Architecture) -> str:
    return "pytorch" if architecture.backbone == "c3d" else "torchvision"


def _fault(row: Any) -> str | None:
    """What is wrong with one row."""
    if not isinstance(row, dict) or not all(isinstance(value, str) for value in row.values()):
        return "must be a table of text"
    if row.keys() - _ROW:
        return f"unknown entry {', '.join(sorted(row.keys() - _ROW))}"
    if row.keys() not in ({"source", "target", "transform"}, {"source", "skip"}):
        return f"has {', '.join(row)}; expected source, target and transform, or source and skip"
    bad = _bad_pattern(row["source"])
    if bad:
        return bad
    if "skip" in row:
        return None
    if row["transform"] not in TRANSFORMS:
        return f"transform {row['transform']!r}, expected one of {', '.join(TRANSFORMS)}"
    groups = re.compile(row["source"]).groupindex
    try:
        row["target"].format(**dict.fromkeys(groups, ""))
    except (KeyError, IndexError, ValueError):
        return f"target {row['target']!r} names a group that {row['source']!r} does not have"
    return None


def _bad_pattern(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is no regular expression ({error})"
    return None


def _input(given: Any) -> Preprocessing:
    """The preprocessing: the name of a usual one, or its fields."""
    usual = {"torchvision": RGB, "caffe": BGR}
    if isinstance(given, str):
        if given not in usual:
            raise ValueError(f"{given!r}; expected {' or '.join(usual)}, or a table of its fields")
        return usual[given]
    if not isinstance(given, dict):
        raise ValueError("expected text or a table")
    return Preprocessing.from_json(json.dumps(given))
