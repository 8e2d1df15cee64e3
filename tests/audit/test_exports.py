"""A tenant has a file of its events made, and fetches it; a worker may be killed at any instant."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest

from audit.handlers.common import aws
from audit.handlers.query import api, export_worker, exports, limits, reading
from audit.handlers.query.search import Search
from tests.audit.support import Answer, AuditCell, event

NOON = 1_740_000_000.0
COUNT = 40


class Context:
    """What Lambda says of an invocation."""

    def __init__(self, seconds: float = 120) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> float:
        """As Lambda's."""
        return self.seconds * 1000


class Exports:
    """A cell's exports, as its tenant t1 and their worker see them."""

    def __init__(self, cell: AuditCell, key: str) -> None:
        self.cell, self.key = cell, key
        self.now = NOON

    def create(self, key: str | None = None, **body: Any) -> Answer:
        """POST /v1/exports."""
        return self.cell.call(api.handler, "POST /v1/exports", key or self.key, body=body)

    def get(self, identity: str, key: str | None = None) -> Answer:
        """GET /v1/exports/{id}."""
        return self.cell.call(api.handler, f"GET /v1/exports/{identity}", key or self.key)

    def listed(self, key: str | None = None) -> list[Any]:
        """GET /v1/exports."""
        found: list[Any] = self.cell.call(api.handler, "GET /v1/exports", key or self.key).body["exports"]
        return found

    def messages(self) -> list[Any]:
        """What waits in the queue, taken out of it, as Lambda has it."""
        sqs, url = aws.sqs(), aws.setting("EXPORTS_QUEUE")
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]).get(
            "Messages", []
        )
        for message in found:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [
            {
                "body": message["Body"],
                "messageAttributes": {
                    name: {"stringValue": value["StringValue"]}
                    for name, value in message.get("MessageAttributes", {}).items()
                },
            }
            for message in found
        ]

    def deliver(self, message: Any, received: int = 1, seconds: float = 120) -> None:
        """Have the worker called with a message."""
        record = {**message, "attributes": {"ApproximateReceiveCount": str(received)}}
        export_worker.handler({"Records": [record]}, Context(seconds))

    def work(self) -> None:
        """Have the worker called until nothing waits."""
        while messages := self.messages():
            for message in messages:
                self.deliver(message)

    def made(self, **body: Any) -> bytes:
        """The file of an export."""
        identity = self.create(**body).body["id"]
        self.work()
        answer = self.get(identity).body
        assert answer["state"] == "ready"
        return httpx.get(answer["url"]).raise_for_status().content


@pytest.fixture
def made(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exports]:
    """Forty events of t1, two of others', pages of five items, and a clock that stands at noon."""
    found = Exports(cell, cell.key("acme", "t1"))
    cell.key("acme", "t2")
    cell.key("rival", "t1")
    cell.land(
        "acme/a.jsonl",
        *(event("t1", n, eventName=f"e{n % 2}", eventDetails={"n": n}) for n in range(COUNT)),
        event("t2"),
    )
    cell.land("rival/a.jsonl", event("t1"))
    cell.process()
    monkeypatch.setenv("TRIES", "5")
    monkeypatch.setattr(reading, "_FILTERED_PAGE", 5)
    monkeypatch.setattr(Search, "__init__", _in_pages_of(4))
    for module in (exports, export_worker, limits):
        monkeypatch.setattr(module, "clock", lambda: found.now)
    yield found
    limits.forget()


def _in_pages_of(items: int) -> Callable[..., None]:
    """Search's own, whose pages are smaller where an export's would be as large as they may."""
    whole = Search.__init__

    def make(self: Any, *values: Any, **named: Any) -> None:
        if named.get("limit") == 999:
            named["limit"] = items
        whole(self, *values, **named)

    return make


def numbers(content: bytes) -> list[int]:
    """Which events a file of JSON lines holds, in its order."""
    return [json.loads(line)["eventDetails"]["n"] for line in content.splitlines()]


