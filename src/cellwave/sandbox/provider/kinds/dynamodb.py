"""DynamoDB tables."""

from __future__ import annotations

from typing import Any

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props


def _keys(item: Props) -> list[dict[str, str]]:
    """The key schema of a table or an index."""
    if "keySchemas" in item:
        return [{"AttributeName": k["attributeName"], "KeyType": k["keyType"]} for k in item["keySchemas"]]
    pairs = (("HASH", item.get("hashKey")), ("RANGE", item.get("rangeKey")))
    return [{"AttributeName": name, "KeyType": kind} for kind, name in pairs if name]


def _capacity(item: Props, mode: str) -> Any:
    if mode == "PAY_PER_REQUEST":
        return None
    return {
        "ReadCapacityUnits": item.get("readCapacity", 1),
        "WriteCapacityUnits": item.get("writeCapacity", 1),
    }


def _index(item: Props, mode: str) -> Props:
    projection = {"ProjectionType": item["projectionType"], "NonKeyAttributes": item.get("nonKeyAttributes")}
    index = {
        "IndexName": item["name"],
        "KeySchema": _keys(item),
        "Projection": {key: value for key, value in projection.items() if value},
        "ProvisionedThroughput": _capacity(item, mode),
    }
    return {key: value for key, value in index.items() if value}


def _attributes(new: Props) -> list[dict[str, str]]:
    return [{"AttributeName": a["name"], "AttributeType": a["type"]} for a in new.get("attributes", ())]


def _encryption(new: Props) -> Props | None:
    said = new.get("serverSideEncryption")
    if not said or not said["enabled"]:
        return {"Enabled": False} if said else None
    key = {"KMSMasterKeyId": said["kmsKeyArn"]} if "kmsKeyArn" in said else {}
    return {"Enabled": True, "SSEType": "KMS", **key}


def _stream(new: Props) -> Props | None:
    if not new.get("streamEnabled"):
        return None
    return {"StreamEnabled": True, "StreamViewType": new.get("streamViewType", "NEW_AND_OLD_IMAGES")}


def _create(aws: Aws, new: Props) -> str:
    mode = new["billingMode"]
    aws.call(
        "dynamodb",
        "create_table",
        {
            key: new[key]
            for key in ("name", "billingMode", "deletionProtectionEnabled", "tableClass", "tags")
            if key in new
        },
        {"name": "TableName"},
        AttributeDefinitions=_attributes(new),
        KeySchema=_keys(new),
        GlobalSecondaryIndexes=[_index(item, mode) for item in new.get("globalSecondaryIndexes", ())] or None,
        LocalSecondaryIndexes=[
            _index({**item, "hashKey": new["hashKey"]}, "PAY_PER_REQUEST")
            for item in new.get("localSecondaryIndexes", ())
        ]
        or None,
        ProvisionedThroughput=_capacity(new, mode),
        SSESpecification=_encryption(new),
        StreamSpecification=_stream(new),
    )
    return str(new["name"])


def _update(aws: Aws, name: str, new: Props, old: Props) -> None:
    _wait(aws, name)
    if old:
        _update_table(aws, name, new, old)
        _update_indexes(aws, name, new, old)
    if (ttl := new.get("ttl")) != (before := old.get("ttl")) and (ttl or before):
        said = ttl or {**(before or {}), "enabled": False}
        setting = {"Enabled": said.get("enabled", False), "AttributeName": said["attributeName"]}
        aws.call("dynamodb", "update_time_to_live", TableName=name, TimeToLiveSpecification=setting)
    if new.get("pointInTimeRecovery") != old.get("pointInTimeRecovery"):
        said = new.get("pointInTimeRecovery", {"enabled": False})
        spec = {"pointInTimeRecoverySpecification": {**said, "pointInTimeRecoveryEnabled": said["enabled"]}}
        aws.call("dynamodb", "update_continuous_backups", spec, TableName=name)


def _update_table(aws: Aws, name: str, new: Props, old: Props) -> None:
    """The settings of the table itself; AWS refuses a call that changes nothing."""
    mode, before = new["billingMode"], old["billingMode"]
    capacity, had = _capacity(new, mode), _capacity(old, before)
    changes = {
        "BillingMode": mode if mode != before else None,
        "ProvisionedThroughput": capacity if capacity != had else None,
        "SSESpecification": _encryption(new) or {"Enabled": False}
        if _encryption(new) != _encryption(old)
        else None,
        "StreamSpecification": _stream(new) or {"StreamEnabled": False}
        if _stream(new) != _stream(old)
        else None,
    }
    for prop, member in (
        ("deletionProtectionEnabled", "DeletionProtectionEnabled"),
        ("tableClass", "TableClass"),
    ):
        if new.get(prop) != old.get(prop):
            changes[member] = new.get(prop, False)
    if any(value is not None for value in changes.values()):
        aws.call("dynamodb", "update_table", TableName=name, **changes)
        _wait(aws, name)


def _update_indexes(aws: Aws, name: str, new: Props, old: Props) -> None:
    """AWS takes one index a call; a changed one goes and comes again."""
    after, before = (
        {item["name"]: _index(item, props["billingMode"]) for item in props.get("globalSecondaryIndexes", ())}
        for props in (new, old)
    )
    gone = [{"Delete": {"IndexName": key}} for key in before if before[key] != after.get(key)]
    come = [{"Create": after[key]} for key in after if after[key] != before.get(key)]
    for change in (*gone, *come):
        attributes = _attributes(new) if "Create" in change else None
        aws.call(
            "dynamodb",
            "update_table",
            TableName=name,
            AttributeDefinitions=attributes,
            GlobalSecondaryIndexUpdates=[change],
        )
        _wait(aws, name)


