"""A tenant's class and hold are the control plane's; each change stands in the tenant's log, and reaches its cells."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import cli, keys, retain, terms
from audit.handlers.common import directory
from audit.handlers.common.aws import s3
from audit.handlers.common.directory import is_directory
from audit.handlers.common.retention import CLASSES, Terms, longest
from audit.publish import known_in
from tests.audit.logs import Logs
from tests.audit.support import Audit, AuditCell, event
from tests.audit.test_internal import Here, arrive, names


@pytest.fixture
def region(control: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> AuditCell:
    """A cell and its control plane; acme/t1 has a key."""
    nobody = b'{"applications": {}}'
    s3().put_object(Bucket=control.bucket("config"), Key="directory.json", Body=nobody)
    monkeypatch.setenv("CELLWAVE_ACTOR", "kim of support")
    assert audit("key", "acme/t1")[0] == 0
    return control


def test_a_class_and_a_hold_reach_the_cells_and_stand_in_the_log(region: AuditCell, audit: Audit) -> None:
    """By name, with what was before and the reason."""
    for command in (("1y",), ("7y",), ("--hold", "case 12"), ("--release", "case 12 is over")):
        assert audit("retention", "acme/t1", *command)[0] == 0
    arrive()
    assert [name for name in names(region) if "retention" in name or "hold" in name] == [
        "audit.retention.changed",
        "audit.retention.changed",
        "audit.hold.placed",
        "audit.hold.released",
    ]
    lines = [line for lines in region.archived().values() for line in lines]
    said = [line["eventDetails"] for line in sorted(lines, key=lambda line: line["eventTime"])][-4:]
    assert said == [
        {"before": None, "after": "1y"},
        {"before": "1y", "after": "7y"},
        {"reason": "case 12"},
        {"reason": "case 12 is over", "placedFor": "case 12"},
    ]
    assert directory.directory().terms("acme", "t1") == Terms("7y")


def test_what_is_in_force_is_shown(region: AuditCell, audit: Audit) -> None:
    """Without anything to change nothing is."""
    assert audit("retention", "acme/t1")[1] == "acme/t1: kept without an end\n"
    audit("retention", "acme/t1", "90d")
    audit("retention", "acme/t1", "--hold", "case 12")
    shown = audit("retention", "acme/t1")[1]
    assert shown.startswith("acme/t1: kept for 90d\n  held since ")
    assert shown.endswith(": case 12\n")
    assert audit("retention", "acme")[1] == "acme: no floor\n"
    audit("retention", "acme", "1y")
    assert audit("retention", "acme")[1] == "acme: no tenant's class is below 1y\n"
    assert audit("retention", "acme/t1")[1].startswith("acme/t1: kept for 1y\n")


def test_no_class_is_below_the_vendor_s_floor(region: AuditCell, audit: Audit) -> None:
    """Neither one that is asked for, nor one that was there before the floor was."""
    audit("retention", "acme/t1", "90d")
    assert audit("retention", "acme", "3y")[0] == 0
    assert known_in("eu")["acme"]["terms"] == {"t1": {"class": "3y"}}
    code, _, said = audit("retention", "acme/t1", "1y")
    assert code == 2
    assert "found '1y'" in said
    assert "one of 3y, 7y: the floor of acme is 3y" in said
    assert known_in("eu")["acme"]["terms"] == {"t1": {"class": "3y"}}


WRONG = [
    (("acme/t1", "2y"), "one of 90d, 1y, 3y, 7y"),
    (("acme/t1", "1y", "--hold", "why"), "a class, --hold or --release"),
    (("acme", "--hold", "why"), "a tenant: holds are each a tenant's"),
    (("acme/t9", "1y"), "a tenant that is registered"),
    (("acme/t9", "--hold", "why"), "a tenant that is registered"),
    (("acme/t1", "--release", "why"), "a tenant that is held"),
    (("acme/t1", "--hold", " "), "1 to 1000: the tenant reads it"),
    (("acme/t1", "--hold", "x" * 1001), "1 to 1000: the tenant reads it"),
    (("a,b", "1y"), "1 to 64 of"),
]


@pytest.mark.parametrize(("command", "right"), WRONG, ids=[" ".join(c)[:30] for c, _ in WRONG])
def test_what_makes_no_sense_is_refused(
    region: AuditCell, audit: Audit, command: tuple[str, ...], right: str
) -> None:
    """Exit code 2 and what would be right; nothing is changed, and nothing is told."""
    code, _, said = audit("retention", *command)
    assert code == 2
    assert right in " ".join(said.split())
    assert "terms" not in known_in("eu")["acme"]
    arrive()
    assert not [name for name in names(region) if "retention" in name or "hold" in name]


def test_a_second_hold_is_refused_while_one_is_on(region: AuditCell, audit: Audit) -> None:
    """Or the first would be forgotten, and lifted with the second."""
    audit("retention", "acme/t1", "--hold", "case 12")
    code, _, said = audit("retention", "acme/t1", "--hold", "case 13")
    assert code == 2
    assert "acme/t1 is held: case 12" in said


def meanwhile(monkeypatch: pytest.MonkeyPatch, module: Any, *deeds: Callable[[], object]) -> None:
    """Let another do that when the next command has looked, and tells of what it is about to do."""
    whole = module.note

    def note(*told: Any) -> None:
        monkeypatch.setattr(module, "note", whole)
        for deed in deeds:
            deed()
        whole(*told)

    monkeypatch.setattr(module, "note", note)


def test_of_two_that_change_a_hold_at_once_one_does(
    region: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second hold takes no other's place, and nobody releases one that they have not seen."""
    held = partial(terms.hold, "acme", "t1")
    meanwhile(monkeypatch, terms, lambda: held("case 13"))
    code, _, said = audit("retention", "acme/t1", "--hold", "case 12")
    assert (code, "meanwhile" in said) == (1, True)
    meanwhile(monkeypatch, terms, lambda: terms.release("acme", "t1", "over"), lambda: held("case 14"))
    code, _, said = audit("retention", "acme/t1", "--release", "case 13 is over")
    assert (code, "meanwhile" in said) == (1, True)
    assert "case 14" in audit("retention", "acme/t1")[1]


