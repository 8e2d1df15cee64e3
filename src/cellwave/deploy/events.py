"""Read the engine's event log: progress, counts, stack outputs, what is planned and what went wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cellwave.deploy.port import Progress
from cellwave.states import HIDDEN, STACK_TYPE, is_secret, name_of

Event = dict[str, Any]

# Steps that take a resource away, or put another in its place.
DESTRUCTIVE = frozenset(
    {"delete", "replace", "create-replacement", "delete-replaced", "discard", "discard-replaced"}
)
STEPS = (b'"resourcePreEvent"', b'"resOutputsEvent"', b'"resOpFailedEvent"')
PARTLY = 1  # the status of a step that failed half-way: what was made is in the state
ERROR_LINE = re.compile(r"^error: ", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Diagnostic:
    """An error that the engine reported; `urn` is "" when it belongs to no resource."""

    urn: str
    message: str


@dataclass
class Story:
    """What an event log tells of a whole run."""

    changes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    errors: list[Diagnostic] = field(default_factory=list)
    destroyed: list[tuple[str, str]] = field(default_factory=list)  # (operation, URN), in order
    planned: list[dict[str, Any]] = field(default_factory=list)  # the states that steps lead to, in order
    failed: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list
    )  # (operation, the state it led to or from)
    finished: bool = False


class Tail:
    """Reads what was appended to an event log since the last look; a line still being written is left for later.

    A run's log is a file of its own, under a name that the next run's takes over. This one is kept open until then:
    so no other can be given its inode, and what was written to it last is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._under_way: dict[str, str] = {}
        self.done = 0

    @property
    def under_way(self) -> list[str]:
        """The steps that have begun and not ended, in words."""
        return list(self._under_way.values())

    def progress(self) -> Iterator[Progress]:
        """The new steps, in order."""
        for line in self._lines():
            # Most lines are no step's: skip them without parsing.
            if any(kind in line for kind in STEPS):
                seen = self._step(json.loads(line))
                if seen is not None:
                    yield seen

    def _step(self, event: Event) -> Progress | None:
        begun = event.get("resourcePreEvent")
        step = (begun or event.get("resOutputsEvent") or event["resOpFailedEvent"])["metadata"]
        if step["op"] in ("same", "read") or step["type"] == STACK_TYPE:
            return None
        name, operation = name_of(step["urn"]), step["op"]
        self._under_way.pop(step["urn"], None)
        if begun is not None:
            self._under_way[step["urn"]] = f"{operation} {name}"
        elif "resOpFailedEvent" in event:
            return None
        self.done += begun is None
        return Progress(resource=name, operation=operation, done=self.done)

    def close(self) -> None:
        """Let go of the log."""
        if self._file is not None:
            self._file.close()

    def _lines(self) -> Iterator[bytes]:
        with contextlib.suppress(FileNotFoundError):
            file = self._path.open("rb")
            if self._file is None:
                self._file = file
            elif os.path.samestat(os.fstat(file.fileno()), os.fstat(self._file.fileno())):
                file.close()
            else:  # another run of the same attempt began
                yield from _appended(self._file)
                self.close()
                self._file, self.done = file, 0
                self._under_way.clear()
        if self._file is not None:
            yield from _appended(self._file)


def _appended(file: BinaryIO) -> list[bytes]:
    """The whole lines from where it stands, which is then behind them."""
    data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    file.seek(len(whole) - len(data), os.SEEK_CUR)
    return whole.splitlines()


def read_story(path: Path) -> Story:
    """The whole log's story; an absent or torn log gives what can be read."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return Story()
    return tell(_parsed(lines))


def tell(events: Iterable[Event]) -> Story:
    """The story of a run's events."""
    story, said = Story(), []
    for event in events:
        if summary := event.get("summaryEvent"):
            story.changes = {k: v for k, v in (summary.get("resourceChanges") or {}).items() if v}
            story.finished = True
        elif found := event.get("diagnosticEvent"):
            said.append(found)
        elif begun := event.get("resourcePreEvent"):
            step = begun["metadata"]
            if step["op"] in DESTRUCTIVE and _is_physical(step):
                story.destroyed.append((step["op"], step["urn"]))
            if step.get("new"):
                story.planned.append(step["new"])
        elif (lost := event.get("resOpFailedEvent")) and lost.get("status") != PARTLY:
            step = lost["metadata"]
            story.failed.append((step["op"], step.get("new") or step.get("old") or {}))
        elif ended := event.get("resOutputsEvent"):
            step = ended["metadata"]
            if step["type"] == STACK_TYPE and step.get("new"):
                story.outputs = plain_outputs(step["new"].get("outputs") or {})
    story.errors = _errors(said)
    return story


def _errors(said: list[Event]) -> list[Diagnostic]:
    """The errors among diagnostics, else those that a language host printed: YAML's does no more than that."""
    errors = [
        Diagnostic(found.get("urn", ""), found.get("message", ""))
        for found in said
        if found.get("severity") == "error"
    ]
    printed = "".join(found.get("message", "") for found in said if found.get("severity") == "info#err")
    return errors or [Diagnostic("", text) for text in ERROR_LINE.split(printed)[1:]]


def plain_outputs(outputs: dict[str, Any]) -> dict[str, str]:
    """Stack outputs as texts (other values as JSON); a secret is left out."""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in outputs.items() if not is_secret(v)}
    return {k: v for k, v in texts.items() if v != HIDDEN}


def _is_physical(step: Event) -> bool:
    """Whether a step is about something in the cloud: neither a component nor a provider."""
    return bool((step.get("old") or {}).get("custom")) and not step["type"].startswith("pulumi:")


def _parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
