"""A tenant's events are sent to where it says: at least once, in the order of its log, whatever becomes of whom."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from audit import cli
from audit.cells import InCell
from audit.handlers.common import aws
from audit.handlers.log import append, keys, sequencer
from audit.handlers.log.append import Line
from audit.handlers.query import limits
from audit.handlers.query import streams as api
from audit.handlers.stream import guard, rows, sender, wire
from audit.handlers.stream.health import DAY, Health
from audit.handlers.stream.rows import Stream
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project
from tests.audit.logs import Logs
from tests.audit.receivers import Got, certificate, receiving
from tests.audit.streaming import URL, Context, Streams, create_streams
from tests.audit.support import Audit
from tests.audit.test_ocsf import problems


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate."""
    return certificate(tmp_path_factory.mktemp("receiver"))


@pytest.fixture
def made(logs: Logs, pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    """A tenant with a key for streams, a receiver, and a clock."""
    create_streams(monkeypatch, logs.cell.account)
    rows.forget()
    logs.cell.key("acme")
    with receiving(pem) as receiver:
        found = Streams(logs, receiver, time.time(), logs.cell.key("acme", "t1", scopes=["read", "stream"]))
        for module in (sender, api, limits):
            monkeypatch.setattr(module, "clock", lambda: found.now)
        monkeypatch.setattr(sender, "luck", lambda: 1.0)
        monkeypatch.setattr(sender, "network", receiver.network(seconds=5))
        yield found
    rows.forget()
    limits.forget()


def test_a_stream_sends_what_is_logged_from_then_on(made: Streams) -> None:
    """After a test event that says what it is; each event as it was archived, in the order of the log."""
    made.log(3)
    identity = made.create()
    assert made.get(identity)["state"] == "testing"
    made.log(4)
    made.turn()
    assert made.get(identity)["state"] == "active"
    (test,) = json.loads(made.receiver.got[0].body)
    assert (test["eventName"], test["tenantId"], test["eventDetails"]["test"]) == (
        "audit.stream.test",
        "t1",
        True,
    )
    assert made.arrived() == made.logged()[3:]
    made.log(2)
    made.turn()
    assert made.arrived() == made.logged()[3:]
    assert made.twice() == set()


def test_a_stream_is_tested_at_once(made: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for its minute, when it is made or changed; and by its minute, where nobody can say so."""
    identity = made.create()
    made.work()
    assert made.get(identity)["state"] == "active"
    made.ask(f"PATCH /v1/streams/{identity}", {"state": "active"})
    made.work()
    assert len(made.receiver.got) == 2
    monkeypatch.setenv("STREAMS_QUEUE", f"{aws.setting('STREAMS_QUEUE')}-gone")
    assert made.get(made.create())["state"] == "testing"


def test_a_stream_sends_ocsf_where_its_destination_wants_that(made: Streams) -> None:
    """Valid by the published schema, and attested by the log, in whose order they come; the test event too."""
    identity = made.create(kind="https", url=URL, format="ocsf")
    assert made.get(identity)["destination"]["format"] == "ocsf"
    made.log(3)
    made.turn()
    test, *sent = [one for got in made.receiver.got for one in json.loads(got.body)]
    assert test["api"]["operation"] == "audit.stream.test"
    assert [one["metadata"]["uid"] for one in sent] == made.logged()[:3]
    assert [one["attestation_list"][0]["uid"] for one in sent] == ["0", "1", "2"]
    assert [problems(one) for one in (test, *sent)] == [[]] * 4
    assert wire._second(json.dumps(sent[0]).encode()) == sent[0]["time"] / 1000


def test_a_batch_is_bounded_by_count_and_by_size(made: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least one event goes, however large."""
    made.create()
    made.log(25)
    monkeypatch.setattr(sender, "COUNT", 10)
    made.turn()
    sizes = [len(json.loads(got.body)) for got in made.receiver.got]
    assert sizes == [1, 10, 10, 5]
    monkeypatch.setattr(sender, "BYTES", 1)
    made.log(2)
    made.turn()
    assert [len(json.loads(got.body)) for got in made.receiver.got[4:]] == [1, 1]
    assert made.arrived() == made.logged()


def test_what_is_too_large_for_a_destination_is_halved(made: Streams) -> None:
    """For 413, until it is taken."""
    made.create()
    made.log(9)
    made.receiver.answer = lambda got: (413 if len(json.loads(got.body)) > 2 else 200, {}, b"")
    made.turn()
    assert made.arrived() == made.logged()
    assert made.twice() != set()


def test_a_stream_whose_test_does_not_arrive_is_unverified(made: Streams) -> None:
    """It says why, nothing else is sent, and it is tested again when somebody says so."""
    made.receiver.answer = lambda _: (500, {}, b"not\ntoday")
    identity = made.create()
    made.log(3)
    made.turn()
    made.turn(60)
    shown = made.get(identity)
    assert (shown["state"], shown["error"]["message"]) == ("unverified", "answered 500: not today")
    assert len(made.receiver.got) == 1
    made.receiver.answer = lambda _: (200, {}, b"")
    assert made.ask(f"PATCH /v1/streams/{identity}", {"state": "active"}).body["state"] == "testing"
    made.turn()
    assert made.arrived() == made.logged()


def test_an_address_that_is_not_public_is_never_reached(
    made: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rule that is deployed: the stream is unverified, and says so."""
    assert guard.Network() == guard.Network(guard.resolve, guard.is_public)
    monkeypatch.setattr(sender, "network", guard.Network())
    identity = made.create(kind="https", url=f"https://127.0.0.1:{made.receiver.port}/")
    made.turn()
    shown = made.get(identity)
    assert (shown["state"], shown["error"]["message"]) == (
        "unverified",
        "127.0.0.1 is at 127.0.0.1, which is no public address",
    )
    assert made.receiver.got == []


def test_a_destination_that_comes_back_gets_all_of_it(made: Streams) -> None:
    """It failed, hung up, and took half: what it did not say yes to comes again, later each time, and in order."""
    identity = made.create()
    made.turn()
    made.log(6)
    for status in (500, 503, 429):
        made.receiver.answer = lambda _, status=status: (status, {}, b"")  # type: ignore[misc]
        made.turn(10)
        assert made.row(identity).position == 0
    made.receiver.wild = lambda handler: handler.rfile.read(10)
    made.turn(10)

    def cut(handler: Any) -> None:
        handler.rfile.read(10)
        handler.wfile.write(b"HTTP/1.1 200 O")

    made.receiver.wild = cut
    made.turn(10)
    shown = made.get(identity)
    assert (shown["state"], shown["lag"]["entries"], made.row(identity).health.failures) == ("failing", 6, 5)
    assert shown["error"]["message"].startswith("receiver.example: no answer")
    assert shown["error"]["nextTry"] > shown["error"]["since"]
    made.receiver.wild, made.receiver.answer = None, lambda _: (200, {}, b"")
    made.turn(60)
    assert made.arrived() == made.logged()
    shown = made.get(identity)
    assert (shown["state"], shown["lag"]) == ("active", {"entries": 0, "seconds": 0})
    assert "error" not in shown


def test_what_a_release_before_logged_waits_until_it_is_told_again(made: Streams) -> None:
    """It did not say where events are archived: that is its stream's failure and no other's, and mended by relog."""
    identity = made.create()
    made.turn()
    key = made.logs.archive(3)
    lines = [Line.of(line) for line in made.logs.content("archive", key).splitlines()]
    append.append(made.logs.store(), lines, keys.signer_of("acme", "t1"), sequencer._now)
    made.turn()
    shown = made.get(identity)
    assert (shown["state"], shown["lag"]["entries"]) == ("failing", 3)
    assert shown["error"]["message"] == "nothing is sent: entry 0 does not say where its event is archived"
    made.logs.tell(key)
    made.turn()
    assert made.arrived() == made.logged()


def test_who_hangs_is_left(made: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, and its stream alone is behind."""
    identity = made.create()
    made.turn()
    made.log(1)
    monkeypatch.setattr(sender, "network", made.receiver.network(seconds=0.2))
    made.receiver.wild = lambda handler: handler.connection.recv(1 << 20) and handler.connection.recv(1)
    made.turn()
    assert made.get(identity)["error"]["message"] == "receiver.example: no answer within 0.2 s"


def test_retry_after_is_obeyed(made: Streams) -> None:
    """Nothing is sent before, though it would be time."""
    identity = made.create()
    made.turn()
    made.log(1)
    made.receiver.answer = lambda _: (429, {"Retry-After": "900"}, b"")
    made.turn()
    assert made.row(identity).health.due == made.now + 900
    before = len(made.receiver.got)
    made.turn(14)
    assert len(made.receiver.got) == before
    made.turn(2)
    assert len(made.receiver.got) == before + 1


def test_a_dead_destination_is_reported_and_delays_nobody(made: Streams) -> None:
    """Another tenant's stream goes on; the dead one is tried no more until somebody says so, and loses nothing."""
    dead = made.create()
    made.turn()
    other = made.logs.cell.key("acme", "t2", scopes=["stream"])
    well = made.ask("POST /v1/streams", {"destination": {"kind": "https", "url": f"{URL}2"}}, other).body[
        "id"
    ]
    made.receiver.answer = lambda got: (410 if got.path == "/hook" else 200, {}, b"gone")
    made.log(2)
    made.log(2, tenant="t2")
    for _ in range(9):
        made.turn(60)
    assert made.get(dead)["state"] == "dead"
    assert made.get(dead)["error"]["message"] == "answered 410: gone"
    assert made.row(well, "t2").position == 2
    tried = len(made.receiver.got)
    made.turn(60)
    made.turn(DAY / 60)
    assert len(made.receiver.got) == tried
    told = [one for one in made.told() if one["eventName"] == "audit.stream.dead"]
    assert [one["eventDetails"] for one in told] == [
        {"stream": dead, "error": "answered 410: gone", "failures": made.row(dead).health.failures}
    ]
    made.receiver.answer = lambda _: (200, {}, b"")
    made.ask(f"PATCH /v1/streams/{dead}", {"state": "active"})
    made.turn()
    assert set(made.arrived()) == {*made.logged(), *made.logged("t2")}


def test_a_paused_stream_goes_on_where_it_was(made: Streams) -> None:
    """After seven days and more: what it has not sent lies in the log."""
    identity = made.create()
    made.turn()
    made.log(2)
    made.turn()
    shown = made.ask(f"PATCH /v1/streams/{identity}", {"state": "paused"}).body
    assert (shown["state"], "pausedSince" in shown) == ("paused", True)
    made.log(3)
    made.now += 8 * DAY
    made.turn()
    assert made.arrived() == made.logged()[:2]
    assert made.get(identity)["lag"]["entries"] == 3
    assert made.get(identity)["lag"]["seconds"] >= 8 * DAY
    made.ask(f"PATCH /v1/streams/{identity}", {"state": "active"})
    made.turn()
    assert made.arrived() == made.logged()
    assert made.twice() == set()


class Killed(BaseException):
    """As a process ends that is killed."""


def kill(patch: pytest.MonkeyPatch, at: int, when: str) -> None:
    """Let the worker die at its n-th effect: before it, or after."""
    seen = itertools.count(1)

    def dying(whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            turn = next(seen) == at
            if turn and when == "before":
                raise Killed
            answer = whole(*arguments, **named)
            if turn:
                raise Killed
            return answer

        return call

    patch.setattr(sender, "deliver", dying(wire.deliver))
    for name in ("claim", "save", "unseal"):
        patch.setattr(rows, name, dying(getattr(rows, name)))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_may_be_killed_at_any_instant(
    made: Streams, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event arrives at least once and in order, and the position never passes what was taken."""
    monkeypatch.setattr(sender, "COUNT", 4)
    identity = made.create()
    for at in itertools.count(1):
        made.log(9)
        died = False
        with monkeypatch.context() as patch:
            kill(patch, at, when)
            try:
                made.turn()
            except Killed:
                died = True
        assert made.row(identity).position <= len(made.arrived())
        if not died:
            break
        # The queue gives the message to another, who finds the lease, until that has ended.
        made.turn(3)
    assert at > 6
    assert made.arrived() == made.logged()
    assert made.row(identity).position == len(made.logged())


def test_what_a_later_release_knew_of_a_stream_is_looked_over(made: Streams) -> None:
    """After a way back it goes on."""
    identity = made.create()
    made.turn()
    row = made.row(identity)
    later = {**json.loads(row.row["health"]), "luck": 7}
    assert Stream.of({**row.row, "health": json.dumps(later), "more": 1}) == row


def test_two_workers_are_never_at_one_stream(made: Streams) -> None:
    """A message that comes twice finds the other there."""
    identity = made.create()
    made.turn()
    made.log(1)
    place = made.row(identity).place
    assert rows.claim(place, made.now, made.now + 120) is not None
    sender.handler({"Records": [{"body": json.dumps(place)}]}, Context())
    assert made.arrived() == []
    made.turn(3)
    assert made.arrived() == made.logged()


def test_what_a_person_changes_meanwhile_stays(made: Streams) -> None:
    """A pause while a batch is under way: what arrived has arrived, and nothing more is sent."""
    identity = made.create()
    made.turn()
    made.log(2)

    def pause(_: Got) -> tuple[int, dict[str, str], bytes]:
        made.ask(f"PATCH /v1/streams/{identity}", {"state": "paused"})
        return 200, {}, b""

    made.receiver.answer = pause
    made.turn()
    made.log(1)
    made.turn()
    assert made.get(identity)["state"] == "paused"
    assert made.row(identity).position == 2
    assert made.arrived() == made.logged()[:2]


def test_a_stream_that_is_deleted_meanwhile_stays_deleted(made: Streams) -> None:
    """No worker brings it back."""
    identity = made.create()

    def delete(_: Got) -> tuple[int, dict[str, str], bytes]:
        made.ask(f"DELETE /v1/streams/{identity}")
        return 200, {}, b""

    made.receiver.answer = delete
    made.turn()
    assert made.ask(f"GET /v1/streams/{identity}").status == 404
    assert made.ask("GET /v1/streams").body["streams"] == []


def test_streams_are_their_tenant_s_alone(made: Streams) -> None:
    """Another sees none, changes none, and a key without the scope opens nothing: by itself no key has it."""
    identity = made.create()
    other = made.logs.cell.key("acme", "t2", scopes=["stream"])
    for method, body in (("GET", None), ("PATCH", {"state": "paused"}), ("DELETE", None)):
        assert made.ask(f"{method} /v1/streams/{identity}", body, other).status == 404
    assert made.ask("GET /v1/streams", key=other).body["streams"] == []
    answer = made.ask("GET /v1/streams", key=made.logs.cell.key("acme", "t1"))
    assert (answer.status, answer.code) == (403, "missing_scope")
    assert made.ask(f"GET /v1/streams/{rows.EXTERNAL}").status == 404


def test_a_secret_is_kept_encrypted_and_never_answered(
    made: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the table nor in an answer, a log, or an error in which the destination says it."""
    token = "a-token-of-splunk"
    made.receiver.answer = lambda got: (403, {}, got.headers["authorization"].encode())
    identity = made.create(kind="splunk", url="https://splunk.example", token=token)
    made.turn()
    assert made.get(identity)["error"]["message"] == "answered 403: Splunk (secret)"
    listed = json.dumps(made.ask("GET /v1/streams").body)
    table = boto3.client("dynamodb").scan(TableName="test-streams")["Items"]
    for text in (listed, repr(table), caplog.text):
        assert token not in text
    row = made.row(identity)
    assert rows.unseal(row) == token
    other = Stream.of({**row.row, "sk": "st-other"})
    with pytest.raises(Exception, match=r"InvalidCiphertext|ncryption"):
        rows.unseal(other)


def test_what_is_done_with_a_stream_is_told_in_the_tenant_s_log(made: Streams) -> None:
    """Before it is done, by whom, and where to; without a secret."""
    identity = made.create(kind="datadog", site="datadoghq.eu", apiKey="0123456789abcdef" * 2)
    made.now += 1
    made.ask(f"PATCH /v1/streams/{identity}", {"state": "paused"})
    made.now += 1
    made.ask(f"DELETE /v1/streams/{identity}")
    told = made.told()
    assert [event["eventName"] for event in told] == [
        f"audit.stream.{w}" for w in ("created", "changed", "deleted")
    ]
    assert {event["actor"]["type"] for event in told} == {"tenant-key"}
    assert told[0]["eventDetails"]["destination"] == {"kind": "datadog", "site": "datadoghq.eu"}
    assert [event["eventDetails"]["state"] for event in told[:2]] == ["testing", "paused"]


def test_a_secret_of_https_is_shown_once(made: Streams) -> None:
    """When it is made: with the stream, or with another destination of it."""
    created = made.ask("POST /v1/streams", {"destination": {"kind": "https", "url": URL}}).body
    assert created["secret"].startswith("whsec_")
    assert len(base64.b64decode(created["secret"].removeprefix("whsec_"))) == 32
    assert "secret" not in made.get(created["id"])
    assert "secret" not in made.ask(f"PATCH /v1/streams/{created['id']}", {"state": "active"}).body
    said = {"destination": {"kind": "https", "url": f"{URL}2"}}
    changed = made.ask(f"PATCH /v1/streams/{created['id']}", said).body
    assert changed["secret"] not in ("", created["secret"])
    assert (changed["destination"]["url"], changed["state"]) == (f"{URL}2", "testing")


def test_an_external_id_is_a_tenant_s_own_and_stays(made: Streams) -> None:
    """Made by the service, not by whoever asks."""
    mine = made.ask("GET /v1/streams").body["s3"]
    assert made.ask("GET /v1/streams").body["s3"] == mine
    other = made.ask("GET /v1/streams", key=made.logs.cell.key("acme", "t2", scopes=["stream"])).body["s3"]
    assert other["externalId"] != mine["externalId"]
    assert mine["principal"].endswith(":role/test-streams")


def test_who_runs_a_cell_sees_how_its_streams_are(
    made: Streams, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in trouble first, with their error, and without URLs."""
    place = InCell(
        parse_fleet(find_project(Path(__file__).parent).config_files()).cell("eu-west-1"), "", boto3.Session()
    )
    monkeypatch.setattr(InCell, "name", lambda _, kind: f"test-{kind}")
    monkeypatch.setattr(InCell, "bucket", lambda _, kind: made.logs.cell.bucket(kind))
    monkeypatch.setattr(cli, "in_cell", lambda *_: place)
    made.receiver.answer = lambda got: (200 if got.path == "/hook" else 500, {}, b"")
    well, ill = made.create(), made.create(kind="https", url=f"{URL}2")
    made.turn()
    made.log(3)
    code, out, _ = audit("streams", "eu-west-1", "--json")
    found = json.loads(out)
    assert code == 0
    assert [(one["stream"], one["state"], one["behind"]["entries"]) for one in found] == [
        (ill, "unverified", 3),
        (well, "active", 3),
    ]
    assert (found[0]["tenant"], found[0]["error"]) == ("acme/t1", "answered 500")
    assert URL not in out
    assert audit("streams", "eu-west-1")[1].index(ill) < audit("streams", "eu-west-1")[1].index(well)


def test_a_tenant_has_ten_streams_at_most(made: Streams) -> None:
    """The eleventh is a conflict."""
    for _ in range(10):
        made.create()
    answer = made.ask("POST /v1/streams", {"destination": {"kind": "https", "url": URL}})
    assert (answer.status, answer.code) == (409, "too_many_streams")


WRONG: list[tuple[Any, str]] = [
    (
        {"destination": {"kind": "ftp"}},
        'destination.kind: found "ftp", expected one of s3, splunk, datadog, https',
    ),
    ({"destination": "a"}, 'destination: found "a", expected an object'),
    ({"destination": {"kind": "https", "url": "http://a.example"}}, "an https:// URL"),
    ({"destination": {"kind": "https", "url": "https://u:p@a.example"}}, "a URL without user, password"),
    ({"destination": {"kind": "https", "url": URL, "token": "x"}}, "destination.token: found"),
    ({"destination": {"kind": "splunk", "url": URL}}, "destination.token: found nothing, expected the token"),
    ({"destination": {"kind": "splunk", "url": URL, "token": "a b"}}, "destination.token: found (not shown)"),
    (
        {"destination": {"kind": "splunk", "url": URL, "Token": "s3cret"}},
        "destination.Token: found (not shown)",
    ),
    ({"destination": {"kind": "datadog", "site": "evil.example", "apiKey": "0" * 32}}, "datadoghq.eu"),
    (
        {"destination": {"kind": "datadog", "site": "datadoghq.eu", "apiKey": "X"}},
        "an API key: 32 of 0-9 a-f",
    ),
    (
        {"destination": {"kind": "s3", "bucket": "B", "region": "eu-west-1", "roleArn": "x"}},
        "destination.roleArn",
    ),
    ({"destination": {"kind": "s3", "bucket": "bb", "region": "x/../y", "roleArn": "x"}}, "an AWS region"),
    ({"destination": {"kind": "https", "url": 5}}, "destination.url: found 5"),
]


@pytest.mark.parametrize(("body", "said"), WRONG)
def test_what_is_wrong_with_a_destination_is_said(made: Streams, body: Any, said: str) -> None:
    """Field, what was found (no secret) and what would be right; nothing is kept."""
    answer = made.ask("POST /v1/streams", body)
    assert (answer.status, answer.code) == (400, "invalid_stream")
    assert said in answer.message
    assert answer.body["error"]["details"][0].keys() == {"field", "found", "expected"}
    assert made.ask("GET /v1/streams").body["streams"] == []


@pytest.mark.parametrize("body", [{}, [], {"destination": {}, "more": 1}])
def test_what_is_no_stream_at_all_is_refused(made: Streams, body: Any) -> None:
    """400."""
    assert made.ask("POST /v1/streams", body).code == "invalid_body"


def test_what_a_stream_is_can_t_be_said_otherwise(made: Streams) -> None:
    """A state is active or paused."""
    identity = made.create()
    answer = made.ask(f"PATCH /v1/streams/{identity}", {"state": "dead"})
    assert (answer.status, answer.code) == (400, "invalid_stream")
    assert made.row(identity).health == Health()
