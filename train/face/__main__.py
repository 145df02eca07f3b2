"""Trains and tests face alignment: `prernn train face`, or `python -m train.face`."""

from collections.abc import Sequence

from prernn_jax.command import run_command

from ..run import application
from .application import FACE


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    application.main(FACE, argv)


if __name__ == "__main__":
    run_command(main)
