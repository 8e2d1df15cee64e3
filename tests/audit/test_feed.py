"""A SIEM pulls a tenant's events by a cursor: each once, in the order in which they were logged."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.handlers.common import aws, fitting
from audit.handlers.log import append, keys, sequencer
from audit.handlers.log.append import Line
from audit.handlers.log.store import Stage
from audit.handlers.log.tree import WIDTH
from audit.handlers.query import api, feed
from tests.audit.logs import Logs
from tests.audit.support import Answer

NOW = datetime.now(UTC)


class Siem:
    """Somebody with a tenant's key, who remembers a cursor."""

    def __init__(self, logs: Logs, tenant: str = "t1") -> None:
        self.logs, self.key = logs, logs.cell.key("acme", tenant)

    def ask(self, key: str | None = None, **query: Any) -> Answer:
        """GET /v1/feed."""
        return self.logs.cell.call(api.handler, "GET /v1/feed", key or self.key, **query)

    def pull(self, limit: int = 100, **query: Any) -> Iterator[str]:
        """The ids of all events that there are, from a cursor or the beginning."""
        while True:
            body = self.ask(limit=limit, **query).body
            yield from (one["eventId"] for one in body["events"])
            self.cursor = body["cursor"]
            if body["behind"] == 0:
                return
            query = {"cursor": self.cursor}


@pytest.fixture
def siem(logs: Logs) -> Siem:
    """Of acme's tenant t1."""
    logs.cell.key("acme")
    return Siem(logs)


def logged(logs: Logs, tenant: str = "t1") -> list[str]:
    """The ids of a log's events in its order."""
    size = logs.checkpoint(tenant).size
    return [entry.decode().split(" ")[0] for entry in logs.entries(size, tenant)]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_chain_of_cursors_holds_each_event_once_in_the_order_of_the_log(
    logs: Logs, siem: Siem, limit: int
) -> None:
    """Whatever an answer holds; what is logged meanwhile comes behind it, and there is a cursor at the end too."""
    logs.tell(logs.archive(12), logs.archive(9), logs.archive(2, tenant="t2"))
    assert list(siem.pull(limit)) == logged(logs)
    assert list(siem.pull(cursor=siem.cursor)) == []
    logs.tell(logs.archive(3))
    assert list(siem.pull(limit, cursor=siem.cursor)) == logged(logs)[21:]


def test_a_feed_goes_over_the_bounds_of_bundles(logs: Logs, siem: Siem) -> None:
    """Full ones and one that is not, from any position."""
    logs.tell(logs.archive(WIDTH + 60))
    assert list(siem.pull(150)) == logged(logs)


def test_an_event_is_told_as_it_is_archived(logs: Logs, siem: Siem) -> None:
    """With its digits, and however late it came: its own time does not count."""
    line = b'{"eventId": "' + b"1" * 32 + b'", "tenantId": "t1", "eventTime": "2001-01-01T00:00:00Z", '
    line += b'"eventName": "old", "eventDetails": {"n": 0.40000000000000002}}'
    logs.put("acme/t1/2025/03/01/x.jsonl", line)
    logs.tell("acme/t1/2025/03/01/x.jsonl")
    (event,) = siem.ask().body["events"]
    assert (event["eventName"], event["eventTime"]) == ("old", "2001-01-01T00:00:00Z")


def test_a_cursor_is_good_for_any_key_of_the_tenant_and_for_no_other_tenant(logs: Logs, siem: Siem) -> None:
    """So a key may be rotated; one that was cut, made up, or answered to another is refused."""
    logs.tell(logs.archive(3), logs.archive(3, tenant="t2"))
    cursor = siem.ask(limit=2).body["cursor"]
    assert siem.ask(key=logs.cell.key("acme", "t1"), cursor=cursor).body["behind"] == 0
    made_up = base64.urlsafe_b64encode(b"12345678" + b"2").decode()
    for key, wrong in ((siem.key, cursor[:-3]), (siem.key, made_up), (Siem(logs, "t2").key, cursor)):
        answer = siem.ask(key=key, cursor=wrong)
        assert (answer.status, answer.code) == (400, "invalid_cursor")


