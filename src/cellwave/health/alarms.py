"""Alarms of one account and AWS region: as they stand, and when they were red. All times here are CloudWatch's own.

A call of DescribeAlarms takes 100 names. An alarm that has turned since the moment that is asked for may have been red
in between, so its history is read, once a turn; one that hasn't costs no call. A composite that was red is followed
down to its metric alarms, if nothing but red ones of these makes it red.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple

from botocore.parsers import ResponseParserError

from cellwave.health.model import AlarmPart, AlarmReading, Red

NAMES_A_CALL = 100
BOTH_KINDS = ["MetricAlarm", "CompositeAlarm"]
# A composite alarm's rule of which nothing but red children makes it red; and their names in it.
CHILD = re.compile(r"""ALARM\(\s*["']?(?:arn:[^"'()\s]*:alarm:)?([^"'()]+?)["']?\s*\)""")
OF_ALARMS = re.compile(rf"(?:{CHILD.pattern}|\bOR\b|\bAND\b|[()\s])+")
DEEPEST = 4

Call = Callable[..., Iterable[Any]]  # an operation of AWS's: all pages of its answer


class Turn(NamedTuple):
    """An alarm's turn from one state to another, and why."""

    at: float
    old: str
    new: str
    reason: str


@dataclass(frozen=True)
class Turns:
    """An alarm's turns since a second, as they were told when it had last turned at `last`."""

    since: float
    last: float
    told: tuple[Turn, ...]


class Alarms:
    """What was read of one place's alarms. `describe` and `history` are DescribeAlarms and DescribeAlarmHistory."""

    def __init__(self) -> None:
        self._turns: dict[str, Turns] = {}

    def read(self, describe: Call, history: Call, wanted: Mapping[str, float]) -> dict[str, AlarmReading]:
        """Each alarm by its name, with the times that it has been red since the given second."""
        known = _described(describe, wanted)
        reds = {
            name: [
                red
                for red in stretches(alarm, self._told(alarm, history, wanted[name]))
                if red.since >= int(wanted[name]) or red.until == inf  # a turn's time may be in whole seconds
            ]
            for name, alarm in known.items()
        }
        known |= _below(describe, [known[name] for name, found in reds.items() if found])
        readings = dict.fromkeys(wanted, AlarmReading(state="MISSING"))
        for name, found in reds.items():
            alarm = known[name]
            whole = [
                red.model_copy(update={"parts": self._parts(alarm, red, known, history)}) for red in found
            ]
            readings[name] = AlarmReading(
                state=alarm["StateValue"],
                reason=alarm.get("StateReason", ""),
                since=_turned(alarm),
                parts=next((red.parts for red in whole if red.until == inf), ()),
                earlier=tuple(red for red in whole if red.until < inf),
            )
        return readings

    def _told(self, alarm: Any, history: Call, since: float) -> tuple[Turn, ...]:
        """Its turns since then, and maybe some before."""
        name, turned = alarm["AlarmName"], _turned(alarm)
        if turned < int(since):
            return ()
        kept = self._turns.get(name)
        if kept and kept.since <= since and kept.last == turned:
            return kept.told
        told = tuple(_history(history, name, since))
        # A turn that its history does not tell yet may be told at the next look.
        if told and told[-1].at >= turned - 1:
            self._turns[name] = Turns(since, turned, told)
        return told

    def _parts(self, alarm: Any, red: Red, known: Mapping[str, Any], history: Call) -> tuple[AlarmPart, ...]:
        """The metric alarms below that are red, or were in that time; none when other things may have made it red."""
        leaves = _leaves(alarm, known) or []
        if red.until == inf or leaves == [alarm]:
            return tuple(_part(leaf, leaf["StateValue"] if red.until == inf else "ALARM") for leaf in leaves)
        begin, end = red.since - 1, red.until + 1
        return tuple(
            _part(leaf, "ALARM")
            for leaf in leaves
            if any(
                one.since <= end and one.until >= begin
                for one in stretches(leaf, self._told(leaf, history, begin))
            )
        )


