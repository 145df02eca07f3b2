"""Trains and tests action recognition: `prernn train action`, or `python -m train.action`."""

from collections.abc import Sequence

from prernn_jax.command import run_command

from ..run import application
from .application import ACTION


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    application.main(ACTION, argv)


if __name__ == "__main__":
    run_command(main)
