"""An event is kept for as long as its tenant's class said when it was stored, or longer; then it is read no more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from audit import retain, verify
from audit.handlers.common import aws, retention
from audit.handlers.common.aws import s3, table
from audit.handlers.common.directory import read_directory
from audit.handlers.common.retention import (
    CLASSES,
    DAY,
    Terms,
    class_of,
    end_of,
    lengthened,
    longest,
    readable,
)
from audit.handlers.ingest import archive
from audit.handlers.log import append, keys, reading, sequencer, verifier
from audit.handlers.log.append import Line
from audit.handlers.log.store import Store
from audit.handlers.query import api, export_worker, exports, proofs, search
from audit.handlers.query.viewer import details
from audit.repair import reindex
from audit.retain import Keeper, Kept, wanted_of
from audit.stacks.days import CLASS_DAYS, SPARE_DAYS
from tests.audit.logs import ORIGIN, Logs
from tests.audit.support import AuditCell, event
from tests.audit.test_internal import FLEET, Here
from tests.audit.viewing import Seen, get, make_link

NOW = 1_800_000_000
SECONDS = st.integers(NOW - 10 * 366 * DAY, NOW + 10 * 366 * DAY)
CLASS = st.sampled_from(list(CLASSES))
HOLD = st.none() | SECONDS


@given(CLASS, SECONDS, SECONDS)
def test_an_event_is_readable_until_its_end_and_never_after(kept: str, stored: int, now: int) -> None:
    """Without a hold; to the second."""
    end = end_of(kept, stored)
    assert readable(end, now) == (now < stored + CLASSES[kept] * DAY)


@given(CLASS, SECONDS, SECONDS, SECONDS, SECONDS)
def test_a_hold_keeps_what_had_not_ended_and_brings_nothing_back(
    kept: str, stored: int, held: int, one: int, other: int
) -> None:
    """Whatever was readable when it began is so for as long as it is on; what was not never is."""
    end, begins, later = end_of(kept, stored), held, held + abs(one - other)
    assert readable(end, later, begins) == readable(end, begins)
    assert not readable(end, later) or readable(end, later, begins)


@given(CLASS, SECONDS, st.none() | CLASS, SECONDS, HOLD)
def test_a_new_class_makes_nothing_less_readable(
    kept: str, stored: int, new: str | None, now: int, held: int | None
) -> None:
    """A longer one lengthens by itself, a shorter one changes nothing; what has no end gets none."""
    end = end_of(kept, stored)
    later = lengthened(end, stored, new)
    assert end is not None
    assert later is not None
    assert later >= end
    assert later == (end if longest(kept, new) == kept else end_of(new, stored))
    assert not readable(end, now, held) or readable(later, now, held)
    assert lengthened(None, stored, new) is None


@given(CLASS, SECONDS, st.integers(-3600, 3600))
def test_an_end_tells_its_class(kept: str, stored: int, skew: int) -> None:
    """By clocks that are an hour apart; and its own class lengthens nothing by that hour."""
    end = stored + skew + CLASSES[kept] * DAY
    assert class_of(end, stored) == kept
    assert lengthened(end, stored, kept) == end


KEPT = st.builds(
    lambda stored, kept, more, held, tags: (
        stored,
        Kept(end_of(kept, stored), (end_of(kept, stored) or stored) + more * (kept is None), held, tags),
    ),
    SECONDS,
    st.none() | CLASS,
    st.integers(0, 400 * DAY),
    st.booleans(),
    st.just({"kept": "none", "held": "no"}),
)
TERMS = st.builds(Terms, st.none() | CLASS, HOLD)


@given(KEPT, TERMS, SECONDS)
def test_what_is_stored_is_brought_to_its_terms_once(found: tuple[int, Kept], terms: Terms, now: int) -> None:
    """A second time changes nothing; no lock and no end is ever shortened, and what has ended is left to its end."""
    stored, kept = found
    wanted = wanted_of(kept, stored, terms, now)
    if wanted is None:
        assert not readable(kept.end, now, terms.held)
        assert not kept.held
        return
    assert wanted_of(wanted, stored, terms, now) in (wanted, None if not wanted.held else wanted)
    assert wanted.locked >= kept.locked
    assert (wanted.end is None) == (kept.end is None)
    assert (wanted.end or 0) >= (kept.end or 0)
    if readable(kept.end, now, terms.held):
        assert wanted.held == (terms.held is not None)
        assert wanted.end is None or wanted.locked >= wanted.end
    else:
        assert (wanted.held, wanted.end) == (False, kept.end)


def test_the_program_deletes_what_a_class_says_and_not_before() -> None:
    """What is in two places, since neither can see the other, is the same."""
    assert CLASS_DAYS == CLASSES
    assert SPARE_DAYS == retention.SPARE_DAYS


class Clock:
    """The time that each part of a cell goes by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        for module in (archive, search, proofs, reading, exports, export_worker, verify):
            monkeypatch.setattr(module, "clock", lambda: self.now)

    def pass_days(self, days: float) -> None:
        """Let so many days go by."""
        self.now += days * DAY


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that can be turned."""
    return Clock(monkeypatch)


def terms(cell: AuditCell, **told: object) -> None:
    """Let the cell's directory tell that of acme/t1."""
    cell.applications["acme"]["terms"] = {"t1": told}
    cell.key("other")


