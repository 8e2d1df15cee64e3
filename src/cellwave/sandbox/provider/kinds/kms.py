"""KMS keys and aliases."""

from __future__ import annotations

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props

_KEY_NAMES = {"isEnabled": "Enabled", "customerMasterKeySpec": "KeySpec"}


def _create_key(aws: Aws, new: Props) -> str:
    return str(aws.call("kms", "create_key", new, _KEY_NAMES)["KeyMetadata"]["KeyId"])


def _read_key(aws: Aws, key: str, prior: Props) -> Props | None:
    found = aws.find("kms", "describe_key", KeyId=key)
    if found is None or found["KeyMetadata"]["KeyState"] == "PendingDeletion":
        return None
    rotation = aws.call("kms", "get_key_rotation_status", KeyId=key)
    return {
        **KEY.props(found["KeyMetadata"]),
        "enableKeyRotation": rotation["KeyRotationEnabled"],
        "policy": aws.call("kms", "get_key_policy", KeyId=key, PolicyName="default")["Policy"],
    }


def _update_key(aws: Aws, key: str, new: Props, old: Props) -> None:
    def changed(name: str) -> bool:
        return bool(new.get(name) != old.get(name))

    if changed("enableKeyRotation"):
        on = new.get("enableKeyRotation")
        aws.call("kms", "enable_key_rotation" if on else "disable_key_rotation", KeyId=key)
    if old and changed("description"):
        aws.call("kms", "update_key_description", KeyId=key, Description=new.get("description", ""))
    if old and changed("policy") and "policy" in new:
        aws.call("kms", "put_key_policy", KeyId=key, PolicyName="default", Policy=new["policy"])
    if new["isEnabled"] != old.get("isEnabled", True):
        aws.call("kms", "enable_key" if new["isEnabled"] else "disable_key", KeyId=key)


def _delete_key(aws: Aws, key: str, state: Props) -> None:
    aws.call(
        "kms", "schedule_key_deletion", KeyId=key, PendingWindowInDays=state.get("deletionWindowInDays", 30)
    )


KEY = ResourceType(
    "aws:kms/key:Key",
    inputs="description enableKeyRotation policy deletionWindowInDays isEnabled keyUsage customerMasterKeySpec "
    "multiRegion tags",
    outputs="arn keyId",
    local="deletionWindowInDays",
    filled="policy",
    replaces="keyUsage customerMasterKeySpec multiRegion",
    defaults={"isEnabled": True, "keyUsage": "ENCRYPT_DECRYPT", "customerMasterKeySpec": "SYMMETRIC_DEFAULT"},
    tags=tags.KMS,
    rename=_KEY_NAMES,
    create=_create_key,
    finish=True,
    read=_read_key,
    update=_update_key,
    delete=_delete_key,
)


def _create_alias(aws: Aws, new: Props) -> str:
    aws.call("kms", "create_alias", new, {"name": "AliasName"})
    return str(new["name"])


def _read_alias(aws: Aws, name: str, prior: Props) -> Props | None:
    pages = aws.client("kms").get_paginator("list_aliases").paginate()
    found = next((a for page in pages for a in page["Aliases"] if a["AliasName"] == name), None)
    if found is None:
        return None
    target = found["TargetKeyId"]
    # The program may have named the key by its ARN.
    said = prior.get("targetKeyId", "")
    return {
        "name": name,
        "arn": found["AliasArn"],
        "targetKeyId": said if said.endswith(f"key/{target}") else target,
        "targetKeyArn": aws.arn("kms", f"key/{target}"),
    }


def _update_alias(aws: Aws, name: str, new: Props, old: Props) -> None:
    aws.call("kms", "update_alias", new, {"name": "AliasName"})


def _delete_alias(aws: Aws, name: str, state: Props) -> None:
    aws.call("kms", "delete_alias", AliasName=name)


ALIAS = ResourceType(
    "aws:kms/alias:Alias",
    inputs="name targetKeyId",
    outputs="arn targetKeyArn",
    replaces="name",
    name="name",
    create=_create_alias,
    read=_read_alias,
    update=_update_alias,
    delete=_delete_alias,
    recomputed=lambda changed, new: ["targetKeyArn"],
)

TYPES = (KEY, ALIAS)
