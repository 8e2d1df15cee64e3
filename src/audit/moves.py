"""Moving a tenant to another cell of its product region.

What is archived is copied first, while the old cell is its home; then the new one is, and reads ask both; then what
came meanwhile is copied. Each step is written down before the next, and may be done again: whoever is killed goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlencode

import boto3
from botocore.exceptions import ClientError

from audit.cells import InCell
from audit.handlers.common.once import put_new
from audit.handlers.common.retention import attributes, end_in, is_held
from audit.homes import HOMES_TABLE, Home, KnownRegion, homes_in, known_regions, residents
from audit.notes import note
from audit.repair import index_lines, listed
from cellwave.errors import BadInput, CellwaveError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

Step = Literal["copy", "rest", "done"]
# Seconds after which nothing comes to the old home for not knowing better: two minutes until every cell knows, a
# quarter of an hour that an upload session lasts, and what landed in it has time to be archived.
SETTLED = 1800
AT_ONCE = 8  # objects
clock = time.time


@dataclass(frozen=True)
class Move:
    """A move: whose, from where and to where, and what is to be done next. `since` is when the new home became it,
    `began` (in milliseconds) when it was asked for."""

    home: Home
    source: str
    target: str
    step: Step
    since: int = 0
    began: int = 0

    @classmethod
    def of(cls, home: Home) -> Self | None:
        """The move that is under way, if one is."""
        told = home.move
        return (
            cls(home, told["from"], told["to"], told["step"], int(told["since"]), int(told.get("began", 0)))
            if told
            else None
        )

    @property
    def settled(self) -> bool:
        """Whether nothing comes to the old home any more."""
        return self.step == "done" or (self.step == "rest" and clock() >= self.since + SETTLED)


def begin(application: str, tenant: str, target: str) -> Move:
    """The move of that tenant to that cell: the one under way, or a new one. Raises BadInput when it may not be."""
    region, home = _place(application, tenant, target)
    move = Move.of(home)
    if move is None and home.cell == target:
        return Move(home, home.cell, target, "done")
    if move is None:
        _refuse_full(region, target)
        move = Move(home, home.cell, target, "copy", began=int(clock() * 1000))
        _write(move, "attribute_not_exists(move) AND cell = :cell", {":cell": home.cell})
    if move.target != target:
        name = f"{application}/{tenant}"
        raise BadInput(
            "CELL",
            f"found {target!r}, but {name} is on its way to {move.target}",
            f"{move.target}, and then another",
        )
    return move


def switch(move: Move) -> Move:
    """Have the new cell be the home, and the old one an earlier; told by the next `publish`."""
    earlier = tuple(
        dict.fromkeys((move.source, *(cell for cell in move.home.earlier if cell != move.target)))
    )
    done = replace(
        move, home=replace(move.home, cell=move.target, earlier=earlier), step="rest", since=int(clock())
    )
    _write(done, "#move.#step = :copy", {":copy": "copy"})
    return done


def finish(move: Move) -> Move:
    """Have no move be under way any more."""
    _table().update_item(
        Key=move.home.key, UpdateExpression="REMOVE #move", ExpressionAttributeNames={"#move": "move"}
    )
    return replace(move, step="done")


def copy_missing(source: InCell, target: InCell, prefix: str) -> Iterator[tuple[int, int, int]]:
    """Copy what the archive of one cell has below a prefix and another's has not, and index it there.

    Yields how many objects there are to copy, how many are, and the events of the last. Indexed first: an object that
    is in the archive is one that needs nothing any more. One of the same name and another size is kept beside.
    """
    here, there = source.client("s3"), target.client("s3")
    kept = listed(there, target.bucket("archive"), prefix)
    todo = {
        key: key in kept
        for key, size in listed(here, source.bucket("archive"), prefix).items()
        if kept.get(key) != size
    }
    index = target.table("index")

    def copy(key: str) -> int:
        place = {"Bucket": source.bucket("archive"), "Key": key}
        answer = here.get_object(**place)
        body, end, held = answer["Body"].read(), end_in(answer), is_held(answer)
        events = len(index_lines(index, key, body.splitlines(), attributes(end, held)))
        name = f"{key.removesuffix('.jsonl')}.{sha256(body).hexdigest()[:16]}.jsonl" if todo[key] else key
        tags = here.get_object_tagging(**place)["TagSet"]
        put_new(there, target.bucket("archive"), name, body, as_it_is(answer, tags))
        return events

    yield len(todo), 0, 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, events in enumerate(pool.map(copy, todo), start=1):
            yield len(todo), done, events


def as_it_is(answer: Mapping[str, Any], tags: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """What a copy of an archived object is put with: the metadata and tags, the end and the hold of the original. Pure.

    One without an end has the new bucket's, as whatever comes there.
    """
    how: dict[str, Any] = {"Metadata": answer["Metadata"]}
    how |= {"Tagging": urlencode({tag["Key"]: tag["Value"] for tag in tags})}
    if end_in(answer) is not None:
        how |= {name: answer[name] for name in ("ObjectLockMode", "ObjectLockRetainUntilDate")}
    return how | ({"ObjectLockLegalHoldStatus": "ON"} if is_held(answer) else {})


def run(
    move: Move, copy: Callable[[], Iterator[tuple[int, int, int]]], publish: Callable[[], object]
) -> Iterator[tuple[Step, int, int, int]]:
    """Do what is left of a move: yields the step, and how far it is as `copy` says. `copy` copies from the old home to
    the new one, `publish` tells the cells."""
    if move.step == "done":
        return
    settled = move.settled
    if move.step == "copy":
        yield from (("copy", *progress) for progress in copy())
        who, told = move.home, {"from": move.source, "to": move.target}
        # Who goes on after a kill says it once more, of the same deed.
        deed = f"{move.began:013}-{sha256('/'.join(who.key.values()).encode()).hexdigest()[:32]}"
        note(who.application, who.tenant, "audit.tenant.moved", told, [who.region], deed=deed)
        move = switch(move)
    publish()  # once more, should a run before have been killed before it
    yield from (("rest", *progress) for progress in copy())
    if settled:
        finish(move)


def _place(application: str, tenant: str, target: str) -> tuple[KnownRegion, Home]:
    """The region of the cell, and the tenant's home there; BadInput without the one or the other."""
    known, name = known_regions(), f"{application}/{tenant}"
    region = next((one for one in known.values() if one.cell(target)), None)
    if region is None:
        right = ", ".join(cell.name for one in known.values() for cell in one.cells)
        raise BadInput("CELL", f"found {target!r}", f"one of {right}")
    homes = {
        one.name: home
        for one in known.values()
        for home in homes_in(one.name)
        if home.holder == (application, tenant)
    }
    if region.name not in homes:
        there = [f"{home.cell} ({known[place].residency})" for place, home in homes.items()]
        found = (
            f"found {target!r} ({region.residency}), where {name} is not: it is at home in {', '.join(there)}"
        )
        right = "a cell of a region that the tenant is in: no event leaves its residency"
        raise BadInput("CELL", found if there else f"found {name}, which is at home nowhere", right)
    return region, homes[region.name]