def _wait(aws: Aws, name: str) -> None:
    aws.wait("dynamodb", "table_exists", TableName=name)


def _read(aws: Aws, name: str, prior: Props) -> Props | None:
    answer = aws.find("dynamodb", "describe_table", TableName=name)
    if answer is None or answer["Table"]["TableStatus"] == "DELETING":
        return None
    found = answer["Table"]
    mode = found.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    encryption = found.get("SSEDescription", {})
    stream = found.get("StreamSpecification", {})
    props = {
        **TABLE.props({"Arn": found["TableArn"], **found}),
        **_read_keys(found["KeySchema"]),
        "billingMode": mode,
        "attributes": [
            {"name": a["AttributeName"], "type": a["AttributeType"]} for a in found["AttributeDefinitions"]
        ],
        "globalSecondaryIndexes": _read_indexes(found.get("GlobalSecondaryIndexes", ()), mode, prior),
        "localSecondaryIndexes": [
            {k: v for k, v in item.items() if k != "hashKey"}
            for item in _read_indexes(found.get("LocalSecondaryIndexes", ()), "PAY_PER_REQUEST", {})
        ],
        "tableClass": found.get("TableClassSummary", {}).get("TableClass", "STANDARD"),
        "streamEnabled": stream.get("StreamEnabled", False),
        "streamViewType": stream.get("StreamViewType"),
        "streamArn": found.get("LatestStreamArn"),
        "streamLabel": found.get("LatestStreamLabel"),
        **_read_capacity(found, mode),
        **_read_extras(aws, name),
    }
    if encryption.get("Status") in ("ENABLED", "ENABLING"):
        key = {"kmsKeyArn": encryption["KMSMasterKeyArn"]} if encryption.get("KMSMasterKeyArn") else {}
        props["serverSideEncryption"] = {"enabled": True, **key}
    return {key: value for key, value in props.items() if value not in (None, [])}


def _read_keys(schema: Any) -> Props:
    names = {"HASH": "hashKey", "RANGE": "rangeKey"}
    return {names[key["KeyType"]]: key["AttributeName"] for key in schema}


def _read_capacity(found: Any, mode: str) -> Props:
    if mode == "PAY_PER_REQUEST":
        return {}
    units = found["ProvisionedThroughput"]
    return {"readCapacity": units["ReadCapacityUnits"], "writeCapacity": units["WriteCapacityUnits"]}


def _read_indexes(found: Any, mode: str, prior: Props) -> list[Props]:
    """The indexes as properties; keys are said as the program said them (`keySchemas`, or hash and range key)."""
    said = {item["name"]: item for item in prior.get("globalSecondaryIndexes", ())}
    indexes = []
    for item in found:
        schema = [{"attributeName": k["AttributeName"], "keyType": k["KeyType"]} for k in item["KeySchema"]]
        as_schema = "keySchemas" in said.get(item["IndexName"], {})
        indexes.append(
            {
                "name": item["IndexName"],
                "projectionType": item["Projection"]["ProjectionType"],
                **({"keySchemas": schema} if as_schema else _read_keys(item["KeySchema"])),
                **_read_capacity(item, mode),
                **({"nonKeyAttributes": n} if (n := item["Projection"].get("NonKeyAttributes")) else {}),
            }
        )
    return indexes


def _read_extras(aws: Aws, name: str) -> Props:
    ttl = aws.call("dynamodb", "describe_time_to_live", TableName=name)["TimeToLiveDescription"]
    backups = aws.call("dynamodb", "describe_continuous_backups", TableName=name)[
        "ContinuousBackupsDescription"
    ]
    recovery = backups["PointInTimeRecoveryDescription"]
    props: Props = {}
    if ttl["TimeToLiveStatus"] in ("ENABLED", "ENABLING"):
        props["ttl"] = {"attributeName": ttl["AttributeName"], "enabled": True}
    if recovery["PointInTimeRecoveryStatus"] == "ENABLED":
        props["pointInTimeRecovery"] = {"enabled": True}
    return props


def _delete(aws: Aws, name: str, state: Props) -> None:
    aws.call("dynamodb", "delete_table", TableName=name)
    aws.wait("dynamodb", "table_not_exists", TableName=name)


TABLE = ResourceType(
    "aws:dynamodb/table:Table",
    inputs="name attributes billingMode hashKey rangeKey readCapacity writeCapacity globalSecondaryIndexes "
    "localSecondaryIndexes ttl serverSideEncryption pointInTimeRecovery streamEnabled streamViewType tableClass "
    "deletionProtectionEnabled tags",
    outputs="arn streamArn streamLabel",
    replaces="name hashKey rangeKey localSecondaryIndexes",
    name="name",
    defaults={"billingMode": "PROVISIONED", "tableClass": "STANDARD"},
    tags=tags.DYNAMODB,
    rename={"name": "TableName"},
    create=_create,
    finish=True,
    read=_read,
    update=_update,
    delete=_delete,
    recomputed=lambda changed, new: ["streamArn", "streamLabel"] if "streamEnabled" in changed else [],
)

TYPES = (TABLE,)
