"""A tenant moves to another cell of its region: whoever moves it may be killed at any instant, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from audit import cli, keys, moves
from audit.cells import InCell
from audit.handlers.common import aws
from audit.homes import Home, homes_in
from audit.notes import EVENTS_TABLE
from audit.publish import publish, scanned
from cellwave.fleet.model import Cell
from tests.audit.routing import Place, ProductRegion
from tests.audit.support import REGION, Audit, create_control, event, tell_cells


class Here(InCell):
    """A cell of the region, by the names that it has in these tests."""

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(
            Cell(name=name, account="200000000001", aws_region=REGION), "", boto3.Session(region_name=REGION)
        )
        object.__setattr__(self, "place", place)

    def bucket(self, kind: str) -> str:
        """Its bucket."""
        return self.place.cell.bucket(kind)  # type: ignore[attr-defined,no-any-return]

    def name(self, kind: str) -> str:
        """Its table."""
        return str(self.place.environment[f"{kind.upper()}_TABLE"])  # type: ignore[attr-defined]

    def client(self, service: str) -> Any:
        """One for all, of the account that all of the region is in."""
        return aws.s3() if service == "s3" else super().client(service)


class Moving:
    """A region with a control plane, and the tenants of one application in it."""

    def __init__(self, region: ProductRegion) -> None:
        self.region = region
        create_control(region.places["us-1"].cell.account)
        tell_cells(region.places["us-1"].cell.account, nested={"us-big": "us-1"})
        self.key = keys.make_key("acme", None, ["us"])
        self.told()

    def tenant(self, name: str) -> str:
        """A new tenant's key; every cell knows it."""
        made = keys.make_key("acme", name, ["us"])
        self.told()
        return made

    def told(self) -> None:
        """Publish, and let every cell know."""
        publish()
        self.bring()

    def bring(self) -> None:
        """Let every cell know what is published."""
        account = self.region.places["us-1"].cell.account
        told = aws.s3().get_object(Bucket=f"control-{account}-directory", Key="us.json")["Body"].read()
        content = json.loads(told)
        self.region.applications = content["applications"]
        self.region.partners = {name: cell.get("failover") for name, cell in content["cells"].items()}
        self.region.tell()

    def send(self, *tenants: str, second: int = 0) -> list[str]:
        """Post an event of each, and have all archived; their ids."""
        events = [event(tenant, second + number) for number, tenant in enumerate(tenants)]
        told = self.region.call("POST /v1/events", self.key, body=events)
        assert told.status == 202
        self.region.process()
        return list(told.body["eventIds"])

    def home(self, tenant: str) -> Home:
        """Where a tenant is at home."""
        (found,) = (home for home in homes_in("us") if home.holder == ("acme", tenant))
        return found

    def other(self, tenant: str) -> str:
        """The cell of the pair that it is not at home in."""
        return {"us-1": "us-2", "us-2": "us-1"}[self.home(tenant).cell]

    def cell(self, name: str) -> Here:
        """A way into a cell."""
        return Here(self.region.places[name], name)

    def move(self, tenant: str, target: str) -> list[tuple[str, int, int, int]]:
        """One run of the command."""
        move = moves.begin("acme", tenant, target)
        source, there = self.cell(move.source), self.cell(move.target)
        prefix = f"acme/{tenant}/"
        return list(moves.run(move, lambda: moves.copy_missing(source, there, prefix), publish))

    def held(self, cell: str, tenant: str) -> set[str]:
        """The events that the archive of one cell has of a tenant."""
        archived = self.region.places[cell].cell.archived()
        return {
            one["eventId"]
            for key, lines in archived.items()
            if key.startswith(f"acme/{tenant}/")
            for one in lines
        }


@pytest.fixture
def moving(region: ProductRegion) -> Moving:
    """A region whose control plane is in the same account."""
    return Moving(region)


def test_a_tenant_that_was_moved_has_all_that_it_had(moving: Moving) -> None:
    """In the new cell, archived and indexed; new events go there, and reads ask both."""
    reader = moving.tenant("t1")
    before = moving.send("t1", "t1")
    old, new = moving.home("t1").cell, moving.other("t1")
    progress = moving.move("t1", new)
    assert progress == [("copy", 1, 0, 0), ("copy", 1, 1, 2), ("rest", 0, 0, 0)]
    moving.bring()
    home = moving.home("t1")
    assert (home.cell, home.earlier) == (new, (old,))
    assert moving.held(new, "t1") == set(before)
    after = moving.send("t1", second=30)
    assert moving.held(new, "t1") == {*before, *after}
    assert moving.region.everything(reader) == [*after, *before[::-1]]
    with moving.region.at(new) as cell:
        assert [one["eventId"] for one in cell.search(reader).body["events"]] == [*after, *before[::-1]]


