"""Runs a program as the command `prernn` does, in this process."""

from collections.abc import Sequence

import pytest

from prernn_jax.command import Main, run_command


def status_of(main: Main, argv: Sequence[str]) -> int:
    """Returns the exit status of a program."""
    with pytest.raises(SystemExit) as caught:
        run_command(main, argv)
    return int(caught.value.code or 0)
