"""What an application is, and a run of it from its command line to its summary."""

import functools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from prernn_jax.command import parse
from prernn_jax.export.model_card import write_card
from prernn_jax.remote import publish, refresh

from ..engine.devices import make_mesh
from ..engine.log import say
from ..engine.processes import find_place, first_before_others, from_first
from ..engine.step import Batch
from ..engine.together import together
from .backbone import Backbone
from .config import RENAMED, check_run, run_name, settings_of
from .folder import RunFolder, check_alike
from .memory import Sizes
from .settings import settings_from
from .stage_two import Outcome, Work, train_and_test


@dataclass(frozen=True)
class Application:
    """One of the paper's applications.

    Attributes:
        name: `action`, `face` or `gesture`; it stands in `config.json`.
        description: What the program does, for --help.
        examples: Command lines for --help.
        config: The class of its configurations.
        preset: Takes the values of the `deciding` flags that are given; returns all defaults.
        deciding: Names of the flags that choose the preset.
        common: Names of the flags that --help lists; --help-all lists all.
        kind: Configuration -> the words that a run's name begins with.
        check: Raises an InputError for values that no run can have.
        open_data: Opens the data set, whose `splits` maps the names of sets to records; draws the
            embedded one and prepares a real one.
        open_backbone: Opens the pre-trained network: that of --weights, or that of stage one.
        work: Configuration, data and backbone -> what stage two trains and tests.
        held_out: Configuration, data, name of a set and channels of the network's input -> the
            batches of that set, each sequence once.
        report: Writes figures, scores and `summary.json`; returns what is in the summary.
        sizes: What decides the memory of a training step; nothing is opened.
    """

    name: str
    description: str
    examples: Sequence[str]
    config: type[Any]
    preset: Callable[[dict[str, str]], Any]
    deciding: Sequence[str]
    common: Sequence[str]
    kind: Callable[[Any], Sequence[str]]
    check: Callable[[Any], None]
    open_data: Callable[[Any], Any]
    open_backbone: Callable[[Any, Mesh], Backbone]
    work: Callable[[Any, Any, Backbone], Work]
    held_out: Callable[[Any, Any, str, int], Iterable[Batch]]
    report: Callable[[RunFolder, str, Any, Any, Outcome, float], dict[str, Any]]
    sizes: Callable[[Any], Sizes]


def run(application: Application, config: Any) -> dict[str, Any]:
    """Trains and tests.

    Args:
        application: The application.
        config: A configuration of the application's class.

    Returns:
        The contents of `summary.json`: the test metrics and what describes the run.

    Raises:
        InputError: Something that was given cannot be used; nothing of an earlier run is changed.
        RunStopped: The run ended before its last step.
    """
    began = time.perf_counter()
    check_alike(settings_of(config))
    mesh = make_mesh(config.devices, config.batch_size, accumulate=config.accumulate)
    check_run(config)
    application.check(config)
    name = run_name(config, *application.kind(config))
    refresh(config.workdir / name)
    with RunFolder(config.workdir / name, settings_of(config), resume=config.resume) as folder:
        data = first_before_others(lambda: application.open_data(config))
        say(f"data: {config.data}, {_sizes(data.splits)}")
        backbone = application.open_backbone(config, mesh)
        work = application.work(config, data, backbone)
        outcome = train_and_test(config, folder, backbone, work, mesh)

        def report() -> dict[str, Any]:
            summary = application.report(folder, name, config, data, outcome, began)
            write_card(folder.path / "model.safetensors")
            publish(config.workdir)
            publish(config.cache_dir)
            return summary

        return from_first(report)


def _sizes(splits: Mapping[str, Any]) -> str:
    return ", ".join(f"{len(source)} {name}" for name, source in splits.items())


def _defaults(application: Application, given: dict[str, str]) -> Any:
    """The defaults of all flags: another run's settings, or those of a preset."""
    file = given.pop("config", None)
    if file is None:
        return application.preset(given)
    return settings_from(Path(file), application.config)


def configuration(
    application: Application,
    argv: Sequence[str],
    command: str = "train",
    *,
    description: str = "",
    examples: Sequence[str] = (),
) -> Any:
    """Reads the flags of `prernn COMMAND NAME` into a configuration of the application.

    Args:
        application: What the flags belong to.
        argv: The flags.
        command: The command that reads them.
        description: What the command does, for --help; the application's when not given.
        examples: Its command lines, for --help; the application's when not given.
    """
    return parse(
        application.config,
        argv,
        program=f"prernn {command} {application.name}",
        description=description or application.description,
        examples=examples or application.examples,
        preset=functools.partial(_defaults, application),
        deciding=["config", *application.deciding],
        common=[*application.common, *application.config.common],
        renamed=RENAMED,
    )


def main(application: Application, argv: Sequence[str]) -> None:
    """Runs an application's command line."""
    config = configuration(application, argv)
    place = find_place(config.coordinator, config.num_processes, config.process_id, os.environ)
    with together(place):
        run(application, config)
