"""Which resources are in their cell, by what the engine writes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwave.deploy.placed import configuration
from cellwave.fleet.model import Place
from cellwave.isolation import place as rule
from cellwave.states import UNKNOWN
from tests.isolation.graph import provider, resource

ROLE = "arn:aws:iam::200000000001:role/deploy"
PLACE = Place(cell="here", account="200000000001", aws_region="eu-west-1", role=ROLE)
HELD = {"region": "eu-west-1", "allowedAccountIds": '["200000000001"]'}


def foreign(resources: list[dict[str, Any]], place: Place) -> list[str]:
    """What is found, in words."""
    return [finding.words for finding in rule.foreign(resources, place)]


@pytest.mark.parametrize(
    "inputs",
    [
        HELD,
        {"region": "eu-west-1", "assumeRoles": [{"roleArn": ROLE}]},
        {"region": "eu-west-1", "assumeRoles": [{"roleArn": "arn:aws:iam::1:role/hop"}, {"roleArn": ROLE}]},
        {"region": "eu-west-1", "assumeRole": {"roleArn": ROLE}},
    ],
)
def test_a_provider_of_the_cells_region_and_account_is_in_the_cell(inputs: dict[str, Any]) -> None:
    """Held to the account by name, or by a role of it."""
    through = provider(**inputs)
    assert foreign([through, resource(through)], PLACE) == []


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({}, "names none"),
        ({"region": "eu-west-1"}, "nothing holds"),
        ({**HELD, "region": "us-east-1"}, "is for us-east-1"),
        ({**HELD, "region": UNKNOWN}, "names none that is known"),
        ({**HELD, "allowedAccountIds": ["200000000002"]}, "nothing holds"),
        ({**HELD, "allowedAccountIds": ["200000000001", "200000000002"]}, "nothing holds"),
        ({**HELD, "allowedAccountIds": UNKNOWN}, "nothing holds"),
        (
            {"region": "eu-west-1", "assumeRoles": [{"roleArn": "arn:aws:iam::200000000002:role/x"}]},
            "nothing holds",
        ),
        (
            {"region": "eu-west-1", "assumeRoles": [{"roleArn": ROLE}, {"roleArn": "arn:aws:iam::2:role/x"}]},
            "nothing",
        ),
        ({"region": "eu-west-1", "profile": "mine"}, "nothing holds"),
    ],
)
def test_any_other_provider_is_foreign(inputs: dict[str, Any], why: str) -> None:
    """What would fall back to the shell's region or account included."""
    through = provider("east", **inputs)
    (found,) = foreign([through, resource(through)], PLACE)
    assert why in found
    assert "aws:sqs/queue:Queue jobs" in found


def test_a_resource_without_its_provider_is_foreign() -> None:
    """Nothing is taken for granted."""
    assert foreign([resource(None)], PLACE)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"inputs": {"region": "us-east-1"}}, "is in us-east-1"),
        ({"outputs": {"region": "us-east-1"}}, "is in us-east-1"),
        ({"outputs": {"arn": "arn:aws:sqs:us-east-1:200000000001:jobs"}}, "is in us-east-1"),
        ({"outputs": {"arn": "arn:aws:sqs:eu-west-1:200000000002:jobs"}}, "is in account 200000000002"),
        ({"outputs": {"arn": "arn:aws-us-gov:iam::200000000002:role/x"}}, "is in account 200000000002"),
    ],
)
def test_what_a_resource_says_of_itself_counts_more_than_its_provider(
    parts: dict[str, Any], why: str
) -> None:
    """A resource may name a region of its own, and its ARN is what AWS says."""
    through = provider(**HELD)
    (found,) = foreign([through, resource(through, **parts)], PLACE)
    assert why in found


@pytest.mark.parametrize("arn", ["arn:aws:s3:::bucket", "arn:aws:iam::aws:policy/ReadOnly", UNKNOWN, None])
def test_an_arn_without_account_or_region_proves_nothing(arn: str | None) -> None:
    """S3 and IAM name none; a preview knows none."""
    through = provider(**HELD)
    assert foreign([through, resource(through, outputs={"arn": arn, "region": UNKNOWN})], PLACE) == []


def test_other_clouds_components_and_what_is_being_deleted_are_not_looked_at() -> None:
    """Only what is AWS's and is to stay."""
    east = provider("east", region="us-east-1")
    others = [
        resource(None, "random:index/randomPet:RandomPet"),
        resource(None, "my:own:Component", custom=False),
        resource(None, "aws:component:Thing", custom=False),
        {**resource(east), "delete": True},
    ]
    assert foreign([east, *others], PLACE) == []


@given(st.sampled_from(["aws", "aws-native"]), st.sampled_from([None, ROLE]))
def test_the_configuration_given_is_the_one_that_is_asked_for(package: str, role: str | None) -> None:
    """A default provider made of it is in the cell."""
    place = PLACE.model_copy(update={"role": role})
    given = configuration(place, "here.app")
    inputs = {key.split(":")[1]: value for key, value in given.items() if key.startswith(f"{package}:")}
    through = provider(package=package, **inputs)
    kind = "aws:sqs/queue:Queue" if package == "aws" else "aws-native:sqs:Queue"
    assert foreign([through, resource(through, kind)], place) == []