def stretches(alarm: Any, turns: Sequence[Turn]) -> list[Red]:
    """When an alarm was red, the oldest first: by its turns, and by how it stands, which they may not tell yet."""
    reds: list[Red] = []
    began, why = (-inf if turns and turns[0].old == "ALARM" else None), ""
    for turn in turns:
        if turn.new == "ALARM" and began is None:
            began, why = turn.at, turn.reason
        elif turn.new != "ALARM" and began is not None:
            reds.append(Red(since=began, until=turn.at, reason=why))
            began = None
    if alarm["StateValue"] == "ALARM":
        reds.append(Red(since=_turned(alarm) if began is None else began, reason=why))
    elif began is not None and (turned := _turned(alarm)) >= began - 1:  # times may be in whole seconds
        reds.append(Red(since=began, until=max(began, turned), reason=why))
    # Else it turned red after it had been described: the next look sees how it stands.
    return reds


def _turned(alarm: Any) -> float:
    # StateUpdatedTimestamp moves on AWS when only the reason changes.
    turned: datetime = alarm.get("StateTransitionedTimestamp") or alarm["StateUpdatedTimestamp"]
    return turned.timestamp()


def _described(describe: Call, names: Iterable[str]) -> dict[str, Any]:
    asked = sorted(names)
    return {
        alarm["AlarmName"]: alarm
        for first in range(0, len(asked), NAMES_A_CALL)
        for page in describe(
            AlarmNames=asked[first : first + NAMES_A_CALL], AlarmTypes=BOTH_KINDS, MaxRecords=NAMES_A_CALL
        )
        for alarm in (*page["MetricAlarms"], *page["CompositeAlarms"])
    }


def _history(history: Call, name: str, since: float) -> Iterator[Turn]:
    pages = history(
        AlarmName=name,
        AlarmTypes=BOTH_KINDS,
        HistoryItemType="StateUpdate",
        StartDate=datetime.fromtimestamp(int(since), UTC),
        EndDate=datetime.now(UTC) + timedelta(days=1),
        ScanBy="TimestampAscending",
        MaxRecords=100,
    )
    for item in (item for page in pages for item in page["AlarmHistoryItems"]):
        try:
            told = json.loads(item["HistoryData"])
            old, new = told["oldState"], told["newState"]
            reason = new.get("stateReason", "")
            yield Turn(item["Timestamp"].timestamp(), old["stateValue"], new["stateValue"], reason)
        except (ValueError, LookupError, TypeError) as error:
            raise ResponseParserError(f"the history of the alarm {name} can't be read: {error!r}") from error


def _below(describe: Call, alarms: Sequence[Any]) -> dict[str, Any]:
    """All alarms that these composites are made of, level by level."""
    known: dict[str, Any] = {}
    for _ in range(DEEPEST):
        names = {child for alarm in alarms for child in _children(alarm)} - set(known)
        level = _described(describe, names)
        known |= level
        alarms = list(level.values())
    return known


def _children(alarm: Any) -> list[str]:
    rule = alarm.get("AlarmRule", "")
    return CHILD.findall(rule) if OF_ALARMS.fullmatch(rule) else []


def _leaves(alarm: Any, known: Mapping[str, Any], depth: int = 0) -> list[Any] | None:
    """The metric alarms below; None when a rule says more than that one of them is red, or goes too deep to tell."""
    if "AlarmRule" not in alarm:
        return [alarm]
    if not _children(alarm) or depth >= DEEPEST:
        return None
    below = [_leaves(known[child], known, depth + 1) for child in _children(alarm) if child in known]
    return None if None in below else [leaf for leaves in below if leaves for leaf in leaves]


def _part(alarm: Any, state: str) -> AlarmPart:
    return AlarmPart(
        state=state,
        namespace=alarm.get("Namespace", ""),
        metric=alarm.get("MetricName", ""),
        dimensions={d["Name"]: d["Value"] for d in alarm.get("Dimensions", ())},
        statistic=alarm.get("ExtendedStatistic") or alarm.get("Statistic", ""),
        over=alarm.get("Threshold", 0.0),
        window=alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1),
    )
