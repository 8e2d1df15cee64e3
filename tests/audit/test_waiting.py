"""An event of a tenant that is not registered yet waits for it, and is never thrown away."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from audit.handlers.common.aws import s3, table
from audit.handlers.ingest import objects, waiting
from audit.handlers.ingest.archive import archive
from tests.audit.support import AuditCell, Handler, event

POST = "POST /v1/events"


def tick(at: datetime | None = None) -> dict[str, object]:
    """The schedule's call for a moment (default: now), without its rehearsal."""
    handler: Handler = inspect.unwrap(waiting.handler)
    return handler({"time": (at or datetime.now(UTC)).isoformat()}, None)


def late(tenant: str, days: float = 15, application: str = "acme") -> datetime:
    """After so many days, in the minute in which a tenant's are looked at that waited too long."""
    return (datetime.now(UTC) + timedelta(days=days)).replace(minute=waiting.minute_of(application, tenant))


def waits(cell: AuditCell) -> list[str]:
    """What waits, without its day."""
    return [name for name in cell.landed() if name.startswith("_waiting/")]


def indexed() -> set[str]:
    """The ids in the index."""
    return {str(item["eventId"]) for item in table("test-index").scan()["Items"]}


def archived(cell: AuditCell) -> list[str]:
    """The ids in the archive, one for each line."""
    return sorted(line["eventId"] for lines in cell.archived().values() for line in lines)


@pytest.fixture
def key(cell: AuditCell) -> str:
    """The key of acme, whose tenant is t1."""
    cell.key("acme", "t1")
    return cell.key("acme")


def test_a_post_waits_and_is_replayed_when_its_tenant_is_registered(cell: AuditCell, key: str) -> None:
    """Under the ids that it was answered with; the others of the post do not wait."""
    told = cell.ingest(POST, key, body=[event("t9"), event("t1"), event("t9")]).body["eventIds"]
    cell.process()
    assert indexed() == {told[1]}
    assert len(waits(cell)) == 1
    assert tick() == {}
    tenant = cell.key("acme", "t9")
    assert tick() == {"replayed": 1}
    assert (waits(cell), indexed(), archived(cell)) == ([], {*told}, sorted(told))
    assert {found["eventId"] for found in cell.search(tenant).body["events"]} == {told[0], told[2]}


def test_an_upload_waits_as_a_post_does(cell: AuditCell, key: str) -> None:
    """Sent again in its session it waits once, and stores nothing twice when it comes after all."""
    opened = cell.ingest("GET /applications/session", key).body
    content = "".join(f"{json.dumps(event('t9', second))}\n" for second in range(3)).encode()

    def upload(name: str) -> None:
        form = {**opened["form"], "key": f"acme/{name}"}
        httpx.post(opened["uploadUrl"], data=form, files={"file": content}).raise_for_status()

    for name in ("a.jsonl", "b.jsonl"):
        upload(name)
    cell.process()
    assert len(waits(cell)) == 1
    cell.key("acme", "t9")
    tick()
    upload("c.jsonl")
    cell.process()
    assert (len(indexed()), len(archived(cell)), waits(cell)) == (3, 3, [])


