"""Addresses that code is told: are they in the cell? Pure.

Of AWS's hosts: docs.aws.amazon.com/general/latest/gr/rande.html. Most have the region before the suffix; those that
stand for one database or load balancer have it before the service (`db.abc.us-west-2.rds.amazonaws.com`), and those of
a cache in short (`c.abc.usw2.cache.amazonaws.com`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from cellwave.fleet.partitions import dns_suffix_of
from cellwave.isolation.arns import of_bucket
from cellwave.isolation.model import Bounds

URL = re.compile(r"\b[a-z][a-z0-9+.]*://[^\s\"'<>]+", re.IGNORECASE)
# Private networks (RFC 1918, RFC 4193), the machine itself, and its link: AWS answers for it there.
PRIVATE = [
    ip_network(net)
    for net in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "::1/128", "fc00::/7",
        "fe80::/10",
    )
]  # fmt: skip


def host(url: str) -> str:
    """Its host; "" for one that has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_inside(url: str, bounds: Bounds, own_buckets: Collection[str]) -> bool:
    """Whether it is private, a bucket of the cell's, or AWS's in the cell's region."""
    name = host(url)
    if url.lower().startswith("s3://"):
        return bool(name) and of_bucket(name, name, bounds, own_buckets) is None
    return name == "localhost" or _is_private(name) or _is_regional(name, bounds.place.aws_region)


def _is_private(name: str) -> bool:
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return any(address in network for network in PRIVATE)


def _is_regional(name: str, region: str) -> bool:
    """Neither a bucket of any region's whose name ends so, nor a machine with a public address."""
    suffix, own = re.escape(dns_suffix_of(region)), re.escape(region)
    ends = (
        rf"{own}\.(?:{suffix}|on\.aws|api\.aws)",
        rf"{own}\.(?!s3|compute)[a-z0-9-]+\.{suffix}",
        rf"{re.escape(_short(region))}\.cache\.{suffix}",
    )
    return re.search(rf"(?:^|\.)(?:{'|'.join(ends)})$", name) is not None


def _short(region: str) -> str:
    """As a cache's host has it: `usw2` for us-west-2, `apse1` for ap-southeast-1."""
    area, number = region.partition("-")[0], region.rpartition("-")[2]
    return area + "".join(way[0] for way in re.findall("north|south|east|west|central", region)) + number
