"""Preparation as a pipeline of Apache Beam, which is installed as prernn-jax[beam].

The pipeline makes each video's file by the same function as the processes of one machine do. The
source and the prepared folder must lie where all of its workers see them.
"""

import json
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from prernn_jax.data.prepared.folder import Write, attempt
from prernn_jax.data.prepared.lists import Listed
from prernn_jax.errors import InputError

Runner = Literal["direct", "flink", "spark", "dataflow"]
_NOTES = "beam"
"""Folder, beside the prepared files, in which the workers write down which videos have a fault."""


def _pipeline(runner: Runner, options: str, workers: int | None) -> Any:
    """A Beam pipeline.

    Raises:
        InputError: Beam is not installed, or does not take the options.
    """
    if runner not in get_args(Runner):
        raise InputError(f"--runner={runner}: expected one of {', '.join(get_args(Runner))}")
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(
            "--runner needs Apache Beam: pip install 'prernn-jax[beam]', in an environment without "
            "constraints.txt (Beam wants protobuf below 7 and pillow below 13); or leave it out"
        ) from error
    given = [f"--runner={runner.title()}Runner", "--default_sdk_harness_log_level=WARNING"]
    if runner == "direct":  # processes: the flow of two videos at once would not be reproducible
        given += ["--direct_running_mode=multi_processing"]
        given += [f"--direct_num_workers={workers or os.cpu_count() or 1}"]
    try:
        return apache_beam.Pipeline(options=PipelineOptions([*given, *shlex.split(options)]))
    except (Exception, SystemExit) as error:  # a parser of its own ends the process
        raise InputError(f"--beam_options={options}: Beam does not take them ({error})") from None


def prepare_by_beam(
    folder: Path,
    todo: Sequence[Listed],
    write: Write,
    workers: int | None,
    *,
    runner: Runner,
    options: str = "",
) -> Iterator[tuple[Listed, str | None]]:
    """Makes prepared files by a pipeline; the outcomes come when it has ended.

    Args:
        folder: The folder of the prepared files.
        todo: The samples.
        write: Makes one file.
        workers: Processes of the direct runner; None for one on each core.
        runner: Where the pipeline runs.
        options: Further options of Beam, as on a command line.

    Yields:
        Each sample, and what is wrong with it or None.

    Raises:
        InputError: Beam is not installed, or the pipeline fails; what is finished stays.
    """
    pipeline = _pipeline(runner, options, workers)
    import apache_beam as beam

    notes = folder / _NOTES
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir(parents=True)

    def fault_of(number: int) -> list[str]:
        fault = attempt(write, items[number], folder)
        return [] if fault is None else [json.dumps([number, fault])]

    items = dict(enumerate(todo))
    try:
        (
            pipeline
            | beam.Create(list(items))
            | beam.Reshuffle()  # so that the workers share the videos
            | beam.FlatMap(fault_of)
            | beam.io.WriteToText(str(notes / "faults"))
        )
        pipeline.run().wait_until_finish()
        lines = [line for file in notes.iterdir() for line in _lines(file)]
    except Exception as error:  # each runner has errors of its own
        reason = (str(error).strip().splitlines() or [""])[-1][:300]
        raise InputError(
            f"the pipeline of --runner={runner} failed ({type(error).__name__}: {reason}); what is "
            "finished stays: start again"
        ) from error
    shutil.rmtree(notes, ignore_errors=True)
    faults = dict(json.loads(line) for line in lines)
    for number, item in items.items():
        yield item, faults.get(number)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
