"""Regions that AWS has, each in its partition; what is in no partition is refused."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
from tests.fleet.files import FILES, SHARED, refused

from cellwave.fleet.model import Cell
from cellwave.fleet.parse import parse_fleet
from cellwave.fleet.partitions import PARTITIONS

OWN_PARTITION = {**FILES, "cells/fleet.yaml": SHARED.replace("arn:aws:", "arn:{partition}:")}


def in_region(region: str) -> dict[str, str]:
    """The files, one cell of which is in another region."""
    return {k: v.replace("aws_region: us-west-2", f"aws_region: {region}") for k, v in OWN_PARTITION.items()}


def test_the_table_is_botocores() -> None:
    """Every partition, its regions and the suffix of its hosts."""
    found = json.loads(files("botocore").joinpath("data/partitions.json").read_text())["partitions"]
    assert {
        p["id"]: (
            p["outputs"]["dnsSuffix"],
            tuple(sorted(r for r in p["regions"] if not r.endswith("-global"))),
        )
        for p in found
    } == PARTITIONS


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eusc-de-east-1", "aws-eusc"),
        ("us-gov-west-1", "aws-us-gov"),
        ("cn-north-1", "aws-cn"),
        ("us-isob-east-1", "aws-iso-b"),
        ("mx-central-1", "aws"),
    ],
)
def test_a_region_of_any_partition_has_a_role_of_that_partition(region: str, partition: str) -> None:
    """`{partition}` in the fleet's role is the cell's own."""
    fleet = parse_fleet(in_region(region))
    cell = fleet.cell("us-west-2")
    assert cell.partition == partition
    assert fleet.role_arn(cell) == f"arn:{partition}:iam::200000000003:role/deploy"


def test_a_region_that_aws_has_not_is_refused() -> None:
    """A slip of a letter is named with what was meant."""
    error = refused(in_region("us-wst-2"))
    assert error.where == "cells/us.yaml:5"
    assert "us-wst-2" in error.found
    assert "'us-west-2'" in error.expected


def test_a_role_of_another_partition_is_refused() -> None:
    """It could never be assumed."""
    written = {k: v.replace("{partition}", "aws") for k, v in in_region("us-gov-west-1").items()}
    error = refused(written)
    assert error.where == "cells/fleet.yaml:1"
    assert "aws-us-gov" in error.found


def test_hosts_end_as_their_partition_does() -> None:
    """China's and Europe's own clouds have names of their own."""
    suffixes = {
        r: Cell(name="c", account="1" * 12, aws_region=r).dns_suffix
        for r in ("cn-north-1", "eusc-de-east-1", "us-gov-east-1", "eu-west-1")
    }
    assert suffixes == {
        "cn-north-1": "amazonaws.com.cn",
        "eusc-de-east-1": "amazonaws.eu",
        "us-gov-east-1": "amazonaws.com",
        "eu-west-1": "amazonaws.com",
    }


def test_an_account_in_other_scripts_digits_is_refused() -> None:
    """AWS's account ids are of 0 to 9."""
    arabic = {k: v.replace("200000000003", "٢٠٠٠٠٠٠٠٠٠٠٣") for k, v in OWN_PARTITION.items()}
    assert "12 digits" in refused(arabic).expected
