"""When alarms were red, from what CloudWatch tells of them: what it costs to know, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

from cellwave.health.alarms import Alarms, Turn, stretches
from cellwave.health.model import AlarmReading

NOW = 1_000_000.0


class CloudWatch:
    """Alarms and their histories, as a client answers; counts what it is asked."""

    def __init__(self) -> None:
        self.alarms: dict[str, dict[str, Any]] = {}
        self.items: list[tuple[str, float, str, str]] = []
        self.described: list[list[str]] = []
        self.histories: list[str] = []

    def make(self, name: str, rule: str = "", metric: str = "m") -> None:
        """A new alarm; a composite when there is a rule."""
        self.alarms[name] = {"AlarmName": name, "StateValue": "INSUFFICIENT_DATA"}
        self.alarms[name] |= {"AlarmRule": rule} if rule else {"Namespace": "N", "MetricName": metric}
        self.alarms[name]["StateTransitionedTimestamp"] = datetime.fromtimestamp(NOW - 900, UTC)

    def turn(self, name: str, at: float, state: str) -> None:
        """It turns."""
        alarm = self.alarms[name]
        self.items.append((name, at, alarm["StateValue"], state))
        alarm |= {"StateValue": state, "StateTransitionedTimestamp": datetime.fromtimestamp(at, UTC)}

    def describe(self, *, AlarmNames: list[str], **_: Any) -> Iterator[Any]:
        """DescribeAlarms."""
        self.described.append(AlarmNames)
        found = [self.alarms[name] for name in AlarmNames if name in self.alarms]
        yield {
            "MetricAlarms": [alarm for alarm in found if "AlarmRule" not in alarm],
            "CompositeAlarms": [alarm for alarm in found if "AlarmRule" in alarm],
        }

    def history(self, *, AlarmName: str, StartDate: datetime, **_: Any) -> Iterator[Any]:
        """DescribeAlarmHistory, an item a page."""
        self.histories.append(AlarmName)
        for name, at, old, new in self.items:
            if name == AlarmName and at >= StartDate.timestamp():
                data = {"oldState": {"stateValue": old}, "newState": {"stateValue": new, "stateReason": "r"}}
                item = {"Timestamp": datetime.fromtimestamp(at, UTC), "HistoryData": json.dumps(data)}
                yield {"AlarmHistoryItems": [item]}


def look(alarms: Alarms, world: CloudWatch, name: str = "a", since: float = NOW - 100) -> AlarmReading:
    """What one look says of it."""
    return alarms.read(world.describe, world.history, {name: since})[name]


def test_an_alarm_that_has_not_turned_since_costs_no_more_than_its_description() -> None:
    """Its history is not asked for, at any look."""
    world, alarms = CloudWatch(), Alarms()
    world.make("a")
    world.turn("a", NOW - 200, "OK")
    assert [look(alarms, world).state for _ in range(3)] == ["OK"] * 3
    assert (len(world.described), world.histories) == (3, [])


def test_a_history_is_read_once_a_turn() -> None:
    """A look that finds the alarm as it was reads it no more."""
    world, alarms = CloudWatch(), Alarms()
    world.make("a")
    for at, state in ((90, "ALARM"), (60, "OK")):
        world.turn("a", NOW - at, state)
    assert [len(look(alarms, world).earlier) for _ in range(3)] == [1, 1, 1]
    assert world.histories == ["a"]
    world.turn("a", NOW - 30, "ALARM")
    world.turn("a", NOW - 20, "OK")
    (first, second) = look(alarms, world).earlier
    assert (first.since - NOW, first.until - NOW) == (-90, -60)
    assert (second.since - NOW, second.until - NOW) == (-30, -20)
    assert world.histories == ["a", "a"]


def test_a_turn_that_its_history_does_not_tell_yet_is_looked_for_again() -> None:
    """The description may know of it earlier."""
    world, alarms = CloudWatch(), Alarms()
    world.make("a")
    for at, state in ((90, "ALARM"), (60, "OK")):
        world.turn("a", NOW - at, state)
    told, world.items = world.items, []
    assert look(alarms, world).earlier == ()
    world.items = told
    assert len(look(alarms, world).earlier) == 1


def test_what_was_red_before_counts_only_when_it_turns_red_again() -> None:
    """The release before was to blame for that."""
    world, alarms = CloudWatch(), Alarms()
    world.make("a")
    world.turn("a", NOW - 200, "ALARM")
    assert (look(alarms, world).state, look(alarms, world).since) == ("ALARM", NOW - 200)
    world.turn("a", NOW - 50, "OK")
    assert look(alarms, world).earlier == ()
    world.turn("a", NOW - 40, "ALARM")
    world.turn("a", NOW - 30, "OK")
    assert [red.since for red in look(alarms, world).earlier] == [NOW - 40]


def test_a_composite_that_was_red_names_the_alarms_that_were_red_at_that_time() -> None:
    """However they stand now, and not one that was red at another time."""
    world, alarms = CloudWatch(), Alarms()
    for child in ("slow", "failing", "other"):
        world.make(child, metric=child)
    world.make("inner", rule="ALARM(slow) OR ALARM(other)")
    world.make("a", rule='ALARM("inner") OR ALARM("failing")')
    for at, name, state in (
        (95, "other", "ALARM"),
        (90, "other", "OK"),
        (80, "slow", "ALARM"),
        (80, "inner", "ALARM"),
        (80, "a", "ALARM"),
        (60, "slow", "OK"),
        (60, "inner", "OK"),
        (60, "a", "OK"),
        (50, "other", "ALARM"),
    ):
        world.turn(name, NOW - at, state)
    (red,) = look(alarms, world).earlier
    assert [(part.metric, part.state) for part in red.parts] == [("slow", "ALARM")]


def test_a_composite_with_another_rule_below_it_names_none() -> None:
    """What made it red nobody knows, so that nothing excuses it."""
    world, alarms = CloudWatch(), Alarms()
    for child in ("slow", "failing"):
        world.make(child, metric=child)
    world.make("inner", rule="NOT ALARM(slow)")
    world.make("a", rule="ALARM(inner) OR ALARM(failing)")
    for name in ("inner", "a"):
        world.turn(name, NOW - 50, "ALARM")
    assert (look(alarms, world).state, look(alarms, world).parts) == ("ALARM", ())


def test_a_history_that_can_not_be_read_is_not_taken_for_none() -> None:
    """A red may be in it; as an error of AWS's it makes the reading unreadable."""
    world, alarms = CloudWatch(), Alarms()
    world.make("a")
    world.turn("a", NOW - 50, "OK")

    def garbled(**_: Any) -> Iterator[Any]:
        yield {"AlarmHistoryItems": [{"Timestamp": datetime.fromtimestamp(NOW, UTC), "HistoryData": "{}"}]}

    with pytest.raises(ResponseParserError, match="history of the alarm a can't be read"):
        alarms.read(world.describe, garbled, {"a": NOW - 100})


def test_alarms_are_described_a_hundred_at_a_time() -> None:
    """That is the most a call takes."""
    world, names = CloudWatch(), {f"a{number}": NOW for number in range(250)}
    for name in names:
        world.make(name)
    readings = Alarms().read(world.describe, world.history, names | {"nowhere": NOW})
    assert [len(asked) for asked in world.described] == [100, 100, 51]
    assert readings["nowhere"].state == "MISSING"
    assert len(readings) == 251


@pytest.mark.parametrize(
    ("went_ok", "reds"),
    [
        (140.0, [(100.0, 140.0)]),  # described when that was over, which its history does not tell yet
        (99.5, [(100.0, 100.0)]),  # in whole seconds
        (60.0, []),  # described before it turned red: the next look sees more
    ],
)
def test_a_red_lasts_no_less_than_no_time(went_ok: float, reds: list[tuple[float, float]]) -> None:
    """How an alarm stands and its turns are asked one after the other."""
    alarm = {"StateValue": "OK", "StateTransitionedTimestamp": datetime.fromtimestamp(went_ok, UTC)}
    found = stretches(alarm, [Turn(100.0, "OK", "ALARM", "slow")])
    assert [(red.since, red.until) for red in found] == reds