def _refuse_full(region: KnownRegion, target: str) -> None:
    cell, count = region.cell(target), residents(homes_in(region.name))[target]
    if cell is not None and count >= cell.tenants:
        raise CellwaveError(
            f"{target} has {count} of {cell.tenants} tenants",
            hint=f"raise the label `tenants` of {target}, then `cellwave up control`; or choose another cell",
        )


def _write(move: Move, condition: str, values: dict[str, str]) -> None:
    """Write a move down, where nobody else has meanwhile: CellwaveError then."""
    told = {
        "from": move.source,
        "to": move.target,
        "step": move.step,
        "since": move.since,
        "began": move.began,
    }
    try:
        _table().update_item(
            Key=move.home.key,
            UpdateExpression="SET #move = :move, cell = :home, earlier = :earlier",
            ConditionExpression=condition.replace("(move)", "(#move)"),
            ExpressionAttributeNames={"#move": "move", **({"#step": "step"} if "#step" in condition else {})},
            ExpressionAttributeValues={
                ":move": told,
                ":home": move.home.cell,
                ":earlier": list(move.home.earlier),
                **values,
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise CellwaveError(
            "somebody else moves this tenant", hint="run it again: it goes on where that is"
        ) from None


def _table() -> Table:
    return boto3.resource("dynamodb").Table(HOMES_TABLE)
