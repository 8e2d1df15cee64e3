"""A customer for every cell, with keys of the control plane's."""

from __future__ import annotations

from audit.keys import make_key
from audit.publish import publish
from audit.traffic.model import Config, Customer
from cellwave.fleet.homing import home_cell
from cellwave.fleet.model import Cell, Fleet, Region

TENANTS = ("north", "south")


def with_customers(fleet: Fleet, edge_url: str, rate: float) -> Config:
    """Make every customer's keys, and tell the cells; raises botocore's errors when the control plane can't be had."""
    customers = []
    for application, region in invent(fleet):
        customers.append(
            Customer(
                application=application,
                region=region.name,
                events_host=f"events.{region.endpoint}",
                query_host=f"query.{region.endpoint}",
                key=make_key(application, regions=[region.name]),
                tenants={tenant: make_key(application, tenant, [region.name]) for tenant in TENANTS},
            )
        )
    publish()
    return Config(edge_url=edge_url, rate=rate, customers=tuple(customers))


def invent(fleet: Fleet) -> list[tuple[str, Region]]:
    """An application for each cell: a name whose home that cell is."""
    return [(_named(cell, region), region) for region in fleet.regions for cell in region.cells]


def _named(cell: Cell, region: Region) -> str:
    numbers = iter(range(1, 1000))
    return next(
        name for n in numbers if home_cell(name := f"{region.name}-shop-{n}", region.cells).name == cell.name
    )
