"""SSM parameters."""

from __future__ import annotations

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props


def _create(aws: Aws, new: Props) -> str:
    aws.call("ssm", "put_parameter", new, Overwrite=False)
    return str(new["name"])


def _read(aws: Aws, name: str, prior: Props) -> Props | None:
    found = aws.find("ssm", "get_parameter", Name=name, WithDecryption=True)
    if found is None:
        return None
    filters = [{"Key": "Name", "Values": [name]}]
    details = aws.call("ssm", "describe_parameters", ParameterFilters=filters)["Parameters"]
    return PARAMETER.props({**(details[0] if details else {}), **found["Parameter"]})


def _update(aws: Aws, name: str, new: Props, old: Props) -> None:
    # Tags can't go with an overwrite.
    kept = {key: value for key, value in new.items() if key != "tags"}
    aws.call("ssm", "put_parameter", kept, Overwrite=True)


def _delete(aws: Aws, name: str, state: Props) -> None:
    aws.call("ssm", "delete_parameter", Name=name)


PARAMETER = ResourceType(
    "aws:ssm/parameter:Parameter",
    inputs="name type value description allowedPattern dataType keyId tier tags",
    outputs="arn version",
    replaces="name type dataType",
    name="name",
    defaults={"dataType": "text", "tier": "Standard"},
    tags=tags.SSM,
    create=_create,
    read=_read,
    update=_update,
    delete=_delete,
    recomputed=lambda changed, new: ["version"],
)

TYPES = (PARAMETER,)
