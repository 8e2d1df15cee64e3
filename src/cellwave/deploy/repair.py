"""Mend a stack whose last update was cut off. (placeholder)"""

from __future__ import annotations

from cellwave.deploy.command import Launch
from cellwave.deploy.state import Deployment, Directory


class Refused(Exception):
    """The stack can't be mended without a person; the text says what to do."""


def mend(launch: Launch, stack: str, directory: Directory | None, deployment: Deployment | None) -> None:
    """Nothing yet."""
