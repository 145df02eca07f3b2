"""Runs a frozen trunk once over a data set: `prernn features`, or `prernn features gesture`.

The features lie in the folder of prepared data, where `prernn train action --trunk=cached` (or
`gesture`) with the same flags finds them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import optax
from flax import nnx

from prernn_jax.command import run_command
from prernn_jax.data.batches import eval_batches
from prernn_jax.data.feature_files import FeatureSet
from prernn_jax.files.models import apply_surgery

from .applications import APPLICATIONS, application_of
from .engine.devices import make_mesh, set_up
from .engine.log import say
from .engine.step import Batch
from .run.application import configuration
from .run.config import check_run
from .run.feature_batches import cache_of, cached_set
from .run.stage_two import surgery_call
from .run.trunk import features_of, trunk_parameters

CLASSES_OF_CLIPS = ("action", "gesture")
"""The applications whose trunk can be frozen; the first is meant where none is named."""


class Sets(NamedTuple):
    """A data set before and behind the trunk; all by the name of the set.

    Attributes:
        features: What the trunk makes of the steps.
        clips: Batches of what the trunk is given.
    """

    features: Mapping[str, FeatureSet]
    clips: Mapping[str, Iterable[Batch]]


def config_of(argv: Sequence[str], command: str, description: str, examples: Sequence[str]) -> Any:
    """Reads a command line that begins with `action` (the default) or `gesture`.

    Args:
        argv: The arguments.
        command: The sub-command of `prernn`.
        description: What it does.
        examples: Command lines for --help.

    Returns:
        The configuration; its flags are those of `prernn train` of the application.
    """
    name = argv[0] if argv and argv[0] in CLASSES_OF_CLIPS else CLASSES_OF_CLIPS[0]
    flags = argv[1:] if argv and argv[0] == name else argv
    return configuration(
        APPLICATIONS[name], flags, command, description=description, examples=examples
    )


def sets_of(config: Any) -> Sets:
    """Every set of a data set as features: read where they are kept, else computed and kept.

    Args:
        config: A run of classes of clips: says which data, which trunk, and by its `model` where
            the trunk ends.

    Raises:
        InputError: Something that was given cannot be used.
    """
    config = replace(config, trunk="cached")
    check_run(config)
    application = application_of(config)
    application.check(config)
    mesh = make_mesh(1, config.batch_size)
    data = application.open_data(config)
    backbone = application.open_backbone(config, mesh)
    given = application.work(config, data, backbone)
    given.batches.close()
    assert given.fixed is not None
    surgery = surgery_call(config, backbone, given.outputs)
    model = apply_surgery(backbone.model, surgery, rngs=nnx.Rngs(config.seed))
    training = set_up(
        model,
        given.task,
        optax.identity(),  # nothing is trained here
        mesh,
        batch_norm="frozen",
        precision=config.precision,
        freeze=(trunk_parameters(model),),
        features=True,
        seed=config.seed,
    )
    features = features_of(training.network, training.state, given.task, config.precision)
    cache = cache_of(given, training, model.late_layers)
    clips: dict[str, Iterable[Batch]] = {
        "train": eval_batches(given.fixed.rows, given.fixed.read, batch_size=config.batch_size),
        **given.held_out,
    }
    found = {name: cached_set(cache, name, batches, features) for name, batches in clips.items()}
    say(f"features: {cache.folder}")
    return Sets(found, clips)


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = config_of(
        argv,
        command="features",
        description=(
            "Runs a frozen trunk once over a data set. `prernn train action --trunk=cached` (or "
            "`gesture`) with the same flags then trains on the features alone."
        ),
        examples=(
            "prernn features --stream=temporal",
            "prernn features gesture --views=4",
            "prernn features --data=ucf101 --source=DIR --weights=resnet50.safetensors --views=4",
        ),
    )
    sets_of(config)


if __name__ == "__main__":
    run_command(main)
