"""A tenant may ask so often in ten seconds, and nobody else feels it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pytest

from audit.handlers.query import api, limits
from audit.stacks.query import REQUESTS, limit_of
from cellwave.cell import CellContext
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project
from cellwave.sandbox.emulator import embedded_metrics
from tests.audit.support import AuditCell

OF_ALL = ("/healthz", "/v1/openapi.json")
NOON = 1_740_000_000.0  # begins a window


@pytest.fixture
def three(cell: AuditCell, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditCell]:
    """A cell whose tenants may ask three times; it is noon, and stays so."""
    monkeypatch.setenv("LIMIT_REQUESTS", "3")
    at(NOON, monkeypatch)
    yield cell
    limits.forget()


def at(moment: float, patch: pytest.MonkeyPatch) -> None:
    """Set the clock."""
    patch.setattr(limits, "clock", lambda: moment)


def statuses(cell: AuditCell, key: str, times: int) -> list[int]:
    """How so many requests are answered."""
    return [cell.search(key).status for _ in range(times)]


def rows() -> list[Any]:
    """What is counted."""
    return list(boto3.resource("dynamodb").Table("test-limits").scan()["Items"])


def test_who_asks_too_often_is_told_when_to_come_again(
    three: AuditCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 with `Retry-After` in whole seconds, an error as JSON, and then it goes on."""
    key = three.key("acme", "t1")
    assert statuses(three, key, 3) == [200, 200, 200]
    at(NOON + 3.2, monkeypatch)
    answer = three.search(key)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "too_many_requests", "7")
    assert "3 times in 10 seconds; ask again in 7 s" in answer.message
    at(NOON + 10, monkeypatch)
    assert statuses(three, key, 4) == [200, 200, 200, 429]


def test_a_tenant_s_keys_count_together_and_nobody_else_s(three: AuditCell) -> None:
    """A second key gives no more; a neighbour, and a tenant of that name in another application, are untouched."""
    first, second = three.key("acme", "t1"), three.key("acme", "t1")
    assert statuses(three, first, 2) + statuses(three, second, 2) == [200, 200, 200, 429]
    for other in (three.key("acme", "t2"), three.key("rival", "t1")):
        assert statuses(three, other, 3) == [200, 200, 200]


def test_whatever_a_tenant_asks_is_counted(three: AuditCell) -> None:
    """Of a key that may do all, each question: who asked too often is answered none."""
    key = three.key("acme", "t1", scopes=["read", "export", "stream"])
    assert statuses(three, key, 4) == [200, 200, 200, 429]
    routes = [one for one in api._ROUTES if "/viewer" not in one and one.split(" ")[1] not in OF_ALL]
    assert {
        one: three.call(api.handler, one.replace("{id}", "x"), key, body={}).status for one in routes
    } == (dict.fromkeys(routes, 429))


def test_processes_count_together(three: AuditCell) -> None:
    """Each remembers nothing of the others: of twenty more at once, in as many processes, two get through."""
    key = three.key("acme", "t1")
    assert statuses(three, key, 1) == [200]

    def ask(_: int) -> int:
        limits.forget()
        return three.search(key).status

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(20))).count(200) == 2


def test_a_refusal_costs_a_process_one_row_and_no_more_calls(three: AuditCell) -> None:
    """However long the flood; the row goes by itself."""
    key = three.key("acme", "t1")
    assert statuses(three, key, 20).count(200) == 3
    (row,) = rows()
    assert (row["pk"], row["requests"]) == ("acme#t1#174000000", 4)
    assert NOON < row["expires"] <= NOON + 3600


def test_who_is_not_known_makes_no_row(three: AuditCell) -> None:
    """Neither does an application's key, which reads nothing here, nor a request without any."""
    application = three.key("acme")
    unknown = [base64.b64encode(text.encode()).decode() for text in ("acme,t1,guess", "nobody,t1,x")]
    assert [three.search(key).status for key in (None, *unknown, application)] == [401, 401, 401, 403]
    assert rows() == []


def test_whoever_can_not_be_counted_is_let_in(
    three: AuditCell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once in five seconds, and an alarm looks at that."""
    key = three.key("acme", "t1")
    monkeypatch.setenv("LIMITS_TABLE", "none")
    assert statuses(three, key, 5) == [200] * 5
    failed = [
        value for _, name, value, *_ in embedded_metrics(capsys.readouterr().err) if name == "LimitsFailed"
    ]
    assert failed == [1]
    monkeypatch.setenv("LIMITS_TABLE", "test-limits")
    at(NOON + 5, monkeypatch)
    assert statuses(three, key, 4) == [200, 200, 200, 429]


def labelled(**labels: str) -> CellContext:
    """The query service of a cell with these labels."""
    fleet = parse_fleet(find_project(Path(__file__).parent).config_files())
    cell = fleet.cell("us-west-2").model_copy(update={"labels": labels})
    return CellContext(fleet, cell, fleet.service("us-west-2", "query"), Path(), "worktree")


def test_a_cell_s_label_says_how_often() -> None:
    """In ten seconds; what is no number is refused."""
    assert (limit_of(labelled()), limit_of(labelled(query_requests="50"))) == (REQUESTS, 50)
    for wrong in ("0", "-1", "many", "²", ""):
        with pytest.raises(
            pulumi.RunError, match=r"label query_requests is .* expected a number of requests from 1"
        ):
            limit_of(labelled(query_requests=wrong))
