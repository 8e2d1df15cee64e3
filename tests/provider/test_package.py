"""The provider's package schema, which language hosts such as YAML's ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from cellwave.sandbox.provider.kinds import TYPES
from cellwave.sandbox.provider.package import package
from cellwave.sandbox.provider.sources import SOURCES
from cellwave.sandbox.provider.values import from_struct
from tests.provider.engine import Engine


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema as a host gets it."""
    return json.loads(json.dumps(package("7.1.0")))


def references(value: Any) -> Iterator[str]:
    """Every `$ref` in a schema."""
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_it_has_every_type_that_the_provider_implements(schema: Any) -> None:
    """Each with the inputs that it implements, and the outputs that AWS computes."""
    assert schema["resources"].keys() == TYPES.keys()
    for token, kind in TYPES.items():
        resource = schema["resources"][token]
        assert kind.known <= resource["inputProperties"].keys()
        assert kind.known | kind.computed <= resource["properties"].keys()


def test_every_reference_leads_somewhere(schema: Any) -> None:
    """To a nested type of its own, or to one that every schema has."""
    found = set(references(schema))
    own = {f"#/types/{token}" for token in schema["types"]}
    assert own <= found, "a type that nothing refers to"
    assert found <= own | {f"pulumi.json#/{name}" for name in ("Any", "Asset", "Archive")}


@pytest.mark.parametrize(
    ("token", "required"),
    [
        ("aws:sqs/queue:Queue", []),
        ("aws:sqs/queuePolicy:QueuePolicy", ["policy", "queueUrl"]),
        ("aws:lambda/permission:Permission", ["action", "function", "principal"]),
        ("aws:ssm/parameter:Parameter", ["type"]),
    ],
)
def test_required_inputs_are_those_of_pulumi_aws(schema: Any, token: str, required: list[str]) -> None:
    """What pulumi_aws can't do without, and nothing else."""
    assert schema["resources"][token]["requiredInputs"] == required


def test_nested_types_and_unions_are_told(schema: Any) -> None:
    """A table's attributes are objects with two texts; a policy is a text or an object; code is an archive."""
    resources = schema["resources"]
    attributes = resources["aws:dynamodb/table:Table"]["inputProperties"]["attributes"]
    attribute = schema["types"][attributes["items"]["$ref"].removeprefix("#/types/")]
    assert attribute["required"] == ["name", "type"]
    assert attribute["properties"] == {"name": {"type": "string"}, "type": {"type": "string"}}
    policy = resources["aws:iam/role:Role"]["inputProperties"]["assumeRolePolicy"]
    assert {"type": "string"} in policy["oneOf"]
    code = resources["aws:lambda/function:Function"]["inputProperties"]["code"]
    assert code == {"$ref": "pulumi.json#/Archive"}


@pytest.mark.parametrize("token", SOURCES)
def test_a_data_source_gives_what_the_schema_says(schema: Any, engine: Engine, token: str) -> None:
    """Every output, and no other."""
    answer = engine.stub.Invoke(provider_pb2.InvokeRequest(tok=token))
    outputs = schema["functions"][token]["outputs"]
    assert from_struct(getattr(answer, "return")).keys() == outputs["properties"].keys()


def test_the_provider_s_own_settings_are_told(schema: Any) -> None:
    """A program may make a provider of its own: region, accounts and roles are known by name and type."""
    settings = schema["provider"]["inputProperties"]
    assert settings["region"] == {"type": "string"}
    assert settings["allowedAccountIds"] == {"type": "array", "items": {"type": "string"}}
    assert "roleArn" in schema["types"]["aws:index/ProviderAssumeRole:ProviderAssumeRole"]["properties"]
