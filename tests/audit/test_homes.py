"""Each tenant has a home: a cell of each product region that knows it. Cells have a size, and are full."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import keys
from audit.handlers.common.directory import Directory
from audit.homes import Full, Home, KnownCell, KnownRegion, homes_in, new_homes, residents
from audit.publish import publish
from cellwave.fleet.homing import by_preference, home_cell
from tests.audit.support import Audit, AuditCell, tell_cells

FIRST, SECOND = KnownCell("us-1", 1.0, 3), KnownCell("us-2", 1.0, 2)
NESTED = KnownCell("us-big", 1.0, 9, parent="us-1")
US = KnownRegion("us", "us.audit.example", "US", (FIRST, SECOND, NESTED))
names = st.sampled_from(["a", "b", "c", "d"])


def told(region: str) -> Directory:
    """What the control plane tells the cells of a region."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    answer = boto3.client("s3").get_object(Bucket=f"control-{account}-directory", Key=f"{region}.json")
    content: Any = json.loads(answer["Body"].read())
    return Directory(content["applications"], None, content["endpoint"], content["cells"])


@given(st.lists(st.tuples(names, st.integers(0, 9).map(str)), max_size=5, unique=True))
def test_homes_are_never_more_than_there_is_room_for(holders: list[tuple[str, str]]) -> None:
    """Nobody is in a nested cell by itself, all of an application are together where that has room, and what was
    decided stays."""
    homes: list[Home] = []
    for holder in holders:
        homes += new_homes(US, [holder], homes)
        assert new_homes(US, [holder], homes) == []
    assert Counter(home.holder for home in homes if home.tenant) == Counter(holders)
    count = residents(homes)
    assert all(count[cell.name] <= cell.tenants for cell in US.cells)
    assert count["us-big"] == 0
    own = {home.application: home.cell for home in homes if home.tenant is None}
    for home in homes:
        if home.cell != own[home.application]:
            assert count[own[home.application]] == US.cell(own[home.application]).tenants  # type: ignore[union-attr]


def test_an_application_is_at_home_where_homing_says() -> None:
    """So that cells get their share, by weight; where that cell is full, in the next by the same order."""
    (own,) = new_homes(US, [("a", None)], [])
    order = [cell.name for cell in by_preference("a", (FIRST, SECOND))]
    assert own.cell == order[0] == home_cell("a", (FIRST, SECOND)).name
    full = [Home("us", "z", str(n), order[0]) for n in range(3)]
    assert [home.cell for home in new_homes(US, [("a", "t")], full)] == [order[1]] * 2


def test_a_region_without_room_says_so() -> None:
    """And what would help; who is there by publication only is taken all the same."""
    full = [Home("us", "z", str(n), cell.name) for cell in (FIRST, SECOND) for n in range(cell.tenants)]
    with pytest.raises(Full) as refused:
        new_homes(US, [("a", "t")], full)
    assert "us-1 has 3 of 3 tenants" in refused.value.message
    assert "us-2 has 2 of 2 tenants" in refused.value.message
    assert "raise the label `tenants`" in refused.value.hint
    assert len(new_homes(US, [("a", "t")], full, strict=False)) == 2


def test_new_tenants_go_to_the_next_cell_when_one_is_full(control: AuditCell, audit: Audit) -> None:
    """The commands say who is where; when nothing has room, no key is made and nothing is changed."""
    tell_cells(control.account, {"us-1": 1, "us-2": 1, "eu-1": 5})
    assert audit("key", "acme/one", "--region", "us")[0] == 0
    assert audit("key", "acme/two", "--region", "us")[0] == 0
    code, listed, _ = audit("cells", "--json")
    found = {one["name"]: (one["home"], one["full"]) for one in json.loads(listed)}
    assert (code, found) == (0, {"us-1": (1, True), "us-2": (1, True), "eu-1": (0, False)})
    assert "full" in audit("cells")[1]
    before = keys.list_keys()
    code, _, said = audit("key", "acme/three", "--region", "us")
    assert code == 1
    assert "there is no room for a new tenant in region us" in said
    assert keys.list_keys() == before
    assert audit("key", "acme/one", "acme", "--region", "us")[0] == 0


def test_a_nested_cell_is_by_choice_alone(control: AuditCell, audit: Audit) -> None:
    """Its tenant's application stays where it is; who is elsewhere is moved, and not made a key for."""
    tell_cells(control.account, nested={"us-big": "us-1"})
    assert audit("key", "acme/large", "acme/small", "--cell", "us-big", "--region", "us")[0] == 0
    assert audit("key", "acme/other", "--region", "us")[0] == 0
    homes = {home.tenant: home.cell for home in homes_in("us")}
    assert (homes["large"], homes["small"]) == ("us-big", "us-big")
    assert homes["other"] == homes[None] != "us-big"
    code, _, said = audit("key", "acme/other", "--cell", "us-big")
    assert code == 2
    assert "`cellwave audit move acme/other us-big`" in said
    code, _, said = audit("key", "acme/new", "--cell", "mars")
    assert code == 2
    assert "one of us-1, us-2, us-big, eu-1" in said


def test_the_cells_are_told_of_homes(control: AuditCell, audit: Audit) -> None:
    """Of a tenant's that is not its application's, and of who takes over from whom; a region's own alone."""
    tell_cells(control.account, nested={"us-big": "us-1"})
    assert audit("key", "acme", "acme/plain")[0] == 0
    assert audit("key", "acme/large", "--cell", "us-big", "--region", "us")[0] == 0
    us, eu = told("us"), told("eu")
    home = us.applications["acme"]["home"]
    assert us.places("acme", "large") == ("us-big", home)
    assert us.places("acme", "plain") == us.places("acme", "nobody") == us.places("acme") == (home,)
    assert eu.places("acme", "large") == eu.places("acme", "plain") == ("eu-1",)
    assert us.cells == {"us-1": {"failover": "us-2"}, "us-2": {"failover": "us-1"}, "us-big": {}}
    assert (us.endpoint, us.places("nobody")) == ("us.audit.example", ())


def test_the_cells_are_told_who_took_over_before(control: AuditCell) -> None:
    """It has what it took in still; who takes over again is no partner of before."""
    place: Any = {"Bucket": f"control-{control.account}-directory", "Key": "cells.json"}
    known = json.loads(boto3.client("s3").get_object(**place)["Body"].read())

    def publish_with(partner: str | None) -> dict[str, Any]:
        known["us"]["cells"][0]["failover"] = partner
        boto3.client("s3").put_object(**place, Body=json.dumps(known).encode())
        publish()
        return dict(told("us").cells["us-1"])

    assert publish_with("us-2") == {"failover": "us-2"}
    assert publish_with(None) == publish_with(None) == {"earlier": ["us-2"]}
    assert publish_with("us-3") == {"failover": "us-3", "earlier": ["us-2"]}
    assert publish_with("us-2") == {"failover": "us-2", "earlier": ["us-3"]}


def test_who_is_of_before_there_were_homes_gets_one(control: AuditCell) -> None:
    """At the next publication, where homing has had it; a full cell keeps nobody out who is there, and a home stays."""
    tell_cells(control.account, {"us-1": 0, "us-2": 0, "eu-1": 0})
    keys.make_key("acme", "t1")
    publish()
    cells = [KnownCell("us-1", 1.0, 0), KnownCell("us-2", 1.0, 0)]
    assert told("us").places("acme", "t1") == (home_cell("acme", cells).name,)
    before = homes_in("us")
    tell_cells(control.account, nested={"us-3": "us-1"})
    publish()
    assert homes_in("us") == before
