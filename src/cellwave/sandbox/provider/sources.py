"""The data sources that the provider answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cellwave.fleet.partitions import dns_suffix_of, partition_of
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.values import Props


@dataclass(frozen=True)
class Source:
    """A data source: the names of its outputs, all of them texts, and how they are read."""

    outputs: str
    read: Callable[[Aws], Props]


def _caller(aws: Aws) -> Props:
    found = aws.call("sts", "get_caller_identity")
    return {
        "id": found["Account"],
        "accountId": found["Account"],
        "arn": found["Arn"],
        "userId": found["UserId"],
    }


def _region(aws: Aws) -> Props:
    return {
        "id": aws.region,
        "name": aws.region,
        "region": aws.region,
        "description": aws.region,
        "endpoint": "",
    }


def _partition(aws: Aws) -> Props:
    name, suffix = partition_of(aws.region), dns_suffix_of(aws.region)
    reverse = ".".join(reversed(suffix.split(".")))
    return {"id": name, "partition": name, "dnsSuffix": suffix, "reverseDnsPrefix": reverse}


SOURCES = {
    "aws:index/getCallerIdentity:getCallerIdentity": Source("id accountId arn userId", _caller),
    "aws:index/getRegion:getRegion": Source("id name region description endpoint", _region),
    "aws:index/getPartition:getPartition": Source("id partition dnsSuffix reverseDnsPrefix", _partition),
}
