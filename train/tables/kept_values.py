"""The values of runs that leave no folder: kept in a file, so that none is computed twice."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prernn_jax.files.atomic import write_json

from ..run.folder import make_folder


class KeptValues:
    """Values by name, written to a file as soon as they are known.

    Args:
        folder: Where the file lies; made if it is not there.
        about: What decides the values, JSON values; other settings have another file.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        make_folder(folder)
        settings = json.dumps(about, sort_keys=True)
        name = hashlib.sha256(settings.encode()).hexdigest()[:12]
        self.path = folder / f"values-{name}.json"
        self._about = json.loads(settings)
        self._found: dict[str, Any] = {}
        try:
            read = json.loads(self.path.read_text(encoding="utf-8"))
            if read["about"] == self._about:
                self._found = dict(read["values"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # not there yet, or damaged: everything is computed anew

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """The value of that name: the kept one, else what `compute` returns, a JSON value."""
        if name not in self._found:
            self._found[name] = json.loads(json.dumps(compute()))
            write_json(self.path, {"about": self._about, "values": self._found})
        return self._found[name]
