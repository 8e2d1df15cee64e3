"""Lambda functions, aliases, permissions, event source mappings, and calls that a deployment makes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.archive import archive_zip
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props, same

_NAMES = {
    "name": "FunctionName",
    "arn": "FunctionArn",
    "sourceCodeSize": "CodeSize",
    "kmsKeyArn": "KMSKeyArn",
}
_CODE = frozenset({"code", "s3Bucket", "s3Key", "s3ObjectVersion", "sourceCodeHash", "architectures"})
# Changes that neither change what runs nor make a new version.
_ASIDE = frozenset({"tags", "publish", "reservedConcurrentExecutions"})


def _code(new: Props) -> Props:
    if "code" in new:
        return {"ZipFile": archive_zip(new["code"])}
    where = {"S3Bucket": "s3Bucket", "S3Key": "s3Key", "S3ObjectVersion": "s3ObjectVersion"}
    return {api: new[prop] for api, prop in where.items() if prop in new}


def _create(aws: Aws, new: Props) -> str:
    given = {key: value for key, value in new.items() if key != "code"}
    aws.call("lambda", "create_function", given, _NAMES, Code=_code(new))
    return str(new["name"])


def _update(aws: Aws, name: str, new: Props, old: Props) -> None:
    _wait(aws, name)
    if old:
        _update_function(aws, name, new, old)
    reserved = new["reservedConcurrentExecutions"]
    if reserved != old.get("reservedConcurrentExecutions", -1):
        if reserved < 0:
            aws.call("lambda", "delete_function_concurrency", FunctionName=name)
        else:
            aws.call("lambda", "put_function_concurrency", new, _NAMES)


def _update_function(aws: Aws, name: str, new: Props, old: Props) -> None:
    """Settings first, then code, then one version of both."""
    changed = {key for key in new.keys() | old.keys() if not same(new.get(key), old.get(key))}
    if changed - _CODE - _ASIDE:
        kept = {key: value for key, value in new.items() if key not in _CODE}
        aws.call("lambda", "update_function_configuration", _emptied(kept, old), _NAMES)
        _wait(aws, name)
    if changed & _CODE:
        aws.call(
            "lambda",
            "update_function_code",
            FunctionName=name,
            Architectures=new["architectures"],
            **_code(new),
        )
        _wait(aws, name)
    if new.get("publish") and (changed - _ASIDE or "publish" in changed):
        aws.call("lambda", "publish_version", FunctionName=name)


def _emptied(new: Props, old: Props) -> Props:
    """The settings with an empty one for each that was taken back: one left out would stay as it was."""
    empty = {
        "environment": {"variables": {}},
        "description": "",
        "deadLetterConfig": {"targetArn": ""},
        "kmsKeyArn": "",
    }
    return {key: value for key, value in empty.items() if key in old} | new


def _wait(aws: Aws, name: str) -> None:
    aws.wait("lambda", "function_updated_v2", FunctionName=name)


def _read(aws: Aws, name: str, prior: Props) -> Props | None:
    answer = aws.find("lambda", "get_function", FunctionName=name)
    if answer is None:
        return None
    found = answer["Configuration"]
    if not found.get("Environment", {}).get("Variables"):
        found.pop("Environment", None)
    arn, version = found["FunctionArn"], _version(aws, name) if prior.get("publish") else "$LATEST"
    return {
        **FUNCTION.props(found),
        "reservedConcurrentExecutions": answer.get("Concurrency", {}).get("ReservedConcurrentExecutions", -1),
        "tags": answer.get("Tags", {}),
        "version": version,
        "qualifiedArn": f"{arn}:{version}",
        "invokeArn": _invoke_arn(aws, arn),
        "qualifiedInvokeArn": _invoke_arn(aws, f"{arn}:{version}"),
    }


def _version(aws: Aws, name: str) -> str:
    """The latest published version."""
    pages = aws.client("lambda").get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return str([version["Version"] for page in pages for version in page["Versions"]][-1])


def _invoke_arn(aws: Aws, arn: str) -> str:
    return f"arn:aws:apigateway:{aws.region}:lambda:path/2015-03-31/functions/{arn}/invocations"


def _delete(aws: Aws, name: str, state: Props) -> None:
    aws.call("lambda", "delete_function", FunctionName=name)


def _recomputed(changed: frozenset[str], new: Props) -> Iterable[str]:
    if changed & _CODE:
        yield from ("codeSha256", "sourceCodeSize")
    if changed - _ASIDE:
        yield "lastModified"
    if "publish" in changed or (new.get("publish") and changed - _ASIDE):
        yield from ("version", "qualifiedArn", "qualifiedInvokeArn")


FUNCTION = ResourceType(
    "aws:lambda/function:Function",
    inputs="name role code s3Bucket s3Key s3ObjectVersion sourceCodeHash handler runtime architectures description "
    "environment memorySize timeout packageType publish reservedConcurrentExecutions deadLetterConfig "
    "tracingConfig ephemeralStorage kmsKeyArn tags",
    outputs="arn codeSha256 invokeArn lastModified qualifiedArn qualifiedInvokeArn sourceCodeSize version",
    local="publish sourceCodeHash",
    witness=dict.fromkeys(("code", "s3Bucket", "s3Key", "s3ObjectVersion"), "codeSha256"),
    replaces="name packageType",
    name="name",
    defaults={
        "architectures": ["x86_64"],
        "memorySize": 128,
        "timeout": 3,
        "packageType": "Zip",
        "reservedConcurrentExecutions": -1,
        "tracingConfig": {"mode": "PassThrough"},
        "ephemeralStorage": {"size": 512},
    },
    tags=tags.LAMBDA,
    rename=_NAMES,
    create=_create,
    finish=True,
    read=_read,
    update=_update,
    delete=_delete,
    recomputed=_recomputed,
)


def _said(prior: Props, prop: str, arn: str) -> str:
    """A function as the program named it (name or ARN), if that still names the function of this ARN; else the ARN."""
    named = str(prior.get(prop, ""))
    return named if named and (arn == named or arn.endswith(f":function:{named}")) else arn


def _alias_of(ref: str) -> Props:
    """An alias by its ARN, or by `<function>/<alias>` on import."""
    function, name = ref.split("/") if "/" in ref else ref.rsplit(":", 2)[-2:]
    return {"FunctionName": function, "Name": name}


def _create_alias(aws: Aws, new: Props) -> str:
    return str(aws.call("lambda", "create_alias", new)["AliasArn"])


def _read_alias(aws: Aws, ref: str, prior: Props) -> Props | None:
    found = aws.find("lambda", "get_alias", **_alias_of(ref))
    if found is None:
        return None
    arn = found["AliasArn"]
    function = arn.rsplit(":", 1)[0]
    known = prior or {"functionName": function.rsplit(":", 1)[-1]}
    return {
        **ALIAS.props(found),
        "arn": arn,
        "functionName": _said(known, "functionName", function),
        "invokeArn": _invoke_arn(aws, arn),
    }


def _update_alias(aws: Aws, ref: str, new: Props, old: Props) -> None:
    weights = new.get("routingConfig", {"additionalVersionWeights": {}})
    aws.call("lambda", "update_alias", {"description": "", **new, "routingConfig": weights})


def _delete_alias(aws: Aws, ref: str, state: Props) -> None:
    aws.call("lambda", "delete_alias", **_alias_of(ref))


ALIAS = ResourceType(
    "aws:lambda/alias:Alias",
    inputs="name functionName functionVersion description routingConfig",
    outputs="arn invokeArn",
    replaces="name functionName",
    name="name",
    identity="name functionName",
    create=_create_alias,
    read=_read_alias,
    update=_update_alias,
    delete=_delete_alias,
)


def _permitted(state: Props) -> Props:
    """The function (and qualifier) of a permission; on import both are `<function's name>[:<qualifier>]`."""
    name, _, qualifier = str(state["function"]).rsplit(":function:", 1)[-1].partition(":")
    qualifier = state.get("qualifier", qualifier)
    return {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}


def _permit(aws: Aws, new: Props) -> str:
    aws.call("lambda", "add_permission", new, {"function": "FunctionName"})
    return str(new["statementId"])


def _read_permission(aws: Aws, statement: str, prior: Props) -> Props | None:
    target = _permitted(prior)
    answer = aws.find("lambda", "get_policy", **target)
    statements = json.loads(answer["Policy"])["Statement"] if answer else []
    found = next((item for item in statements if item["Sid"] == statement), None)
    if found is None:
        return None
    conditions = {k.lower(): v for test in found.get("Condition", {}).values() for k, v in test.items()}
    who, name = found["Principal"], target["FunctionName"]
    props: dict[str, Any] = {
        "statementId": statement,
        "action": found["Action"],
        "function": _said(prior, "function", aws.arn("lambda", f"function:{name}"))
        if "action" in prior
        else name,
        "qualifier": target.get("Qualifier"),
        "principal": who if isinstance(who, str) else next(iter(who.values())),
        "sourceArn": conditions.get("aws:sourcearn"),
        "sourceAccount": conditions.get("aws:sourceaccount"),
    }
    return {key: value for key, value in props.items() if value is not None}


def _forbid(aws: Aws, statement: str, state: Props) -> None:
    aws.call("lambda", "remove_permission", StatementId=statement, **_permitted(state))


PERMISSION = ResourceType(
    "aws:lambda/permission:Permission",
    inputs="action function principal qualifier sourceAccount sourceArn statementId",
    replaces="action function principal qualifier sourceAccount sourceArn statementId",
    name="statementId",
    scope="function",
    identity="function qualifier statementId",
    create=_permit,
    read=_read_permission,
    delete=_forbid,
)


def _create_mapping(aws: Aws, new: Props) -> str:
    return str(aws.call("lambda", "create_event_source_mapping", new)["UUID"])


def _read_mapping(aws: Aws, uuid: str, prior: Props) -> Props | None:
    found = aws.find("lambda", "get_event_source_mapping", UUID=uuid)
    if found is None or found["State"] == "Deleting":
        return None
    live = {key: value for key, value in found.items() if value not in ([], {}, "")}
    return {
        **MAPPING.props(
            {
                "Arn": found.get("EventSourceMappingArn")
                or aws.arn("lambda", f"event-source-mapping:{uuid}"),
                **live,
            }
        ),
        "functionName": _said(prior, "functionName", found["FunctionArn"]),
        "enabled": found["State"] not in ("Disabled", "Disabling"),
    }


def _update_mapping(aws: Aws, uuid: str, new: Props, old: Props) -> None:
    aws.call("lambda", "update_event_source_mapping", new, UUID=uuid)


def _delete_mapping(aws: Aws, uuid: str, state: Props) -> None:
    aws.call("lambda", "delete_event_source_mapping", UUID=uuid)


MAPPING = ResourceType(
    "aws:lambda/eventSourceMapping:EventSourceMapping",
    inputs="functionName eventSourceArn batchSize bisectBatchOnFunctionError enabled filterCriteria "
    "functionResponseTypes maximumBatchingWindowInSeconds maximumRecordAgeInSeconds maximumRetryAttempts "
    "parallelizationFactor scalingConfig startingPosition tags",
    outputs="arn functionArn lastModified state uuid",
    filled="batchSize maximumRecordAgeInSeconds maximumRetryAttempts parallelizationFactor",
    replaces="eventSourceArn startingPosition",
    defaults={"enabled": True},
    tags=tags.LAMBDA,
    create=_create_mapping,
    read=_read_mapping,
    update=_update_mapping,
    delete=_delete_mapping,
    recomputed=lambda changed, new: ["functionArn", "lastModified", "state"],
)


def _invoke(aws: Aws, new: Props) -> str:
    asked = {"FunctionName": new["functionName"], "Qualifier": new["qualifier"], "Payload": new["input"]}
    answer = aws.call("lambda", "invoke", **asked)
    if "FunctionError" in answer:
        said = answer["Payload"].read().decode()
        raise ClientError({"Error": {"Code": answer["FunctionError"], "Message": said}}, "Invoke")
    return f"{new['functionName']}:{new['qualifier']}"


def _invoked(aws: Aws, ref: str, prior: Props) -> Props:
    """A call that was made: nothing of it is there to be read, or to be deleted."""
    return dict(zip(("functionName", "qualifier"), ref.split(":"), strict=True))


INVOCATION = ResourceType(
    "aws:lambda/invocation:Invocation",
    inputs="functionName qualifier input triggers",
    local="input triggers",
    replaces="functionName qualifier input triggers",
    defaults={"qualifier": "$LATEST"},
    create=_invoke,
    read=_invoked,
    delete=lambda aws, ref, state: None,
)

TYPES = (FUNCTION, ALIAS, PERMISSION, MAPPING, INVOCATION)