def store(cell: AuditCell, second: int = 0) -> str:
    """Have an event of acme/t1 archived; its id."""
    name = f"acme/{second}.jsonl"
    cell.land(name, event(second=second))
    before = {one["eventId"] for lines in cell.archived().values() for one in lines}
    cell.process(name)
    (new,) = {one["eventId"] for lines in cell.archived().values() for one in lines} - before
    return str(new)


def read(cell: AuditCell, key: str) -> list[str]:
    """The ids of the events that the tenant reads."""
    return [one["eventId"] for one in cell.search(key).body["events"]]


def head(cell: AuditCell) -> Any:
    """What S3 says of the only archived object."""
    (key,) = cell.archived()
    return s3().head_object(Bucket=cell.bucket("archive"), Key=key)


def test_an_object_is_locked_until_its_class_says(cell: AuditCell, days: Clock) -> None:
    """By the lock that nobody shortens, and is tagged for the rule that deletes it then."""
    cell.key("acme", "t1")
    terms(cell, **{"class": "3y"})
    store(cell)
    found = head(cell)
    until = found["ObjectLockRetainUntilDate"].timestamp()
    assert (found["ObjectLockMode"], until) == ("COMPLIANCE", int(days.now) + 1096 * DAY)
    (key,) = cell.archived()
    place: Any = {"Bucket": cell.bucket("archive"), "Key": key}
    tags = {tag["Key"]: tag["Value"] for tag in s3().get_object_tagging(**place)["TagSet"]}
    assert tags == {"kept": "3y", "held": "no"}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3().delete_object(**place, VersionId=found["VersionId"])
    (item,) = table("test-index").scan()["Items"]
    assert (item["until"], item["forget"]) == (until, until + SPARE_DAYS * DAY)


def test_without_a_class_nothing_ends(cell: AuditCell, days: Clock) -> None:
    """As it was before there were any; a class of later changes nothing of it."""
    key = cell.key("acme", "t1")
    kept = store(cell)
    terms(cell, **{"class": "90d"})
    days.pass_days(10_000)
    assert read(cell, key) == [kept]


def everywhere(logs: Logs, key: str) -> dict[str, list[str]]:
    """The ids that a tenant gets, by whichever way it asks."""
    cell = logs.cell
    feed = cell.call(api.handler, "GET /v1/feed", key).body["events"]
    ids = [*logs.events()]
    proven = [one for one in ids if cell.call(api.handler, "GET /v1/proof", key, eventId=one).status == 200]
    begun = cell.call(api.handler, "POST /v1/exports", key, body={"format": "jsonl"}).body
    place = {"pk": "acme#t1", "sk": begun["id"]}
    export_worker.work(export_worker.Message(place), export_worker.clock() + 100)
    (body,) = [logs.content("exports", name) for name in logs.objects("exports") if begun["id"] in name]
    return {
        "search": read(cell, key),
        "feed": [one["eventId"] for one in feed],
        "proof": proven,
        "export": [json.loads(line)["eventId"] for line in body.splitlines()],
    }