def test_a_tenant_that_two_register_at_once_keeps_its_terms(
    region: AuditCell, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second makes a key, and no tenant anew."""
    first = partial(keys.make_key, "acme", "t2")
    meanwhile(monkeypatch, keys, first, lambda: terms.set_class("acme", "t2", "7y"))
    assert audit("key", "acme/t2")[0] == 0
    assert audit("retention", "acme/t2")[1] == "acme/t2: kept for 7y\n"


def test_a_key_of_later_leaves_class_and_hold_alone(region: AuditCell, audit: Audit) -> None:
    """The tenant's row is there."""
    audit("retention", "acme/t1", "1y")
    audit("retention", "acme/t1", "--hold", "case 12")
    before = known_in("eu")["acme"]["terms"]
    audit("key", "acme/t1")
    assert known_in("eu")["acme"]["terms"] == before


ROWS = st.lists(
    st.fixed_dictionaries(
        {"applicationId": st.sampled_from("ab"), "tenantId": st.sampled_from("xy")},
        optional={"class": st.sampled_from(list(CLASSES)), "held": st.integers(0, 9)},
    ),
    max_size=4,
    unique_by=lambda row: (row["applicationId"], row["tenantId"]),
)
FLOORS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(list(CLASSES)))


@given(ROWS, FLOORS)
def test_the_cells_are_told_what_is_in_force(rows: list[dict[str, Any]], floors: dict[str, str]) -> None:
    """The longer of class and floor; who has no class has no end, whatever the floor. A directory takes it as such."""
    told = terms.terms_of(rows, [{"applicationId": one, "floor": kept} for one, kept in floors.items()])
    assert is_directory({one: {"terms": of} for one, of in told.items()})
    for row in rows:
        found = Terms.of(told.get(row["applicationId"], {}).get(row["tenantId"], {}))
        kept = longest(row["class"], floors.get(row["applicationId"])) if "class" in row else None
        assert found == Terms(kept, row.get("held"))


@pytest.mark.parametrize("told", [{"class": "2y"}, {"held": "yes"}, {"held": True}, {"held": 1.5}, [], "1y"])
def test_terms_that_can_not_be_read_make_no_directory(told: object) -> None:
    """The last good one serves on: nobody's events end by a mistake."""
    assert not is_directory({"acme": {"terms": {"t1": told}}})


def test_what_is_stored_is_brought_to_its_terms_by_a_command(
    logs: Logs, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all tenants or of one; the tenant's log says who did it."""
    cell = logs.cell
    monkeypatch.setattr(
        cli, "in_cell", lambda _, place: Here(place, "eu.audit.example", boto3.Session(), cell.account)
    )
    s3().put_object_lock_configuration(
        Bucket=cell.bucket("archive"),
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 365}},
        },
    )
    for tenant in ("t1", "t2"):
        cell.key("acme", tenant)
        cell.land(f"acme/{tenant}.jsonl", event(tenant))
    cell.process()
    cell.applications["acme"]["terms"] = {"t1": {"class": "7y"}, "t2": {"held": 1_800_000_000}}
    cell.key("other")
    found = []
    for of in ((), ("--of", "acme/t1"), ()):
        code, out, _ = audit("retain", "eu-west-1", *of, "--json")
        assert code == 0
        found.append(json.loads(out))
    assert [(one["objects"], one["changed"]) for one in found] == [(2, 2), (1, 0), (2, 0)]
    # The cell was told of the terms just now, and may be storing something by those of before.
    assert [one["settled"] for one in found] == [False] * 3
    assert "run this again in 5 minutes" in audit("retain", "eu-west-1")[1]
    monkeypatch.setattr(retain, "SETTLES", 0)
    assert "again" not in audit("retain", "eu-west-1")[1]
    assert len([name for name in cell.landed() if name.startswith("_waiting/_internal/acme/t1/")]) == 5
