"""Trains and tests hand gestures: `prernn train gesture`, or `python -m train.gesture`."""

from collections.abc import Sequence

from prernn_jax.command import run_command

from ..run import application
from .application import GESTURE


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    application.main(GESTURE, argv)


if __name__ == "__main__":
    run_command(main)
