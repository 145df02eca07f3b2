"""The command `prernn` and what every command line shares: help, one message a fault, status.

A sub-command is an entry point of the group `prernn.commands` (pyproject.toml): its name, with a
dot for each space (`train.action`), and a function that takes the arguments behind it.
"""

import argparse
import ast
import dataclasses
import errno
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from prernn_jax import remote
from prernn_jax.compiled import keep_compiled
from prernn_jax.errors import InputError, RunStopped
from prernn_jax.processes import keep_freed_memory

Config = TypeVar("Config")
Main = Callable[[Sequence[str]], int | None]
GROUP = "prernn.commands"


def parse(
    config: type[Config],
    argv: Sequence[str],
    *,
    program: str,
    description: str,
    examples: Sequence[str] = (),
    preset: Callable[[dict[str, str]], Config] | None = None,
    deciding: Sequence[str] = (),
    common: Sequence[str] = (),
    renamed: Mapping[str, str] = {},
) -> Config:
    """Reads a command line into a frozen dataclass.

    Args:
        config: The dataclass.
        argv: The arguments.
        program: What the usage line calls the program.
        description: What the program does, for --help.
        examples: Command lines for --help.
        preset: Takes those of the flags `deciding` that are given and returns the defaults of all
            flags; without it the defaults are those of the dataclass.
        deciding: Names of the flags that choose the preset.
        common: Names of the fields that --help lists; without any it lists all.
        renamed: Former names of flags and what they are called now; they still work.

    Returns:
        The configuration. Remote places are replaced by their mirrors (`prernn_jax.remote`).
        `--help`, `--help-all` and unknown flags end the program.

    Raises:
        InputError: A remote place cannot be reached, or is to be written by a flag that cannot.
    """
    argv = _mirrored([_renamed(word, renamed) for word in argv])
    defaults: dict[str, Any] = {}
    if preset is not None:
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for name in deciding:
            early.add_argument(f"--{name}")
        found = vars(early.parse_known_args(argv)[0])
        defaults["default"] = preset({k: v for k, v in found.items() if v is not None})
    if examples:
        description += "\n\nexamples:\n  " + "\n  ".join(examples)
    kind: Any = config
    if common and {"-h", "--help"} & set(argv):
        kind = _short(config, defaults.pop("default"), common)
        description += "\n\nThese are the common options; --help-all lists all of them."
    result: Config = tyro.cli(
        kind,
        args=["--help" if word == "--help-all" else word for word in argv],
        prog=program,
        description=description,
        use_underscores=True,
        **defaults,
    )
    return result


_MADE = ("cache_dir", "workdir")
"""Flags of folders that a program makes and writes."""


def _mirrored(argv: Sequence[str]) -> list[str]:
    """The arguments with local mirrors in place of remote places."""
    found, flag = [], ""
    for word in argv:
        flag = word.partition("=")[0] if word.startswith("--") else flag
        before, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if remote.is_remote(value):
            name = flag.removeprefix("--").replace("-", "_").rpartition(".")[2]
            if name == "out":
                raise InputError(
                    f"{flag}={value}: this is written on a local disk only; copy it from there"
                )
            value = str((remote.mirror if name in _MADE else remote.fetch)(value))
        found.append(before + sign + value)
    return found


def _renamed(word: str, renamed: Mapping[str, str]) -> str:
    """An argument with the present name of its flag."""
    flag, sign, value = word.partition("=")
    name = flag.removeprefix("--").replace("-", "_")
    if not flag.startswith("--") or name not in renamed:
        return word
    print(f"note: {flag} is called --{renamed[name]} now", file=sys.stderr)
    return f"--{renamed[name]}{sign}{value}"


def _short(config: type[Any], default: Any, shown: Sequence[str]) -> type[Any]:
    """The dataclass with only some fields, in the order given, and other defaults."""
    hints = get_type_hints(config, include_extras=True)
    return dataclasses.make_dataclass(
        config.__name__,
        [(name, hints[name], dataclasses.field(default=getattr(default, name))) for name in shown],
        frozen=True,
        namespace={"__doc__": _documentation(config)},
    )


def _documentation(config: type[Any]) -> str:
    """The `Attributes` of a dataclass and of those that it inherits from as one docstring."""
    head, entries = "", ""
    for kind in config.__mro__:
        text, _, attributes = (kind.__doc__ or "").partition("Attributes:\n")
        if dataclasses.is_dataclass(kind):
            head, entries = head or text, entries + attributes.rstrip() + "\n"
    return f"{head}Attributes:\n{entries}"


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def run_command(main: Main, argv: Sequence[str] | None = None) -> None:
    """Runs a program and leaves with its exit status.

    Status 2 means that the message says what the user can mend, 130 and 143 that a signal came.

    Args:
        main: Takes the arguments and returns the status, None for 0.
        argv: The arguments; those of the process by default.
    """
    keep_freed_memory()
    keep_compiled(remote.cache_folder(), private="PRERNN_DATA_DIR" not in os.environ)
    try:
        sys.exit(main(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(
            f"error: cannot write{where}: {error.strerror}; make room or give access, then run "
            "the same command again (a training goes on with --resume)",
            file=sys.stderr,
        )
        sys.exit(2)
    except RunStopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:  # outside of a training loop
        print("stopped: nothing is left half-written; the same command goes on", file=sys.stderr)
        sys.exit(130)


def main() -> None:
    """The command `prernn`."""
    run_command(dispatch)


def dispatch(argv: Sequence[str]) -> int | None:
    """Finds the sub-command that the first words name, and runs it on the others.

    Returns:
        Its status.

    Raises:
        InputError: There is no such sub-command.
    """
    argv = list(argv)
    found = {tuple(entry.name.split(".")): entry for entry in _commands()}
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview(found))
        return 0
    if argv[0] == "--version":
        print(f"prernn-jax {importlib.metadata.version('prernn-jax')}")
        return 0
    for length in (2, 1):
        if (name := tuple(argv[:length])) in found:
            status: int | None = found[name].load()(argv[length:])
            return status
    group = [name for name in found if name[0] == argv[0]]
    if group and argv[1:2] in ([], ["-h"], ["--help"]):
        print(_overview({name: found[name] for name in group}))
        return 0
    names = ", ".join(" ".join(name) for name in sorted(found))
    raise InputError(f"prernn {' '.join(argv[:2])}: no such command; expected one of: {names}")


def _commands() -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group=GROUP))


def _overview(found: dict[tuple[str, ...], importlib.metadata.EntryPoint]) -> str:
    lines = ["usage: prernn COMMAND [options]", "", "commands:"]
    for name, entry in sorted(found.items(), key=lambda item: item[0][0] != "train"):
        lines.append(f"  {' '.join(name):15} {_summary(entry)}")
    return "\n".join([*lines, "", "prernn COMMAND --help says more."])


def _summary(entry: importlib.metadata.EntryPoint) -> str:
    """The first line of a command's module, without the import of it, which takes seconds."""
    spec = importlib.util.find_spec(entry.module)
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].partition(":")[0].rstrip(".")


if __name__ == "__main__":
    main()
