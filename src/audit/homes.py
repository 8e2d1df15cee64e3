"""Which cell of a product region is whose home, in the control plane's table: told by the next `publish`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.homing import by_preference

HOMES_TABLE = "control-homes"
CELLS = "cells.json"  # what the control plane's stack says of the cells, in the bucket of snapshots

Holder = tuple[str, str | None]  # an application, or an application and its tenant


@dataclass(frozen=True)
class KnownCell:
    """A cell as the control plane knows it. `tenants` are how many may be at home there, `parent` is what it is
    nested under, and `failover` who takes new events while it is out."""

    name: str
    weight: float
    tenants: int
    failover: str | None = None
    parent: str | None = None


@dataclass(frozen=True)
class KnownRegion:
    """A product region as the control plane knows it: all of its cells are of one residency."""

    name: str
    endpoint: str
    residency: str
    cells: tuple[KnownCell, ...]

    @classmethod
    def of(cls, name: str, told: Any) -> Self:
        """The region in what the stack says."""
        cells = tuple(KnownCell(**cell) for cell in told["cells"])
        return cls(name, told["endpoint"], told["residency"], cells)

    def cell(self, name: str) -> KnownCell | None:
        """The cell of that name; None when it is none of the region's."""
        return next((cell for cell in self.cells if cell.name == name), None)


@dataclass(frozen=True)
class Home:
    """Where an application (`tenant` is None) or its tenant is at home in a region, and was before, newest first."""

    region: str
    application: str
    tenant: str | None
    cell: str
    earlier: tuple[str, ...] = ()
    move: Mapping[str, Any] | None = None  # that is under way: `audit.moves`

    @classmethod
    def of(cls, item: Any) -> Self:
        """The home of an item of the table."""
        application, _, tenant = str(item["holder"]).partition("/")
        earlier = tuple(item.get("earlier", ()))
        return cls(item["region"], application, tenant or None, item["cell"], earlier, item.get("move"))

    @property
    def holder(self) -> Holder:
        """Whose it is."""
        return self.application, self.tenant

    @property
    def key(self) -> dict[str, str]:
        """Where the table has it."""
        return {"region": self.region, "holder": "/".join(part for part in self.holder if part)}


class Full(CellwaveError):
    """No cell has room for a new tenant."""


def known_regions() -> dict[str, KnownRegion]:
    """The product regions and their cells; ClientError where `control.control` is of before there were homes."""
    account = boto3.client("sts").get_caller_identity()["Account"]
    answer = boto3.client("s3").get_object(Bucket=f"control-{account}-directory", Key=CELLS)
    told = json.loads(answer["Body"].read())
    return {name: KnownRegion.of(name, region) for name, region in told.items()}


def homes_in(region: str) -> list[Home]:
    """All homes in a region."""
    table = boto3.resource("dynamodb").Table(HOMES_TABLE)
    asked: Any = {"KeyConditionExpression": Key("region").eq(region), "ConsistentRead": True}
    answer = table.query(**asked)
    items = answer["Items"]
    while "LastEvaluatedKey" in answer:
        answer = table.query(**asked, ExclusiveStartKey=answer["LastEvaluatedKey"])
        items += answer["Items"]
    return [Home.of(item) for item in items]


def residents(homes: Iterable[Home]) -> Counter[str]:
    """How many tenants are at home in each cell."""
    return Counter(home.cell for home in homes if home.tenant is not None)


def new_homes(
    region: KnownRegion,
    holders: Iterable[Holder],
    homes: Sequence[Home],
    *,
    chosen: str = "",
    strict: bool = True,
) -> list[Home]:
    """Homes for those that have none in the region, and for their applications. Pure.

    An application's is the first of its cells, by homing, that has room; its tenants' is the same, or the next one
    with room. Who is named by `holders` is where it is `chosen` to be, and nobody comes into a nested cell otherwise.
    Raises Full; where not `strict`, who finds no room is at home in the first one all the same.
    """
    named = set(holders)
    known = {home.holder: home for home in homes}
    count = residents(homes)
    wanted = named | {(application, None) for application, _ in named}
    found = []
    for application, tenant in sorted(wanted, key=lambda holder: (holder[0], holder[1] or "")):
        if (application, tenant) in known:
            continue
        asked = chosen if (application, tenant) in named else ""
        cells = _preferred(region, application, known.get((application, None)), asked)
        free = [cell for cell in cells if count[cell.name] < cell.tenants]
        if strict and not free:
            raise _full(region, cells, count)
        home = Home(region.name, application, tenant, (free or cells)[0].name)
        known[home.holder] = home
        count[home.cell] += tenant is not None
        found.append(home)
    return found


def _preferred(region: KnownRegion, application: str, own: Home | None, chosen: str) -> list[KnownCell]:
    """The cells that may be a home, the best first."""
    if chosen:
        return [cell for cell in region.cells if cell.name == chosen]
    others = by_preference(application, [cell for cell in region.cells if cell.parent is None])
    first = [cell for cell in region.cells if own and cell.name == own.cell]
    return [*first, *(cell for cell in others if cell not in first)] or list(region.cells)


def _full(region: KnownRegion, cells: Iterable[KnownCell], count: Counter[str]) -> Full:
    said = ", ".join(f"{cell.name} has {count[cell.name]} of {cell.tenants} tenants" for cell in cells)
    return Full(
        f"there is no room for a new tenant in region {region.name}: {said}",
        hint=f"add a cell to region {region.name}, or raise the label `tenants` of one, then `cellwave up control`; "
        "or choose a cell with room by --cell",
    )


def refuse_elsewhere(holders: Iterable[Holder], homes: Iterable[Home], chosen: str) -> None:
    """BadInput when one of these is at home in another cell than the chosen one. Pure."""
    there = {home.holder: home.cell for home in homes}
    for holder in holders:
        if there.get(holder, chosen) != chosen:
            name = "/".join(part for part in holder if part)
            right = f"no --cell, or first `cellwave audit move {name} {chosen}`"
            raise BadInput("--cell", f"found {chosen!r}, but {name} is at home in {there[holder]}", right)


def keep(homes: Iterable[Home]) -> None:
    """Write homes into the table; who has one there by now keeps that."""
    table = boto3.resource("dynamodb").Table(HOMES_TABLE)
    for home in homes:
        try:
            table.put_item(
                Item={**home.key, "cell": home.cell, "earlier": list(home.earlier)},
                ConditionExpression="attribute_not_exists(holder)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def give_homes(
    holders: Sequence[Holder], brought: Sequence[Holder], regions: Sequence[str], chosen: str = ""
) -> None:
    """Give who is new to a region a home there, in the `chosen` cell where it is of that region. What an application
    that is new to a region brings, its tenants, goes where there is room. Raises before anything is changed."""
    known = [region for region in known_regions().values() if region.name in regions]
    if chosen and not any(region.cell(chosen) for region in known):
        right = ", ".join(cell.name for region in known for cell in region.cells)
        raise BadInput("--cell", f"found {chosen!r}", f"one of {right}")
    found: list[Home] = []
    for region in known:
        homes, here = homes_in(region.name), chosen if region.cell(chosen) else ""
        if here:
            refuse_elsewhere(holders, homes, here)
        new = new_homes(region, holders, homes, chosen=here)
        found += [*new, *new_homes(region, brought, [*homes, *new])]
    keep(found)
