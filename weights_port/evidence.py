"""Which of several tables a file was written by, where its keys fit them equally."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from prernn_jax.errors import InputError
from weights_port.choice import Choice, Wishes, facts, meaning
from weights_port.formats.source import Source
from weights_port.input_range import Told
from weights_port.tables.architecture import Architecture


class Witnesses(NamedTuple):
    """What is known of a file besides its keys; asked only where they do not decide.

    Attributes:
        digest: Gives the file's SHA-256.
        range: Measures the range of colours that the weights were trained on.
    """

    digest: Callable[[], str]
    range: Callable[[], Told]


def decide(
    source: Source,
    architecture: Architecture,
    tied: list[Choice],
    witnesses: Witnesses,
    wishes: Wishes,
) -> Choice:
    """The one of equally good tables that the file's evidence names.

    Args:
        source: The file.
        architecture: The network.
        tied: The tables, none of which the user's words rule out.
        witnesses: What is known of the file besides its keys.
        wishes: What the user says of the weights.

    Raises:
        InputError: Nothing names one of them, or nothing says how its max-pool is padded.
    """
    ask = wishes.layout == "auto" and wishes.pool is None
    if len(tied) == 1 and not ask:
        return tied[0]
    for choice in tied:
        if choice.layout.digests and witnesses.digest().startswith(choice.layout.digests):
            return _named(tied, choice, "its SHA-256 is that of a published file")
    if len(tied) == 1:
        _check_padding(source, tied[0])
        return tied[0]
    ranges = {facts(choice, architecture)["scale"] for choice in tied}
    reason = "nothing in the file says which one its weights were trained with"
    if len(ranges) > 1:
        told = witnesses.range()
        able = [c for c in tied if facts(c, architecture)["scale"] == told.scale]
        if len(able) == 1:
            if ask:
                _check_padding(source, able[0])
            return _named(tied, able[0], told.reason)
        reason += f" ({told.reason})"
    lines = [f"  --layout {c.layout.name}: {meaning(c, architecture)}" for c in tied]
    flags = "--channels, --range, --input_mean and --input_std"
    if architecture.backbone == "resnet":
        flags = f"--place, --pool, {flags}"
    raise InputError(
        f"{source.path} fits these layouts of {architecture.name} equally, and {reason}; a wrong "
        "one gives other numbers without an error. Give the right one:\n"
        + "\n".join(lines)
        + f"\n  ({flags} set single points)"
    )


def _check_padding(source: Source, choice: Choice) -> None:
    """Checks that it is known how the max-pool of Caffe's weights in PyTorch is padded.

    Caffe's own ResNet-50 has a bias in conv1, so one without is Detectron's. Its deeper ones have
    none, as Detectron's have none.

    Raises:
        InputError: It is not known.
    """
    given = {move.target for move in choice.assignment.moves}
    deep = "layer3.6.conv1.kernel" in given
    said = "conv1.bias" in given or "pool" in choice.layout.arguments
    if choice.layout.name == "caffe-in-torch" and deep and not said:
        raise InputError(
            f"{source.path} holds weights of Caffe, and nothing in it says how the max-pool is "
            "padded; a wrong padding gives other numbers without an error. Give --pool both for "
            "networks of Detectron and mmdetection, --pool end for Caffe's own"
        )


def _named(tied: list[Choice], chosen: Choice, reason: str) -> Choice:
    """The choice, with a note that says why and how to overrule it."""
    others = [f"--layout {choice.layout.name}" for choice in tied if choice is not chosen]
    note = f"layout {chosen.layout.name}, because {reason}"
    if others:
        note += f"; give {' or '.join(others)} if the weights are those"
    return dataclasses.replace(chosen, notes=(note,))
