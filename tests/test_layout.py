"""The rules of the layout: imports only go down, no circles, no file above 300 lines."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("prernn_jax", "train", "weights_port")
LEVELS = {  # what may import what: only lower numbers, or the same room
    "prernn_jax.errors": 0, "prernn_jax.processes": 0, "prernn_jax.files.atomic": 0,
    "prernn_jax.compiled": 0, "prernn_jax.json_values": 1, "prernn_jax.remote": 1,
    "prernn_jax.command": 2,  # it finds its sub-commands by entry points and imports none
    "prernn_jax.module_path": 2, "prernn_jax.cpu": 2, "prernn_jax.preprocess": 2,
    "prernn_jax.precision": 2,
    "prernn_jax.layers": 3, "prernn_jax.backbones": 4, "prernn_jax": 5, "prernn_jax.files": 6,
    "prernn_jax.data": 7, "weights_port": 8, "prernn_jax.predict": 8,
    "prernn_jax.export": 9, "train": 10, "prernn_jax.page": 10, "prernn_jax.demo": 10,
    "prernn_jax.__init__": 11,  # the public API looks down on all of it
}  # fmt: skip
TRAIN = {"train.engine": 0, "train.run": 1, "train.action": 2, "train.face": 2, "train.gesture": 2}


def files():
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def module_of(file):
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts)


def imports_of(file):
    """The modules of ours that a file imports at any place in it, as absolute names."""
    parts = module_of(file).split(".")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parts[: -node.level] if node.level else []
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = ROOT / Path(*name.split(".")) / f"{alias.name}.py"
                package = ROOT / Path(*name.split(".")) / alias.name / "__init__.py"
                whole = f"{name}.{alias.name}"
                yield whole if inner.is_file() or package.is_file() else name


def ours(name):
    return name.split(".")[0] in PACKAGES


def room(module):
    """The entry of LEVELS for a module: the longest that begins its name."""
    if module == "prernn_jax.__init__":
        return module
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (name := ".".join(parts[:length])) in LEVELS:
            return name
    raise AssertionError(f"{module} belongs to no room of the layout")


GRAPH = {module_of(file): sorted(set(filter(ours, imports_of(file)))) for file in files()}


@pytest.mark.parametrize("module", GRAPH)
def test_imports_only_go_down(module):
    here = room(module)
    for other in GRAPH[module]:
        if other == "prernn_jax" and here != "prernn_jax.__init__":
            raise AssertionError(f"{module} imports the public API, which imports it")
        there = room(other)
        assert there == here or LEVELS[there] < LEVELS[here], f"{module} imports {other}"


@pytest.mark.parametrize("module", [name for name in GRAPH if name.startswith("train.")])
def test_inside_train_too(module):
    """The engine knows no run, a run no application, and applications not one another."""
    here = ".".join(module.split(".")[:2])
    for other in GRAPH[module]:
        there = ".".join(other.split(".")[:2])
        if there in TRAIN and here in TRAIN and there != here:
            assert TRAIN[there] < TRAIN[here], f"{module} imports {other}"


def test_there_is_no_circle():
    done, path = set(), []

    def walk(module):
        assert module not in path, f"a circle: {' -> '.join([*path, module])}"
        if module in done or module not in GRAPH:
            return
        path.append(module)
        for other in GRAPH[module]:
            walk(other if other in GRAPH else f"{other}.__init__")
        path.pop()
        done.add(module)

    for module in GRAPH:
        walk(module)


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_has_one_subject_and_at_most_300_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 300
    assert file.stem not in ("utils", "util", "common", "base", "helpers", "misc")


def test_what_is_compiled_says_its_precision():
    """JAX would leave it to the device; `train/engine/step.py` says it for `devices.py`."""
    compiling = {
        module_of(file): "products_in(" in text or "default_matmul_precision(" in text
        for file in files()
        if re.search(r"^\s*@jit\b|\bjit\(", text := file.read_text(encoding="utf-8"), re.M)
    }
    assert {name for name, said in compiling.items() if not said} == {
        "prernn_jax.cpu.xla", "train.engine.devices"
    }  # fmt: skip
    assert len(compiling) > 8


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_text_files_are_opened_in_utf_8(file):
    """Windows would take its own encoding, and users' class names would differ."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg for keyword in node.keywords}
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        if name in ("read_text", "write_text") and len(node.args) < 2:
            is_ours = isinstance(node.func, ast.Name)  # a function of this package
            assert is_ours or "encoding" in given, f"line {node.lineno}"
        if name == "open" and isinstance(node.func, ast.Name | ast.Attribute):
            binary = any("b" in str(word) for word in words if len(str(word)) <= 3)
            library = getattr(getattr(node.func, "value", None), "id", "") in (
                "av", "Image", "tarfile", "zipfile", "archive", "os", "mmap",
            )  # fmt: skip
            assert binary or library or "encoding" in given, f"line {node.lineno}"
