"""The fleet that tests of waves use: this repository's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project, find_project


@pytest.fixture(scope="session")
def project() -> Project:
    """This repository as a project."""
    return find_project(Path(__file__))


@pytest.fixture(scope="session")
def fleet(project: Project) -> Fleet:
    """This repository's cells/."""
    return parse_fleet(project.config_files())