def test_a_cursor_of_another_cell_s_log_is_refused(
    logs: Logs, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a tenant that has moved: its positions there are other events' here, and none is passed over unseen."""
    logs.tell(logs.archive(3))
    cursor = siem.ask(limit=2).body["cursor"]
    monkeypatch.setenv("LOG_BUCKET", logs.cell.bucket("exports"))
    answer = siem.ask(cursor=cursor)
    assert (answer.status, answer.code) == (400, "invalid_cursor")


def test_a_feed_begins_at_a_time_of_the_last_thirty_days(
    logs: Logs, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of logging, to the millisecond; without one thirty days ago. A cursor goes on from any time."""
    hours = [-31 * 24, -24, -2, -2, -1]
    monkeypatch.setattr(feed, "clock", NOW.timestamp)
    for number, hour in enumerate(hours):
        key = logs.archive(1)
        line = Line.of(logs.content("archive", key).strip(), key)
        at = NOW + timedelta(hours=hour)
        append.append(logs.store(), [line], keys.signer_of("acme", "t1"), lambda at=at: at)  # type: ignore[misc]
        assert logs.checkpoint().size == number + 1
    ids = logged(logs)
    assert list(siem.pull()) == ids[1:]
    for hour, expected in ((-25, 1), (-24, 1), (-23, 2), (-2, 2), (-1, 4), (0, 5)):
        since = (NOW + timedelta(hours=hour)).isoformat()
        assert list(siem.pull(from_=since)) == ids[expected:]
    answer = siem.ask(from_=(NOW - timedelta(days=31)).isoformat())
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert "expected 30 days ago at most" in answer.message


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"limit": 1001}, "limit: found 1001, expected 1 to 1000"),
        ({"limit": 0}, "limit: found 0, expected 1 to 1000"),
        ({"from_": "yesterday"}, "from: 'yesterday' is not an RFC 3339 time"),
        ({"to": "2025-01-01T00:00:00Z"}, "to: unknown; there are from, limit, cursor"),
        ({"cursor": "x", "from_": "2025-01-01T00:00:00Z"}, "from: a cursor goes on where it is"),
        ({"cursor": ["x", "y"]}, "cursor: given twice"),
    ],
)
def test_what_a_feed_can_t_be_asked_is_refused(siem: Siem, query: dict[str, Any], said: str) -> None:
    """400 says what would be right."""
    answer = siem.ask(**query)
    assert (answer.status, answer.code) == (400, "invalid_parameter")
    assert said in answer.message


def test_a_feed_of_nothing_begins_all_the_same(logs: Logs, siem: Siem) -> None:
    """Its cursor is good for what comes later."""
    body = siem.ask().body
    assert (body["events"], body["behind"]) == ([], 0)
    logs.tell(logs.archive(2))
    assert list(siem.pull(cursor=body["cursor"])) == logged(logs)


def test_what_was_erased_is_passed_over(logs: Logs, siem: Siem) -> None:
    """A line that its object has no longer, or an object that is gone; the others come."""
    first, second, third = (logs.archive(2) for _ in range(3))
    for key in (first, second, third):
        logs.tell(key)
    ids = logged(logs)
    logs.put(first, logs.content("archive", first).splitlines()[1])
    for version in aws.s3().list_object_versions(Bucket=logs.cell.bucket("archive"), Prefix=third)[
        "Versions"
    ]:
        aws.s3().delete_object(
            Bucket=logs.cell.bucket("archive"),
            Key=third,
            VersionId=version["VersionId"],
            BypassGovernanceRetention=True,
        )
    assert list(siem.pull(1)) == ids[1:4]


def test_an_answer_holds_what_a_function_may_answer(
    logs: Logs, siem: Siem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest comes next."""
    logs.tell(logs.archive(10))
    monkeypatch.setattr(fitting, "ANSWER_BYTES", 500)
    assert len(siem.ask().body["events"]) < 10
    assert list(siem.pull()) == logged(logs)


def test_no_other_tenant_s_events_are_fed(logs: Logs, siem: Siem) -> None:
    """Nor does an application's key open the feed."""
    logs.tell(logs.archive(3), logs.archive(2, tenant="t2"))
    assert list(Siem(logs, "t2").pull()) == logged(logs, "t2")
    assert siem.ask(key=logs.cell.key("acme")).status == 403
    assert siem.ask(key=logs.cell.key("acme", "t1", scopes=["export"])).code == "missing_scope"


def test_a_log_of_a_release_before_tells_where_its_events_are_when_it_is_told_again(
    logs: Logs, siem: Siem
) -> None:
    """It kept no objects; `cellwave audit relog` has all told again, and no event gets a second entry."""
    key = logs.archive(3)
    lines = [Line.of(line) for line in logs.content("archive", key).splitlines()]
    append.append(logs.store(), lines, keys.signer_of("acme", "t1"), sequencer._now)
    answer = siem.ask()
    assert (answer.status, answer.code) == (409, "not_ready")
    logs.tell(key)
    assert list(siem.pull()) == logged(logs)
    assert logs.checkpoint().size == 3


def test_a_stage_that_a_release_before_left_is_finished(logs: Logs) -> None:
    """It knows no objects."""
    stage = append.grown(
        logs.store(),
        logs.store().state(),
        [Line("1" * 32, b"{}", "acme/t1/a.jsonl")],
        "2025-01-01T00:00:00.000Z",
    )
    assert Stage.load(stage.dump()) == stage
    before = stage.dump().replace(b', "objects": ["acme/t1/a.jsonl"]', b"")
    assert before != stage.dump()
    assert [place.object for place in Stage.load(before).places] == [""]