def by_every_way(*ids: str) -> dict[str, list[str]]:
    """These and no others, by whichever way."""
    return {way: [*ids] for way in ("search", "feed", "proof", "export")}


def test_what_has_ended_is_read_by_no_way(logs: Logs, days: Clock) -> None:
    """At its very second, while it still lies in archive and index; what was stored later is read on."""
    cell = logs.cell
    key = cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    first = store(cell, 1)
    days.pass_days(1)
    second = store(cell, 2)
    logs.tell(*cell.archived())
    assert {name: sorted(ids) for name, ids in everywhere(logs, key).items()} == by_every_way(
        *sorted([first, second])
    )
    days.pass_days(89)
    assert everywhere(logs, key) == by_every_way(second)
    days.pass_days(1)
    assert everywhere(logs, key) == by_every_way()
    assert len(cell.archived()) == 2


def test_an_end_that_a_log_does_not_know_comes_when_it_is_told_again(logs: Logs, days: Clock) -> None:
    """A release of before, that runs beside this one or came back, logs what this one has archived."""
    cell = logs.cell
    key = cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    store(cell)
    (name,) = cell.archived()
    lines = [Line.of(line) for line in logs.content("archive", name).splitlines()]
    append.append(logs.store(), lines, keys.signer_of("acme", "t1"), sequencer._now)
    logs.tell(name)
    days.pass_days(91)
    assert everywhere(logs, key) == by_every_way()


