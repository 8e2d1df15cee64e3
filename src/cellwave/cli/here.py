"""Where a command is given."""

from __future__ import annotations

from cellwave.cli.show import say
from cellwave.project import find_project
from cellwave.usecases.surroundings import Surroundings


def here() -> Surroundings:
    """The surroundings of the working directory, which tell the person at the terminal; BadInput outside a project."""
    return Surroundings(find_project(), say)
