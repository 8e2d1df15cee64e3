"""Whose is what a text names? By the account and region of its ARNs, and by account ids that stand in it. Pure.

Of ARNs: docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html. IAM, Route 53, CloudFront and Organizations
name no region, S3 neither a region nor an account.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from cellwave.fleet.model import Cell, Place, Rule
from cellwave.isolation.model import Bounds
from cellwave.isolation.shown import shown

# One may stand in another (an integration's URI), so the search goes on behind each beginning.
ARN = re.compile(
    r"(?=(?P<whole>arn:(?:aws[^:\s\"']*|[^:\s\"']*\*[^:\s\"']*):(?P<service>[^:\s\"']*):(?P<region>[^:\s\"']*)"
    r":(?P<account>[^:\s\"']*):(?P<resource>[^\s\"',;]*)))"
)
WORD = re.compile(r"[\w.:/*-]+@?")
NAME = re.compile(r"(?<![\w-])[a-z0-9]+-[a-z0-9-]+")
ACCOUNT = re.compile(r"(?<![0-9])[0-9]{12}(?![0-9])")
NOBODYS = ("", "aws")  # what stands for an account where it has none, or where something is AWS's own


@dataclass(frozen=True)
class Stranger:
    """Something of another's: the rule that is against it, what it is, and whose in words. `sure` when it is another
    cell's by account and region, and no guess by a name."""

    rule: Rule
    what: str
    whose: str
    sure: bool = False


def strangers(text: str, bounds: Bounds, own_buckets: Collection[str]) -> Iterator[Stranger]:
    """What a text names that is not the cell's."""
    known = set()
    for arn in ARN.finditer(text):
        known.add(arn["account"])
        if stranger := _of_arn(arn, bounds, own_buckets):
            yield stranger
    for word in WORD.findall(text):
        for account in ACCOUNT.findall(word):
            if account not in {*known, bounds.place.account} and (cells := _in(bounds, account)):
                known.add(account)
                what = shown(word).rstrip("@")
                yield _cells(what if account in what else account, cells, bounds)


def named(text: str, bounds: Bounds) -> Iterator[Stranger]:
    """The names in a text that begin with another cell's, such as `us-east-1-data`; those in ARNs aside."""
    for word in WORD.findall(text):
        if not ARN.search(word):
            for name in NAME.findall(word):
                others = [] if _is_named(name, bounds.place) else _named(name, _cells_of(bounds))
                # A cell's whole name may be that of a region.
                if others and name not in (cell.name for cell in others):
                    yield _cells(name, others, bounds, sure=False)


def of_account(account: str, bounds: Bounds) -> Stranger | None:
    """Whose an account id is, where it stands for a whole account; None for the cell's own."""
    if account == bounds.place.account:
        return None
    if cells := _in(bounds, account):
        return _cells(account, cells, bounds)
    return Stranger("foreign-account", account, f"account {account}, which is no cell's")


def of_bucket(name: str, what: str, bounds: Bounds, own_buckets: Collection[str]) -> Stranger | None:
    """Whose a bucket is, by its name, which `what` has; None for the cell's own."""
    place = bounds.place
    if name in own_buckets or _is_named(name, place) or place.account in name:
        return None
    cells = [c for c in _cells_of(bounds) if c.account in name] or _named(name, _cells_of(bounds))
    if cells and cells[0].name != place.cell:
        return _cells(what, cells, bounds, sure=cells[0].account in name)
    return Stranger("foreign-account", what, f"the bucket {name!r}, of which nobody knows whose it is")


def _of_arn(arn: re.Match[str], bounds: Bounds, own_buckets: Collection[str]) -> Stranger | None:
    place, whole, account, region = bounds.place, arn["whole"], arn["account"], arn["region"]
    if arn["service"] == "apigateway":  # has the service that is called there instead
        account = ""
    if account not in (*NOBODYS, place.account):
        if not re.fullmatch("[0-9]{12}", account):
            return Stranger("foreign-account", whole, f"something of any account ({account!r})")
        cells = _in(bounds, account)
        here = [cell for cell in cells if cell.aws_region == region] or cells
        if here:
            return _cells(whole, here, bounds)
        return Stranger("foreign-account", whole, f"something of account {account}, which is no cell's")
    if region not in ("", place.aws_region):
        cells = [c for c in _in(bounds, place.account) if c.aws_region == region and account]
        if cells:
            return _cells(whole, cells, bounds)
        return Stranger("foreign-region", whole, f"something in {region}")
    return _by_name(arn, bounds, own_buckets) if bounds.strict and not region else None


def _by_name(arn: re.Match[str], bounds: Bounds, own_buckets: Collection[str]) -> Stranger | None:
    """What has a name alone: a bucket, or what IAM has of an account that holds several cells."""
    place, whole = bounds.place, arn["whole"]
    if arn["service"] == "s3":
        return of_bucket(arn["resource"].split("/")[0], whole, bounds, own_buckets)
    name = arn["resource"].rsplit("/", 1)[-1]
    if arn["account"] != place.account or _is_named(name, place):
        return None
    cells = _named(name, _in(bounds, place.account))
    return _cells(whole, cells, bounds, sure=False) if cells and cells[0].name != place.cell else None


def _is_named(name: str, place: Place) -> bool:
    return name == place.cell or name.startswith(f"{place.cell}-")


def _named(name: str, cells: Iterable[Cell]) -> list[Cell]:
    """The cell that a name begins with, of several the longest."""
    found = [cell for cell in cells if name == cell.name or name.startswith(f"{cell.name}-")]
    return sorted(found, key=lambda cell: len(cell.name))[-1:]


def _cells_of(bounds: Bounds) -> tuple[Cell, ...]:
    fleet = bounds.fleet()
    return fleet.every_cell if fleet else ()


def _in(bounds: Bounds, account: str) -> list[Cell]:
    """The fleet's cells in an account, without the cell itself."""
    return [c for c in _cells_of(bounds) if c.account == account and c.name != bounds.place.cell]


def _cells(what: str, cells: list[Cell], bounds: Bounds, *, sure: bool = True) -> Stranger:
    """Cells' something: the control plane's when it is none of the others'."""
    fleet = bounds.fleet()
    control = fleet.control.name if fleet and fleet.control else ""
    names = [cell.name for cell in cells if cell.name != control]
    if not names:
        return Stranger("control-plane", what, f"something of the control plane ({control})")
    certain = sure and bounds.place.cell != control  # the control plane is there to speak to cells
    return Stranger("other-cell", what, f"something of cell {' or '.join(names)}", certain)