@pytest.mark.parametrize("step", ["archive", "index", "_forget"])
def test_a_kill_between_two_steps_loses_and_doubles_nothing(
    cell: AuditCell, key: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was archived and not indexed, or not forgotten, is done again; so is a redelivery."""
    told = cell.ingest(POST, key, body=[event("t9"), event("t9")]).body["eventIds"]
    posted = cell.landed()
    cell.process()
    cell.key("acme", "t9")
    with monkeypatch.context() as patch:
        patch.setattr(waiting, step, lambda *_: 1 / 0)
        with pytest.raises(RuntimeError, match="1 objects"):
            tick()
    assert len(waits(cell)) == 1
    cell.process(*posted)
    assert tick() == {"replayed": 1}
    cell.process(*posted)
    assert tick() == {}
    assert (archived(cell), indexed()) == (sorted(told), {*told})


def test_who_waits_for_too_long_is_rejected_with_that_reason(cell: AuditCell, key: str) -> None:
    """After 14 days, and not a minute before; the line can be replayed under its id when its tenant comes at last."""
    told = cell.ingest(POST, key, body=[event("t9"), event("t9")]).body["eventIds"]
    (posted,) = cell.landed()
    cell.process()
    assert tick(late("t9", days=13)) == {}
    assert tick(late("t9") + timedelta(minutes=1)) == {}
    assert tick(late("t9")) == {"rejected": 1}
    assert (waits(cell), indexed()) == ([], set())
    found = cell.ingest("GET /v1/rejected", key).body["rejected"]
    assert [(one["source"], one["line"], one["eventId"]) for one in found] == [
        (posted, line, identity) for line, identity in enumerate(told, start=1)
    ]
    assert "t9 was not registered within 14 days" in found[0]["reason"]
    cell.key("acme", "t9")
    assert cell.ingest("POST /v1/rejected/replay", key, body={"object": found[0]["object"]}).status == 202
    cell.process()
    assert indexed() == {*told}


def test_a_kill_while_giving_up_rejects_once(
    cell: AuditCell, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On whatever day it is done again."""
    cell.ingest(POST, key, body=event("t9"))
    cell.process()
    with monkeypatch.context() as patch:
        patch.setattr(waiting, "_forget", lambda _: 1 / 0)
        with pytest.raises(RuntimeError):
            tick(late("t9"))
    assert tick(late("t9", days=17)) == {"rejected": 1}
    assert len(cell.archived()) == 1


def test_one_that_fails_keeps_no_other_from_it(
    cell: AuditCell, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function errs, so that its alarm tells, and the next minute goes on."""
    for tenant in ("t7", "t8", "t9"):
        cell.ingest(POST, key, body=event(tenant))
    cell.process()
    for tenant in ("t7", "t8", "t9"):
        cell.key("acme", tenant)

    def failing(application: str, tenant: str, name: str, lines: Any) -> dict[str, int]:
        assert tenant != "t8"
        return archive(application, tenant, name, lines)

    with monkeypatch.context() as patch:
        patch.setattr(waiting, "archive", failing)
        with pytest.raises(RuntimeError, match="1 objects"):
            tick()
    assert [name.split("/")[2] for name in waits(cell)] == ["t8"]
    assert tick() == {"replayed": 1}


def test_all_of_a_tenants_are_replayed_page_by_page(
    cell: AuditCell, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And when the time is over, the next minute goes on."""
    for second in range(5):
        cell.ingest(POST, key, body=event("t9", second))
    cell.process()
    cell.key("acme", "t9")
    monkeypatch.setattr(waiting, "PAGE", 2)
    with monkeypatch.context() as patch:
        patch.setattr(waiting, "WORK_SECONDS", 0)
        assert tick() == {}
    assert tick() == {"replayed": 5}
    assert len(indexed()) == 5


def test_another_application_s_tenant_is_none_that_is_waited_for(cell: AuditCell, key: str) -> None:
    """However it is called; and an application that is gone goes on waiting."""
    cell.ingest(POST, key, body=event("t9"))
    cell.process()
    cell.key("rival", "t9")
    assert tick() == {}
    assert [name.split("/")[:3] for name in waits(cell)] == [["_waiting", "acme", "t9"]]


def test_what_waits_is_no_object_that_landed(cell: AuditCell, key: str) -> None:
    """S3 announces it as any other; the processor leaves it where it is."""
    cell.ingest(POST, key, body=event("t9"))
    cell.process()
    before = cell.landed()
    cell.process(*waits(cell))
    assert (cell.landed(), cell.archived()) == (before, {})


def test_nothing_is_replayed_while_the_directory_can_not_be_read(
    cell: AuditCell, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor given up."""
    cell.ingest(POST, key, body=event("t9"))
    cell.process()
    with monkeypatch.context() as patch:
        patch.setenv("CONFIG_BUCKET", "there-is-no-such-bucket")
        with pytest.raises(Exception, match="NoSuchBucket"):
            tick(late("t9"))
    assert len(waits(cell)) == 1


def wait(cell: AuditCell, place: str, content: bytes = b"") -> None:
    """Let an object wait for an application's tenant."""
    s3().put_object(Bucket=cell.bucket("landing"), Key=f"_waiting/{place}/2025/01/01/a.jsonl", Body=content)


def test_large_objects_are_replayed_one_at_a_time(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight of ten megabytes would take more memory than there is, each minute anew. Each is a turn."""
    side_by_side: list[list[int]] = []

    def noted(call: Callable[[Any], str], page: list[waiting.Waiter]) -> list[str]:
        side_by_side.append([waiter.size for waiter in page])
        return objects.at_once(call, page)

    monkeypatch.setattr(waiting, "at_once", noted)
    monkeypatch.setattr(waiting, "_replay", lambda _: "replayed")
    for application in ("acme", "rival"):
        cell.key(application, "t1")
    for name, size in [("a", 2**20), ("b", 2**20 + 1), ("c", 1), ("d", 2**20 + 2)]:
        wait(cell, f"acme/t1/{name}", b"x" * size)
    wait(cell, "rival/t1", b"xx")
    assert tick() == {"replayed": 5}
    assert [sizes for sizes in side_by_side if sizes] == [[2**20, 1], [2], [2**20 + 1], [2**20 + 2]]


@pytest.mark.parametrize("size", [1, 2**20 + 1], ids=["small", "large"])
def test_no_object_is_begun_when_the_time_is_over(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Within a page, too: what is begun late would be killed."""
    monkeypatch.setattr(objects, "AT_ONCE", 1)
    clock = [0.0]
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def slow(_: waiting.Waiter) -> str:
        clock[0] += waiting.WORK_SECONDS / 2
        return "replayed"

    monkeypatch.setattr(waiting, "_replay", slow)
    cell.key("acme", "t1")
    for name in "abc":
        wait(cell, f"acme/t1/{name}", b"x" * size)
    assert tick() == {"replayed": 2}


def test_who_invents_tenants_keeps_no_other_from_its_turn(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replays come before what is given up, and each application has its turn."""
    done: list[str] = []

    def noted(step: str) -> Callable[[waiting.Waiter], str]:
        def do(waiter: waiting.Waiter) -> str:
            done.append(f"{step} {waiter.application}/{waiter.tenant}")
            return step

        return do

    for step in ("replay", "give_up"):
        monkeypatch.setattr(waiting, f"_{step}", noted(step))
    for place in ("acme/t1", "acme/t2", "acme/t3", "rival/t1"):
        cell.key(*place.split("/"))
        wait(cell, place)
    wait(cell, "acme/a-stranger")
    tick(late("a-stranger"))
    assert done == [
        "replay acme/t1", "replay rival/t1", "replay acme/t2", "replay acme/t3", "give_up acme/a-stranger",
    ]  # fmt: skip


def test_a_long_list_of_tenants_keeps_no_other_application_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of its names is a turn."""
    pages = {"_waiting/acme/": [["a"], ["b"], ["c"]], "_waiting/rival/": [["t1"]]}
    listed: list[str] = []

    def objects_below(prefix: str) -> Iterator[list[waiting.Waiter]]:
        listed.append(prefix)
        yield []

    def listing(_: str, prefix: str) -> Iterator[list[str]]:
        for names in pages[prefix]:
            listed.extend(names)
            yield names

    monkeypatch.setattr(waiting, "folder_pages", listing)
    monkeypatch.setattr(waiting, "_pages", objects_below)
    each = [waiting._replays(name, {"t1"}, datetime.now(UTC), []) for name in ("acme", "rival")]
    for _ in waiting.in_turn(each):
        pass
    assert listed == ["a", "t1", "b", "_waiting/rival/t1/", "c"]
