"""The three applications by name."""

from collections.abc import Mapping
from typing import Any

from .action.application import ACTION
from .face.application import FACE
from .gesture.application import GESTURE
from .run.application import Application

APPLICATIONS: Mapping[str, Application] = {one.name: one for one in (ACTION, FACE, GESTURE)}


def application_of(config: Any) -> Application:
    """The application that a configuration belongs to."""
    return APPLICATIONS[config.application]
