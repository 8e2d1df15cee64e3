"""Who may do what comes from the key alone."""

from __future__ import annotations

import base64

import pytest

from audit.handlers.common import directory
from audit.handlers.common.aws import s3
from tests.audit.support import AuditCell, event


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "no base64!",
        base64.b64encode(b"acme").decode(),
        base64.b64encode(b"acme,guess").decode(),
        base64.b64encode(b"acme,t1,guess").decode(),
        base64.b64encode(b"nobody,secret").decode(),
        base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_an_unknown_key_is_refused_everywhere(cell: AuditCell, key: str | None) -> None:
    """No key, a broken key and a guessed key are 401, whatever is asked."""
    cell.key("acme")
    cell.key("acme", "t1")
    answers = [
        cell.ingest("GET /applications/session", key),
        cell.ingest("POST /v1/events", key, body=event()),
        cell.search(key),
    ]
    assert [(answer.status, answer.code) for answer in answers] == [(401, "unauthorized")] * 3


def test_a_key_of_the_wrong_kind_is_refused(cell: AuditCell) -> None:
    """A tenant key can't write and an application key can't read: 403."""
    application, tenant = cell.key("acme"), cell.key("acme", "t1")
    answers = [
        cell.ingest("GET /applications/session", tenant),
        cell.ingest("POST /v1/events", tenant, body=event()),
        cell.search(application),
    ]
    assert [(answer.status, answer.code) for answer in answers] == [(403, "wrong_key")] * 3
    assert cell.landed() == []


@pytest.mark.parametrize("scopes", [[], ["export"], ["read", "write"]], ids=str)
def test_a_key_does_what_its_scopes_say(cell: AuditCell, scopes: list[str]) -> None:
    """403 names the scope that it lacks; of another kind's scopes it has nothing."""
    application, tenant = cell.key("acme", scopes=scopes), cell.key("acme", "t1", scopes=scopes)
    assert cell.ingest("POST /v1/events", application, body=event()).status == (
        202 if "write" in scopes else 403
    )
    answer = cell.search(tenant)
    assert answer.status == (200 if "read" in scopes else 403)
    if answer.status == 403:
        assert answer.code == "missing_scope"
        assert "scope read is needed" in answer.message


def test_a_key_that_names_no_scopes_writes_or_reads(cell: AuditCell) -> None:
    """As those do that were given before there were any."""
    application, tenant = cell.key("acme"), cell.key("acme", "t1")
    assert cell.ingest("POST /v1/events", application, body=event()).status == 202
    assert cell.search(tenant).status == 200


def test_a_key_ends_by_itself(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its second, in every cell, with nobody told anything then; the answer says since when."""
    now = 1_800_000_000
    key = cell.key("acme", "t1", expires=now)
    monkeypatch.setattr(f"{directory.__name__}.time.time", lambda: now - 0.1)
    assert cell.search(key).status == 200
    monkeypatch.setattr(f"{directory.__name__}.time.time", lambda: float(now))
    answer = cell.search(key)
    assert (answer.status, answer.code) == (401, "expired")
    assert "2027-01-15T08:00:00+00:00" in answer.message


@pytest.mark.parametrize(
    "limit", [{"scopes": "read"}, {"scopes": [1]}, {"expires": "soon"}, {"expires": None}]
)
def test_a_bound_that_can_t_be_read_is_no_directory(limit: dict[str, object]) -> None:
    """Or a key would do what it was not given for."""
    key = {"hash": "0" * 64, "kind": "tenant", "tenantId": "t1"}
    assert directory.is_directory({"acme": {"keys": [key]}})
    assert not directory.is_directory({"acme": {"keys": [key | limit]}})


def test_a_tenants_secret_is_no_secret_of_another(cell: AuditCell) -> None:
    """Putting one's own secret under another tenant's or application's name is an unknown key."""
    key = cell.key("acme", "t1")
    cell.key("acme", "t2")
    secret = base64.b64decode(key).decode().split(",")[-1]
    for credential in (f"acme,t2,{secret}", f"other,t1,{secret}", f"acme,{secret}"):
        assert cell.search(base64.b64encode(credential.encode()).decode()).status == 401


def test_the_directory_is_read_once_a_minute(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revoked key works while the copy is fresh, and is unknown after that."""
    now = 1000.0
    copy = directory.Copy(clock=lambda: now)
    monkeypatch.setattr(directory, "directory", copy.get)
    key = cell.key("acme", "t1")
    assert cell.search(key).status == 200
    s3().put_object(Bucket=cell.bucket("config"), Key="directory.json", Body=b'{"applications": {}}')
    now += directory.FRESH - 1
    assert cell.search(key).status == 200
    now += 1
    assert cell.search(key).status == 401


def test_health_needs_no_key_and_names_the_code(cell: AuditCell) -> None:
    """GET /healthz answers service and digest to anybody."""
    answer = cell.ingest("GET /healthz")
    assert answer.status == 200
    assert answer.body["service"] == "test"
    assert len(answer.body["digest"]) == 64


def test_other_paths_and_methods_say_what_there_is(cell: AuditCell) -> None:
    """An unknown path is 404 and names the known ones; a wrong method 405 and names the right one."""
    assert (unknown := cell.ingest("GET /v2/events")).status == 404
    assert "POST /v1/events" in unknown.message
    assert (wrong := cell.ingest("DELETE /v1/events")).status == 405
    assert "POST" in wrong.message
