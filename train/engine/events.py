"""TensorBoard's event files."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Where PyTorch is installed, tensorboardX imports it, for graphs that we do not draw. That would
# take about half of a program's start.
_hides_torch = "torch" not in sys.modules
if _hides_torch:
    sys.modules["torch"] = None  # type: ignore[assignment]  # an import of it fails
try:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.summary import scalar, text
finally:
    if _hides_torch:
        del sys.modules["torch"]


class Events:
    """The event file of one start of a run.

    Args:
        folder: Where the file is to be; made where it does not exist.
        step: The step from which the run goes on. TensorBoard forgets what an earlier process has
            written of later steps.

    Raises:
        OSError: The file cannot be written; so do the methods.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(exist_ok=True)
        # Not `SummaryWriter`: it writes in a thread that dies of a full disk, and then waits for
        # that thread forever.
        self._writer = EventsWriter(str(folder / "events"))
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers of a step."""
        for name, value in values.items():
            self._write(step, summary=scalar(name, value))
        self._writer.flush()

    def text(self, name: str, words: str) -> None:
        """Writes a text about the whole run."""
        self._write(0, summary=text(name, words))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file, in which all events are already."""
        self._writer.close()

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))
