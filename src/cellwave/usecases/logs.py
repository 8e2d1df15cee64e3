"""What a failed attempt left to read, and on which host."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from cellwave.deploy.logs import AttemptLog, newest_log
from cellwave.environment import host_name
from cellwave.errors import BadInput, Unavailable
from cellwave.rollout.records import recorded
from cellwave.usecases.surroundings import Surroundings


def log_of(around: Surroundings, stack: str) -> AttemptLog:
    """What the newest attempt at a stack left in this home; BadInput when none left anything.

    A rollout's newer one on another host is told of, or, where nothing is here, named in the error.
    """
    elsewhere = _elsewhere(around, stack)
    try:
        left = newest_log(around.project.home, stack)
    except BadInput:
        if elsewhere is None:
            raise
        host, _ = elsewhere
        found = f"the newest attempt at {stack!r} was made on {host}, and what it left is there"
        raise BadInput("logs", found, f"`cellwave logs {stack}` on {host}") from None
    if elsewhere and elsewhere[1] > left.at:
        around.tell(f"a newer attempt at {stack} was made on {elsewhere[0]}: `cellwave logs {stack}` there")
    return left


def _elsewhere(around: Surroundings, stack: str) -> tuple[str, float] | None:
    """The other host that made a stack's newest attempt, as far as that can be known, and when that was asked for."""
    with suppress(Unavailable, SQLAlchemyError):
        records = recorded(around.project.database_url)
        newest = records.newest_attempt(stack) if records else None
        return newest if newest and newest[0] != host_name() else None
    return None