def test_what_reaches_the_old_home_meanwhile_is_read_and_copied_later(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever did not know of the move yet. Half an hour later a last run ends it."""
    reader = moving.tenant("t1")
    old, new = moving.home("t1").cell, moving.other("t1")
    moving.move("t1", new)
    late = moving.send("t1")  # no cell was told
    assert moving.held(old, "t1") == set(late)
    moving.bring()
    assert moving.region.everything(reader) == late
    assert moving.move("t1", new)[-1] == ("rest", 1, 1, 1)
    assert moving.held(new, "t1") == set(late)
    assert moving.home("t1").move is not None
    later = moves.clock() + moves.SETTLED
    monkeypatch.setattr(moves, "clock", lambda: later)
    assert moving.move("t1", new) == [("rest", 0, 0, 0)]
    assert moving.home("t1").move is None
    assert moving.move("t1", new) == []
    assert moving.region.everything(reader) == late


def test_a_copy_ends_when_its_original_does(moving: Moving) -> None:
    """With its hold, its tags and what is said of it; in the index too."""
    moving.tenant("t1")
    (identity,) = moving.send("t1")
    old, new = moving.home("t1").cell, moving.other("t1")
    archive = moving.region.places[old].cell.bucket("archive")
    (key,) = (key for key in moving.region.places[old].cell.archived() if key.startswith("acme/t1/"))
    body = aws.s3().get_object(Bucket=archive, Key=key)["Body"].read()
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=366)
    aws.s3().put_object(
        Bucket=archive,
        Key=key,
        Body=body,
        Metadata={"kept": "1y"},
        Tagging="kept=1y&held=yes",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=end,
        ObjectLockLegalHoldStatus="ON",
        ChecksumAlgorithm="SHA256",
    )
    moving.move("t1", new)
    place: Any = {"Bucket": moving.region.places[new].cell.bucket("archive"), "Key": key}
    found = aws.s3().head_object(**place)
    assert (found["Metadata"], found["ObjectLockMode"]) == ({"kept": "1y"}, "GOVERNANCE")
    assert (found["ObjectLockRetainUntilDate"], found["ObjectLockLegalHoldStatus"]) == (end, "ON")
    tags = aws.s3().get_object_tagging(**place)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"kept": "1y", "held": "yes"}
    index = moving.cell(new).table("index").scan()["Items"]
    (item,) = (one for one in index if one.get("eventId") == identity)
    assert (int(str(item["until"])), "forget" in item) == (int(end.timestamp()), False)


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a run be killed right after one of its effects, counted from 0: so, too, right before the next."""
    left = number

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def effect(*args: Any, **how: Any) -> Any:
            nonlocal left
            left -= 1
            found = call(*args, **how)
            if left == -1:
                raise Killed
            return found

        return effect

    with monkeypatch.context() as patched:
        for name in ("index_lines", "put_new", "_write", "finish", "note"):
            patched.setattr(moves, name, deadly(getattr(moves, name)))
        patched.setattr(f"{__name__}.publish", deadly(publish))
        yield


def test_whoever_is_killed_at_any_instant_goes_on(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each moment everything can be read and new events are taken; in the end all is in the new cell."""
    monkeypatch.setattr(moves, "AT_ONCE", 1)
    monkeypatch.setattr(moves, "SETTLED", 0)
    for number in range(20):
        name = f"t{number}"
        reader = moving.tenant(name)
        ids = moving.send(name)
        new = moving.other(name)
        try:
            with killed_at(number, monkeypatch):
                moving.move(name, new)
                moving.move(name, new)
            break
        except Killed:
            moving.bring()
        ids += moving.send(name, second=30)
        assert moving.region.everything(reader) == ids[::-1]
        moving.move(name, new)
        moving.move(name, new)
        moving.bring()
        assert moving.home(name).move is None
        assert (moving.home(name).cell, moving.held(new, name)) == (new, set(ids))
        assert moving.region.everything(reader) == ids[::-1]
        notes = [row["name"] for row in scanned(EVENTS_TABLE) if row["tenantId"] == name]
        assert notes.count("audit.tenant.moved") == 1
    assert number > 5


@pytest.fixture
def command(moving: Moving, audit: Audit, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """`cellwave audit`, with a way into these cells."""

    @contextmanager
    def into(name: str) -> Iterator[InCell]:
        yield moving.cell(name)

    monkeypatch.setattr(cli, "_cell", into)
    return audit


def test_a_move_is_a_command_that_says_how_far_it_is(moving: Moving, command: Audit) -> None:
    """And what is left to do; a second one goes on, and to where it is at home there is nothing to do."""
    moving.tenant("t1")
    moving.send("t1", "t1")
    old, new = moving.home("t1").cell, moving.other("t1")
    code, out, _ = command("move", "acme/t1", new, "--json")
    found = json.loads(out)
    assert (code, found["from"], found["to"], found["state"], found["objects"], found["events"]) == (
        0, old, new, "settling", 1, 2,
    )  # fmt: skip
    code, out, _ = command("move", "acme/t1", new)
    assert code == 0
    assert "run this again" in out
    assert command("move", "acme/t1", old)[0] == 2
    moving.tenant("t2")
    code, out, _ = command("move", "acme/t2", moving.home("t2").cell, "--json")
    assert (code, json.loads(out)["state"]) == (0, "done")


@pytest.mark.parametrize(
    ("tenant", "target", "said"),
    [
        ("acme/t1", "eu-1", "no event leaves its residency"),
        ("acme/t1", "mars", "one of us-1, us-2, us-big, eu-1"),
        ("acme/nobody", "us-1", "acme/nobody"),
        ("acme", "us-1", "a slash"),
    ],
)
def test_nobody_is_moved_out_of_the_residency(
    moving: Moving, command: Audit, tenant: str, target: str, said: str
) -> None:
    """Exit code 2, and nothing is changed."""
    moving.tenant("t1")
    before = homes_in("us")
    code, _, errors = command("move", tenant, target)
    assert code == 2
    assert said in errors
    assert homes_in("us") == before


def test_a_full_cell_takes_nobody(moving: Moving, command: Audit) -> None:
    """It is said how many it has."""
    moving.tenant("t1")
    new = moving.other("t1")
    tell_cells(moving.region.places["us-1"].cell.account, {new: 0})
    code, _, said = command("move", "acme/t1", new)
    assert code == 1
    assert f"{new} has 0 of 0 tenants" in said
    assert moving.home("t1").move is None