NEWEST_FIRST = list(reversed(range(COUNT)))


def test_an_export_holds_all_of_the_tenant_s_events_and_nobody_else_s(made: Exports) -> None:
    """As JSON lines, newest first, as they were accepted and with their ids."""
    content = made.made(format="jsonl")
    assert numbers(content) == NEWEST_FIRST
    read = made.cell.search(made.key, limit=100).body["events"]
    assert [json.loads(line) for line in content.splitlines()] == read


def test_an_export_is_told_of_from_begin_to_end(made: Exports) -> None:
    """Pending with its rows so far, then ready with a URL; its list has it without."""
    begun = made.create(format="csv", eventName="e1")
    assert (begun.status, begun.headers["location"]) == (202, f"/v1/exports/{begun.body['id']}")
    told = made.get(begun.body["id"]).body
    assert (told["state"], told["rows"], told["filters"]) == ("pending", 0, {"eventName": "e1"})
    assert "url" not in told
    made.work()
    ready = made.get(begun.body["id"]).body
    assert (ready["state"], ready["rows"], ready["created"]) == ("ready", COUNT // 2, "2025-02-19T21:20:00Z")
    assert ready["urlExpires"] == "2025-02-19T21:30:00Z"
    (listed,) = made.listed()
    assert listed == {name: value for name, value in ready.items() if not name.startswith("url")}


def test_an_export_is_narrowed_as_a_question_is(made: Exports) -> None:
    """By the same parameters."""
    for asked, expected in (
        ({"eventName": "e1", "to": "2025-03-01T10:00:06Z"}, [5, 3, 1]),
        ({"text": "39"}, [39]),
        ({"from": "2025-03-01T10:00:38Z"}, [39, 38]),
        ({"tenantId": "t1", "from": "2025-03-01T10:00:39Z"}, [39]),
        ({"actorId": "nobody"}, []),
    ):
        assert numbers(made.made(format="jsonl", **asked)) == expected


def test_every_format_holds_the_same(made: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file comes in many parts, and one packed holds many members."""
    monkeypatch.setattr(export_worker, "PART_BYTES", 100)
    content = {form: made.made(format=form) for form in ("csv", "csv.gz", "jsonl", "jsonl.gz")}
    for form in ("csv", "jsonl"):
        assert gzip.decompress(content[f"{form}.gz"]) == content[form]
    assert numbers(content["jsonl"]) == NEWEST_FIRST
    table = csv.DictReader(io.StringIO(content["csv"].decode(), newline=""))
    assert [json.loads(row["eventDetails"])["n"] for row in table] == NEWEST_FIRST


def test_no_events_make_a_whole_file_too(made: Exports) -> None:
    """CSV has its header all the same."""
    assert made.made(format="jsonl", actorId="nobody") == b""
    assert made.made(format="csv", actorId="nobody").decode().startswith("eventId,eventTime,tenantId,")
    assert gzip.decompress(made.made(format="csv.gz", actorId="nobody")).count(b"\r\n") == 1


class Killed(BaseException):
    """As a process ends that is killed: nothing of it runs any more."""


def _die(*_: object) -> None:
    raise Killed


CALLS = ("upload_part", "create_multipart_upload", "complete_multipart_upload", "put_object", "update_item", "query",
         "send_message")  # fmt: skip


class Reaper:
    """Kills the worker at its n-th call of AWS, right before or right after it took effect."""

    def __init__(self, patch: pytest.MonkeyPatch, after: bool) -> None:
        self.left = -1
        self.after = after
        for maker in ("s3", "sqs", "table"):
            patch.setattr(aws, maker, self._wrapped(getattr(aws, maker)))
        for module in (export_worker, reading):
            patch.setattr(module, "table", aws.table)

    def _wrapped(self, make: Callable[..., Any]) -> Callable[..., Any]:
        reaper = self

        class Client:
            def __init__(self, client: Any) -> None:
                self.client = client

            def __getattr__(self, name: str) -> Any:
                whole = getattr(self.client, name)
                return (lambda **asked: reaper.call(whole, asked)) if name in CALLS else whole

        return lambda *values: Client(make(*values))

    def call(self, whole: Callable[..., Any], asked: dict[str, Any]) -> Any:
        """Call, and die."""
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        answer = whole(**asked)
        if self.left == 0:
            raise Killed
        return answer


def through_kills(made: Exports, form: str, part: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The file of an export whose workers are killed at each of their calls in turn, and its successors' again."""
    monkeypatch.setattr(export_worker, "PART_BYTES", part)
    monkeypatch.setattr(export_worker, "SAVE_EVERY", 2)
    identity = made.create(format=form).body["id"]
    (message,) = made.messages()
    with monkeypatch.context() as patch:
        reaper = Reaper(patch, after)
        for number in range(1, 200):
            # Each gets a little further than the one before, so that in the end one gets through.
            reaper.left = number
            made.now += 500  # the lease of the one before has ended
            try:
                made.deliver(message)
            except Killed:
                continue
            break
        else:
            pytest.fail("no worker got through")
    assert number > 3
    ready = made.get(identity).body
    assert (ready["state"], ready["rows"]) == ("ready", COUNT)
    return httpx.get(ready["url"]).content


BEFORE_AND_AFTER = pytest.mark.parametrize("after", [False, True], ids=["before a call", "after a call"])


@BEFORE_AND_AFTER
@pytest.mark.parametrize("part", [100, 3000, 10**9], ids=["many parts", "few parts", "one piece"])
def test_a_worker_may_be_killed_at_any_instant(
    made: Exports, part: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its calls in turn, and again at its successors': the file is whole, and holds each event once."""
    content = through_kills(made, "jsonl.gz", part, after, monkeypatch)
    assert numbers(gzip.decompress(content)) == NEWEST_FIRST


def test_a_worker_whose_time_ends_hands_on(made: Exports) -> None:
    """It saves what it has, however little that is, says how far it is, and another goes on by a new message."""
    identity = made.create(format="csv").body["id"]
    rows, workers = [], 0
    while messages := made.messages():
        (message,) = messages
        made.deliver(message, seconds=1)
        workers += 1
        rows.append(made.get(identity).body["rows"])
    assert rows[:3] == [5, 10, 15]
    assert workers == COUNT // 5 + 1  # the last finds that there is no more
    content = httpx.get(made.get(identity).body["url"]).text
    assert len(content.splitlines()) == COUNT + 1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long each message was to wait that a worker sent; none does."""
    whole, found = aws.sqs, list[int]()

    class Undelayed:
        def __getattr__(self, name: str) -> Any:
            return getattr(whole(), name)

        def send_message(self, *, DelaySeconds: int | None = None, **asked: Any) -> Any:
            found.extend([] if DelaySeconds is None else [DelaySeconds])
            return whole().send_message(**asked)

    monkeypatch.setattr(aws, "sqs", Undelayed)
    return found


def test_two_workers_are_never_at_one_export(made: Exports, waits: list[int]) -> None:
    """The second's message comes anew when the first's time has passed, however often; one too many does nothing."""
    identity = made.create(format="jsonl").body["id"]
    (message,) = made.messages()
    export_worker._claim(export_worker.Message.of(message), made.now + 120)
    for _ in range(10):
        made.deliver(message)
        (message,) = made.messages()
    assert waits == [122] * 10
    made.now += 121
    made.deliver(message)
    assert waits[10:] == [1]
    (message,) = made.messages()
    made.now += 1
    made.deliver(message)
    assert made.get(identity).body["rows"] == COUNT
    made.deliver(message)
    assert made.messages() == []
    assert made.get(identity).body["state"] == "ready"


def test_a_worker_that_is_there_is_no_try_and_makes_none_forgotten(
    made: Exports, waits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five tries that fail, each finds the lease of the one before; the fifth says so."""
    identity = made.create(format="jsonl").body["id"]
    monkeypatch.setattr(export_worker, "event_of", lambda _: 1 / 0)
    for number in range(1, 6):
        (message,) = made.messages()
        with pytest.raises(ZeroDivisionError):
            made.deliver(message)
        assert made.get(identity).body["state"] == ("error" if number == 5 else "pending")
        made.deliver(message, received=2)
        made.now += 300


def test_a_message_that_is_older_than_its_worker_s_is_done_with(made: Exports, waits: list[int]) -> None:
    """Delivered twice, or kept by a worker that was killed: it neither goes round nor makes an export fail."""
    made.create(format="jsonl")
    (first,) = made.messages()
    made.deliver(first, seconds=1)
    (second,) = made.messages()
    export_worker._claim(export_worker.Message.of(second), made.now + 120)
    made.deliver(first, received=5)
    assert made.messages() == []


def test_a_worker_that_is_killed_before_it_hands_on_has_a_successor(
    made: Exports, waits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own message comes again, has the one sent that it could not send, and the file becomes whole."""
    identity = made.create(format="jsonl").body["id"]
    (first,) = made.messages()
    with monkeypatch.context() as patch:
        patch.setattr(export_worker.Message, "send", _die)
        with pytest.raises(Killed):
            made.deliver(first, seconds=1)
    assert made.messages() == []
    made.deliver(first, received=2)
    made.work()
    ready = made.get(identity).body
    assert (ready["state"], ready["rows"]) == ("ready", COUNT)
    assert set(waits) == {0}


def test_an_export_that_can_not_be_made_says_so(made: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the last of its message's deliveries; every one is an error of the function's."""
    identity = made.create(format="jsonl").body["id"]
    (message,) = made.messages()
    monkeypatch.setattr(export_worker, "event_of", lambda _: 1 / 0)
    for received, state in ((1, "pending"), (5, "error")):
        made.now += 300
        with pytest.raises(ZeroDivisionError):
            made.deliver(message, received)
        assert made.get(identity).body["state"] == state
    assert "ask for it again" in made.get(identity).body["reason"]


def test_what_was_never_worked_on_is_an_error_after_a_day(made: Exports) -> None:
    """And gone, as every export, after three."""
    identity = made.create(format="jsonl").body["id"]
    made.now += 86401
    assert made.get(identity).body["state"] == "error"
    made.now += 2 * 86400
    assert made.get(identity).status == 404
    assert made.listed() == []


def test_a_queue_that_takes_nothing_leaves_no_pending_export(
    made: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500, and it may be asked for again."""
    monkeypatch.setenv("EXPORTS_QUEUE", aws.setting("EXPORTS_QUEUE") + "-none")
    assert made.create(format="jsonl").status == 500
    assert [one["state"] for one in made.listed()] == ["error"]


def test_a_url_dies_after_ten_minutes_and_is_made_anew(made: Exports) -> None:
    """It is of the tenant's own object, and saved under a name that says what it is."""
    identity = made.create(format="jsonl.gz").body["id"]
    made.work()
    url = urlsplit(made.get(identity).body["url"])
    asked = parse_qs(url.query)
    assert asked["X-Amz-Expires"] == ["600"]
    assert asked["response-content-disposition"] == [f'attachment; filename="events-{identity}.jsonl.gz"']
    assert url.path.endswith(f"/acme/t1/{identity}.jsonl.gz")


def test_an_export_is_its_tenant_s_alone(made: Exports) -> None:
    """For any other key there is none, nor for an id that was guessed or changed."""
    identity = made.create(format="jsonl").body["id"]
    made.work()
    neighbour, rival = made.cell.key("acme", "t2"), made.cell.key("rival", "t1")
    for key in (neighbour, rival):
        assert (made.get(identity, key).status, made.listed(key)) == (404, [])
    changed = identity[:-1] + ("0" if identity[-1] != "0" else "1")
    for wrong in (
        changed,
        identity.upper(),
        f"{identity}%20",
        "x",
        "*",
        identity[:16],
        f"acme#t1#{identity}",
    ):
        answer = made.get(wrong)
        assert (answer.status, answer.code) == (404, "not_found")
    application = made.cell.key("acme")
    assert made.get(identity, application).status == 403


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "format: found nothing, expected one of csv, csv.gz, jsonl, jsonl.gz"),
    ({"format": "orc"}, "format: found orc"),
    ({"format": ["csv"]}, "format: found"),
    ({"format": "csv", "limit": "5"}, "limit: unknown; there are format, tenantId, eventName"),
    ({"format": "csv", "from": 5}, "from: found 5, expected a text"),
    ({"format": "csv", "from": "yesterday"}, "from: 'yesterday' is not an RFC 3339 time"),
    ({"format": "csv", "text": ""}, "text: is empty"),
    ({"format": "csv", "sourceIp": "1.2.3"}, "sourceIp: found '1.2.3', expected an IP address"),
    (
        {"format": "csv", "eventName": "a\ud800"},
        "eventName: found half of a surrogate pair, expected text that",
    ),
    ({"format": "csv", "text": "\udc00"}, "text: found half of a surrogate pair"),
    ({"format": "csv", "from": "\ud800"}, "from: "),
    ({"format": "csv", "\ud800": "x"}, "unknown; there are format, "),
]


def test_a_wrong_export_is_refused(made: Exports) -> None:
    """400 says what would be right, and nothing is begun."""
    for body, named in WRONG:
        answer = made.create(**body)
        assert answer.status == 400
        assert named in answer.message
    assert made.listed() == []


def test_a_body_that_is_no_object_is_refused(made: Exports) -> None:
    """As is what is no JSON."""
    for body, code in (("[]", "invalid_body"), ("{", "invalid_json"), ("", "invalid_json")):
        answer = made.cell.call(api.handler, "POST /v1/exports", made.key, body=body)
        assert (answer.status, answer.code) == (400, code)
    assert made.create(format="csv", tenantId="t2").code == "foreign_tenant"


def test_a_tenant_has_so_many_exports_made_at_once(made: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so many kept; another's are no matter."""
    for _ in range(exports.MOST_PENDING):
        assert made.create(format="jsonl").status == 202
    answer = made.create(format="jsonl")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "too_many_exports", "60")
    assert made.create(made.cell.key("acme", "t2"), format="jsonl").status == 202
    made.work()
    assert made.create(format="jsonl").status == 202
    monkeypatch.setattr(exports, "MOST_KEPT", 4)
    assert made.create(format="jsonl").status == 429


def test_exports_are_listed_and_counted_however_many_pages_hold_them(
    made: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB ends a page at 1 MB: here it does at an item."""

    class Paged:
        """The table, whose pages hold one item."""

        def __getattr__(self, name: str) -> Any:
            return getattr(aws.table("test-exports"), name)

        def query(self, **asked: Any) -> Any:
            return aws.table("test-exports").query(**asked, Limit=1)

    monkeypatch.setattr(exports, "table", lambda _: Paged())
    begun = []
    for _ in range(exports.MOST_PENDING):
        made.now += 1
        begun.append(made.create(format="jsonl").body["id"])
    assert [one["id"] for one in made.listed()] == list(reversed(begun))
    assert made.create(format="jsonl").code == "too_many_exports"


def test_other_methods_are_told_what_there_is(made: Exports) -> None:
    """405 with `Allow`, of both paths."""
    for path, allowed in (("/v1/exports", "POST, GET"), ("/v1/exports/x", "GET")):
        answer = made.cell.call(api.handler, f"DELETE {path}", made.key)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert made.cell.call(api.handler, "GET /v1/exports/").status == 404


def test_nothing_of_the_index_is_written(made: Exports) -> None:
    """An export reads; what was accepted is as it was."""
    table = boto3.resource("dynamodb").Table("test-index")
    before = table.scan()["Items"]
    made.made(format="csv")
    assert table.scan()["Items"] == before
