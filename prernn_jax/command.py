"""What the command lines share: presets, one clear message for a fault, exit status."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from prernn_jax.errors import InputError, RunStopped
from prernn_jax.processes import keep_freed_memory

Config = TypeVar("Config")


def parse(
    config: type[Config],
    choose: Callable[[dict[str, str]], Config],
    deciding: Sequence[str],
    argv: Sequence[str],
    description: str,
) -> Config:
    """Reads a command line into a frozen dataclass whose defaults are a preset.

    Args:
        config: The dataclass.
        choose: Given those of the flags `deciding` that are there, returns the preset.
        deciding: Names of the flags that choose the preset.
        argv: The arguments.
        description: For --help.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in deciding:
        early.add_argument(f"--{name}")
    given = {k: v for k, v in vars(early.parse_known_args(argv)[0]).items() if v is not None}
    return tyro.cli(
        config,
        default=choose(given),
        args=list(argv),
        description=description,
        use_underscores=True,
    )


def run_command(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a program on sys.argv and leaves with its status: 2 for what the user can mend."""
    keep_freed_memory()
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except RunStopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        sys.exit(stopped.status)
    except KeyboardInterrupt:  # outside of a training loop
        print("stopped: nothing was left half-written; --resume goes on", file=sys.stderr)
        sys.exit(130)
