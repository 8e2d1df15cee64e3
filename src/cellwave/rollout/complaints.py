"""What the worker's log says: no values of variables, for they hold secrets, and each complaint at most once a minute,
for what goes wrong at one look goes wrong at the next."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from structlog.typing import EventDict, WrappedLogger

from cellwave.text import redact

AGAIN_SECONDS = 60.0


def keep_the_log_small() -> None:
    """Write this process's log so: its own, and DBOS's."""
    seldom = Seldom()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            seldom.ours,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.processors.format_exc_info,
            without_secrets,
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
        ]
    )
    logging.getLogger("dbos").addFilter(seldom.of_dbos)


def without_secrets(_logger: WrappedLogger, _name: str, said: EventDict) -> EventDict:
    """What is said, with every text redacted."""
    return {key: redact(value) if isinstance(value, str) else value for key, value in said.items()}


@dataclass
class Seldom:
    """Lets a complaint pass once in AGAIN_SECONDS. `clock` counts seconds."""

    clock: Callable[[], float] = time.monotonic
    _said: dict[str, float] = field(default_factory=dict)

    def is_new(self, what: str) -> bool:
        """Whether that was not said just now."""
        now = self.clock()
        if now - self._said.get(what, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        self._said = {text: at for text, at in self._said.items() if now - at < AGAIN_SECONDS} | {what: now}
        return True

    def ours(self, _logger: WrappedLogger, _name: str, said: EventDict) -> EventDict:
        """A processor of structlog's: of an exception, its kind and words tell whether it is another one."""
        error = sys.exc_info()[1] if said.get("exc_info") else None
        rest = sorted((key, str(value)) for key, value in said.items() if key != "exc_info")
        if not self.is_new(f"{rest} {type(error).__name__} {error}"):
            raise structlog.DropEvent
        return said

    def of_dbos(self, record: logging.LogRecord) -> bool:
        """A filter of logging's: DBOS says the same at every poll of every queue, and its statement with it."""
        return self.is_new(f"{record.pathname}:{record.lineno} {record.msg[:80]}")