def test_a_growth_that_is_finished_late_shortens_nothing(
    logs: Logs, days: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was staged with an end that has been lengthened meanwhile; the message that told of it comes again."""
    cell = logs.cell
    key = cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    one = store(cell)
    (name,) = cell.archived()

    def dies(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "unstage", dies)
        with pytest.raises(RuntimeError):
            logs.tell(name)
    terms(cell, **{"class": "1y"})
    assert retained(cell, days) == [True]
    logs.tell(name)
    days.pass_days(91)
    assert everywhere(logs, key) == by_every_way(one)


def test_what_has_ended_is_on_no_page(cell: AuditCell, days: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a list nor of its own, though somebody kept the address."""
    monkeypatch.setattr(details, "clock", lambda: days.now)
    cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    kept = store(cell)
    url = make_link(cell, cell.key("acme", scopes=["view"]))
    (item,) = table("test-index").scan()["Items"]
    own = f"{url}/{str(item['sk']).replace('#', '~')}"
    assert kept in Seen.of(get(cell, own)).text
    days.pass_days(90)
    assert get(cell, own).status == 404
    assert kept not in Seen.of(get(cell, url)).text


def test_an_index_made_anew_knows_the_ends(cell: AuditCell, days: Clock) -> None:
    """From the archive's locks alone."""
    cell.key("acme", "t1")
    terms(cell, **{"class": "1y"})
    store(cell)
    before = table("test-index").scan()["Items"]
    for item in before:
        table("test-index").delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
    assert list(reindex(s3(), cell.bucket("archive"), table("test-index"))) == [1]
    assert table("test-index").scan()["Items"] == before


def test_what_comes_again_keeps_the_end_that_it_has(cell: AuditCell, days: Clock) -> None:
    """A class that is changed between two deliveries is none of what is stored."""
    cell.key("acme", "t1")
    terms(cell, **{"class": "3y"})
    store(cell)
    (item,) = table("test-index").scan()["Items"]
    table("test-index").delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
    terms(cell, **{"class": "90d"})
    days.pass_days(2)
    cell.process("acme/0.jsonl")
    assert table("test-index").scan()["Items"] == [item]


def test_a_shorter_class_is_of_what_comes_later(cell: AuditCell, days: Clock) -> None:
    """What is stored stays as long as it was promised, also when the job looks at it."""
    key = cell.key("acme", "t1")
    terms(cell, **{"class": "1y"})
    long = store(cell, 1)
    terms(cell, **{"class": "90d"})
    store(cell, 2)
    assert retained(cell, days) == [False, False]
    days.pass_days(100)
    assert read(cell, key) == [long]


def retained(cell: AuditCell, days: Clock, client: Any = None) -> list[bool]:
    """Bring what is stored to the terms of the cell's directory; of each object whether there was anything to do."""
    keeper = Keeper(client or s3(), cell.bucket("archive"), table("test-index"), Store.here, "COMPLIANCE")
    return list(keeper.retain(read_directory, days.now, "acme/"))


@pytest.mark.parametrize("kept", ["90d", None])
def test_a_longer_class_lengthens_what_is_stored(logs: Logs, days: Clock, kept: str | None) -> None:
    """Its lock, its index and its place in the log; what has no end is locked for longer, and has none."""
    cell = logs.cell
    key = cell.key("acme", "t1")
    terms(cell, **({"class": kept} if kept else {}))
    one = store(cell)
    logs.tell(*cell.archived())
    terms(cell, **{"class": "7y"})
    assert retained(cell, days) == [True]
    assert retained(cell, days) == [False]
    until = head(cell)["ObjectLockRetainUntilDate"].timestamp()
    assert abs(until - days.now - 2557 * DAY) < 120
    days.pass_days(2556)
    assert everywhere(logs, key) == by_every_way(one)
    days.pass_days(2)
    assert read(cell, key) == ([] if kept else [one])


def test_what_has_ended_is_not_brought_back(cell: AuditCell, days: Clock) -> None:
    """A class that comes too late changes nothing of it."""
    key = cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    store(cell)
    days.pass_days(91)
    terms(cell, **{"class": "7y"})
    assert retained(cell, days) == [False]
    assert read(cell, key) == []


def test_while_a_hold_is_on_nothing_ends(logs: Logs, days: Clock) -> None:
    """At once by whatever is read, and by S3's own hold once the job was there; then it ends as it would have."""
    cell = logs.cell
    key = cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    gone = store(cell, 1)
    days.pass_days(50)
    kept = store(cell, 2)
    logs.tell(*cell.archived())
    days.pass_days(45)
    terms(cell, **{"class": "90d", "held": int(days.now)})
    days.pass_days(100)
    assert everywhere(logs, key) == by_every_way(kept)
    assert sorted(retained(cell, days)) == [False, True]
    assert everywhere(logs, key) == by_every_way(kept)
    held = {
        line["eventId"]: s3().head_object(Bucket=cell.bucket("archive"), Key=name)
        for name, (line,) in cell.archived().items()
    }
    assert held[kept]["ObjectLockLegalHoldStatus"] == "ON"
    assert "ObjectLockLegalHoldStatus" not in held[gone]
    items = {item["eventId"]: item for item in table("test-index").scan()["Items"]}
    assert ["forget" in items[one] for one in (gone, kept)] == [True, False]
    terms(cell, **{"class": "90d"})
    assert everywhere(logs, key) == by_every_way()
    assert sorted(retained(cell, days)) == [False, True]
    assert retained(cell, days) == [False, False]
    items = {item["eventId"]: item for item in table("test-index").scan()["Items"]}
    assert all("forget" in item for item in items.values())


def test_a_job_that_was_begun_before_a_hold_lifts_none(
    logs: Logs, days: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes by what the cell knows when it comes to an object, and not by what was known when it began."""
    cell = logs.cell
    cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    for second in (1, 2):
        store(cell, second)
    with monkeypatch.context() as patch:
        patch.setattr(retain, "pages", lambda *_: ([key] for key in sorted(cell.archived())))
        keeper = Keeper(s3(), cell.bucket("archive"), table("test-index"), Store.here, "COMPLIANCE")
        long = keeper.retain(read_directory, days.now)
        assert next(long) is False
        terms(cell, **{"class": "90d", "held": int(days.now)})
        assert retained(cell, days) == [True, True]
        assert list(long) == [False]
    assert retained(cell, days) == [False, False]


def test_what_is_stored_while_a_hold_is_on_is_held(cell: AuditCell, days: Clock) -> None:
    """From its first moment."""
    cell.key("acme", "t1")
    terms(cell, **{"class": "90d", "held": int(days.now)})
    store(cell)
    assert head(cell)["ObjectLockLegalHoldStatus"] == "ON"
    (item,) = table("test-index").scan()["Items"]
    assert "forget" not in item
    assert retained(cell, days) == [False]


def test_what_is_gone_when_its_time_is_over_is_no_finding(
    logs: Logs, days: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor to the verifier of one file. What is gone before is one, whatever the log's table says of its end; so is what
    had not ended when a hold was put on."""
    cell = logs.cell
    cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    gone = store(cell)
    (key,) = cell.archived()
    logs.tell(key)
    alias: Any = boto3.client("kms").create_alias
    alias(AliasName="alias/test-log", TargetKeyId=aws.setting("LOG_KEY"))
    at = Here(FLEET.cell("eu-west-1"), ORIGIN, boto3.Session(), cell.account)
    s3().delete_object(Bucket=cell.bucket("archive"), Key=key)  # a marker, as a lifecycle rule puts one
    place = logs.store().places([gone])[gone]
    logs.store().keep([replace(place, end=int(days.now) - 1)])
    assert verify.read_log(at, "acme", "t1").findings([]) == [f"entry 0: event {gone} is gone"]
    logs.store().keep([place])
    days.pass_days(89)
    assert len(verify.read_log(at, "acme", "t1").findings([])) == 1
    terms(cell, **{"class": "90d", "held": int(days.now)})
    days.pass_days(2)
    assert len(verify.read_log(at, "acme", "t1").findings([])) == 1
    terms(cell, **{"class": "90d"})
    found = verify.read_log(at, "acme", "t1")
    assert found.findings([]) == []
    checkpoint, entries, events, erased = verifier.read_file([*found.lines()], found.key)
    assert (erased, verifier.check_log(checkpoint, entries, events, (), erased)) == ([gone], [])


class Dying:
    """S3, whose caller dies before or after the nth of its writing calls."""

    def __init__(self, nth: int, after: bool) -> None:
        self._left, self._after = nth, after

    def __getattr__(self, name: str) -> Any:
        whole: Callable[..., Any] = getattr(s3(), name)
        if not name.startswith("put_"):
            return whole

        def call(**asked: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise RuntimeError("killed")
            answer = whole(**asked)
            if self._left == 0:
                raise RuntimeError("killed")
            return answer

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_the_job_may_be_killed_at_any_effect(logs: Logs, days: Clock, nth: int, after: bool) -> None:
    """Whoever begins anew leaves all as if nobody had been killed: lock, hold, tags, index and places."""
    cell = logs.cell
    cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    one = store(cell)
    logs.tell(*cell.archived())
    terms(cell, **{"class": "3y", "held": int(days.now)})
    with pytest.raises(RuntimeError, match="killed"):
        retained(cell, days, Dying(nth, after))
    retained(cell, days)
    found = head(cell)
    end = int(found["ObjectLockRetainUntilDate"].timestamp())
    assert abs(end - days.now - 1096 * DAY) < 120
    assert found["ObjectLockLegalHoldStatus"] == "ON"
    (item,) = table("test-index").scan()["Items"]
    assert (item["until"], "forget" in item) == (end, False)
    assert logs.store().places([one])[one].end == end
    assert retained(cell, days) == [False]


def test_the_job_may_be_killed_between_index_and_log(
    logs: Logs, days: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise: nothing of the object says that it is done with."""
    cell = logs.cell
    cell.key("acme", "t1")
    terms(cell, **{"class": "90d"})
    one = store(cell)
    logs.tell(*cell.archived())
    terms(cell, **{"class": "1y"})

    def dies(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("audit.handlers.log.store.Store.keep", dies)
        with pytest.raises(RuntimeError, match="killed"):
            retained(cell, days)
    assert retained(cell, days) == [True]
    assert logs.store().places([one])[one].end == int(head(cell)["ObjectLockRetainUntilDate"].timestamp())
