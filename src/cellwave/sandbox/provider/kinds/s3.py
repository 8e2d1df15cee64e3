"""S3 buckets, the settings that hang on a bucket, and objects."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from cellwave.sandbox.provider.archive import archive_zip, asset_bytes
from cellwave.sandbox.provider.aws import Aws
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import ARCHIVE, SIGNATURE, Props


def _create_bucket(aws: Aws, new: Props) -> str:
    location = None if aws.region == "us-east-1" else {"LocationConstraint": aws.region}
    names = {"objectLockEnabled": "ObjectLockEnabledForBucket"}
    aws.call("s3", "create_bucket", new, names, CreateBucketConfiguration=location)
    return str(new["bucket"])


def _read_bucket(aws: Aws, bucket: str, prior: Props) -> Props | None:
    found = aws.find("s3", "head_bucket", Bucket=bucket)
    if found is None:
        return None
    region = found["BucketRegion"]
    lock = aws.find("s3", "get_object_lock_configuration", Bucket=bucket)
    tagging = aws.find("s3", "get_bucket_tagging", Bucket=bucket) or {"TagSet": []}
    return {
        "bucket": bucket,
        "objectLockEnabled": lock is not None,
        "tags": {tag["Key"]: tag["Value"] for tag in tagging["TagSet"]},
        "arn": f"arn:aws:s3:::{bucket}",
        "bucketRegion": region,
        "bucketDomainName": f"{bucket}.s3.amazonaws.com",
        "bucketRegionalDomainName": f"{bucket}.s3.{region}.amazonaws.com",
    }


def _update_bucket(aws: Aws, bucket: str, new: Props, old: Props) -> None:
    if new.get("tags"):
        aws.call("s3", "put_bucket_tagging", {"tagging": {"tagSet": new["tags"]}}, Bucket=bucket)
    elif old.get("tags"):
        aws.call("s3", "delete_bucket_tagging", Bucket=bucket)


def _delete_bucket(aws: Aws, bucket: str, state: Props) -> None:
    if state.get("forceDestroy"):
        _empty(aws, bucket, locked=state.get("objectLockEnabled", False))
    aws.call("s3", "delete_bucket", Bucket=bucket)


def _empty(aws: Aws, bucket: str, *, locked: bool) -> None:
    """Delete every version of every object; what COMPLIANCE mode still retains stays, and so does the bucket."""
    bypass = True if locked else None
    for page in aws.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        doomed = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found]
        if doomed:
            delete = {"Objects": doomed, "Quiet": True}
            aws.call("s3", "delete_objects", Bucket=bucket, Delete=delete, BypassGovernanceRetention=bypass)


BUCKET = ResourceType(
    "aws:s3/bucket:Bucket",
    inputs="bucket forceDestroy objectLockEnabled tags",
    outputs="arn bucketDomainName bucketRegion bucketRegionalDomainName",
    local="forceDestroy",
    replaces="bucket objectLockEnabled",
    name="bucket",
    upsert=lambda aws, new: new["bucket"],
    create=_create_bucket,
    finish=True,
    read=_read_bucket,
    update=_update_bucket,
    delete=_delete_bucket,
)


Shape = Callable[[Any], Any]


def _setting(
    token: str,
    inputs: str,
    put: str,
    get: str,
    erase: str = "",
    *,
    to: Shape = lambda new: new,
    of: Shape = lambda answer: answer,
    **facts: Any,
) -> ResourceType:
    """A setting of a bucket: one call puts it and another gets it, as a whole.

    `to` gives the inputs the form that the API takes, `of` gives its answer the form of the inputs; falsy: not set.
    """

    def write(aws: Aws, bucket: str, new: Props, old: Props) -> None:
        aws.call("s3", put, to({key: value for key, value in new.items() if key != "bucket"}), Bucket=bucket)

    def create(aws: Aws, new: Props) -> str:
        write(aws, new["bucket"], new, {})
        return str(new["bucket"])

    def read(aws: Aws, bucket: str, prior: Props) -> Props | None:
        found = of(aws.find("s3", get, Bucket=bucket) or {})
        return {"bucket": bucket, **kind.props(found)} if found else None

    def remove(aws: Aws, bucket: str, state: Props) -> None:
        if erase:
            aws.call("s3", erase, Bucket=bucket)

    calls = {"create": create, "read": read, "update": write, "delete": remove}
    kind = ResourceType(token, f"bucket {inputs}", replaces="bucket", **{**calls, **facts})
    return kind


def _within(name: str) -> dict[str, Any]:
    """The API takes and gives the setting inside a structure of this name."""
    return {"to": lambda new: {name: new}, "of": lambda answer: answer.get(name)}


def _suspend(aws: Aws, bucket: str, state: Props) -> None:
    """Versioning can't be removed, and where Object Lock is on it can't even be suspended."""
    if aws.find("s3", "get_object_lock_configuration", Bucket=bucket) is None:
        aws.call(
            "s3", "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
        )


def _unlock(aws: Aws, bucket: str, state: Props) -> None:
    """The bucket keeps its Object Lock for ever; what goes is the default retention."""
    if aws.find("s3", "head_bucket", Bucket=bucket) is not None:
        enabled = {"ObjectLockEnabled": "Enabled"}
        aws.call("s3", "put_object_lock_configuration", Bucket=bucket, ObjectLockConfiguration=enabled)


def _to_rules(new: Props) -> Props:
    """Every rule needs a filter; a rule without one is for the whole bucket."""
    rules = [rule if "prefix" in rule else {"filter": {"prefix": ""}, **rule} for rule in new["rules"]]
    return {"lifecycleConfiguration": {"rules": rules}}


_TARGETS = {
    "queues": ("QueueConfigurations", "queueArn", "QueueArn"),
    "topics": ("TopicConfigurations", "topicArn", "TopicArn"),
    "lambdaFunctions": ("LambdaFunctionConfigurations", "lambdaFunctionArn", "LambdaFunctionArn"),
}


def _to_notifications(new: Props) -> Props:
    def one(item: Props, arn: str) -> Props:
        rules = {end: item[f"filter{end}"] for end in ("Prefix", "Suffix") if f"filter{end}" in item}
        filters = {"filter": {"key": {"filterRules": rules}}} if rules else {}
        return {key: item[key] for key in ("id", "events", arn) if key in item} | filters

    found = {api: [one(item, arn) for item in new.get(prop, ())] for prop, (api, arn, _) in _TARGETS.items()}
    on: Props = {"eventBridgeConfiguration": {}} if new.get("eventbridge") else {}
    return {"notificationConfiguration": {api: items for api, items in found.items() if items} | on}


def _of_notifications(answer: Any) -> Any:
    def one(item: Any, arn: str) -> Props:
        rules = item.get("Filter", {}).get("Key", {}).get("FilterRules", ())
        return {"id": item["Id"], "events": item["Events"], arn: item[arn]} | {
            f"filter{rule['Name'].capitalize()}": rule["Value"] for rule in rules
        }

    found = {
        prop: [one(item, arn) for item in answer.get(api, ())] for prop, (api, _, arn) in _TARGETS.items()
    }
    on = {"eventbridge": True} if "EventBridgeConfiguration" in answer else {}
    return {prop: items for prop, items in found.items() if items} | on


def _quiet(aws: Aws, bucket: str, state: Props) -> None:
    aws.call("s3", "put_bucket_notification_configuration", Bucket=bucket, NotificationConfiguration={})


SETTINGS = (
    _setting(
        "aws:s3/bucketVersioning:BucketVersioning",
        "versioningConfiguration",
        "put_bucket_versioning",
        "get_bucket_versioning",
        of=lambda answer: {"versioningConfiguration": answer} if answer.get("Status") else None,
        delete=_suspend,
    ),
    _setting(
        "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration",
        "objectLockEnabled rule",
        "put_object_lock_configuration",
        "get_object_lock_configuration",
        **_within("ObjectLockConfiguration"),
        delete=_unlock,
        defaults={"objectLockEnabled": "Enabled"},
    ),
    _setting(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "rules",
        "put_bucket_lifecycle_configuration",
        "get_bucket_lifecycle_configuration",
        "delete_bucket_lifecycle",
        to=_to_rules,
    ),
    _setting(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets",
        "put_public_access_block",
        "get_public_access_block",
        "delete_public_access_block",
        **_within("PublicAccessBlockConfiguration"),
    ),
    _setting(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "rules",
        "put_bucket_encryption",
        "get_bucket_encryption",
        "delete_bucket_encryption",
        **_within("ServerSideEncryptionConfiguration"),
    ),
    _setting(
        "aws:s3/bucketNotification:BucketNotification",
        "queues topics lambdaFunctions eventbridge",
        "put_bucket_notification_configuration",
        "get_bucket_notification_configuration",
        to=_to_notifications,
        of=_of_notifications,
        delete=_quiet,
    ),
    _setting(
        "aws:s3/bucketPolicy:BucketPolicy",
        "policy",
        "put_bucket_policy",
        "get_bucket_policy",
        "delete_bucket_policy",
    ),
)


def _body(new: Props) -> bytes:
    if "contentBase64" in new:
        return base64.b64decode(new["contentBase64"])
    source = new.get("source")
    if source is None:
        return str(new.get("content", "")).encode()
    return archive_zip(source) if source[SIGNATURE] == ARCHIVE else asset_bytes(source)


def _put_object(aws: Aws, ref: str, new: Props, old: Props) -> None:
    tagging = urlencode(new["tags"]) if new.get("tags") else None
    plain = {key: value for key, value in new.items() if key != "tags"}
    aws.call("s3", "put_object", plain, _OBJECT_NAMES, Body=_body(new), Tagging=tagging)


def _object_id(aws: Aws, new: Props) -> str:
    return f"{new['bucket']}/{new['key']}"


def _read_object(aws: Aws, ref: str, prior: Props) -> Props | None:
    bucket, key = ref.split("/", 1)
    found = aws.find("s3", "head_object", Bucket=bucket, Key=key)
    if found is None:
        return None
    tags = aws.call("s3", "get_object_tagging", Bucket=bucket, Key=key)["TagSet"]
    return {
        **OBJECT.props({**found, "ETag": found["ETag"].strip('"')}),
        "bucket": bucket,
        "key": key,
        "tags": {tag["Key"]: tag["Value"] for tag in tags},
        "arn": f"arn:aws:s3:::{ref}",
    }


def _delete_object(aws: Aws, ref: str, state: Props) -> None:
    bucket, key = ref.split("/", 1)
    aws.call("s3", "delete_object", Bucket=bucket, Key=key)


_OBJECT_NAMES = {"kmsKeyId": "SSEKMSKeyId", "websiteRedirect": "WebsiteRedirectLocation"}

OBJECT = ResourceType(
    "aws:s3/bucketObjectv2:BucketObjectv2",
    inputs="bucket key content contentBase64 source sourceHash contentType contentEncoding cacheControl metadata "
    "serverSideEncryption kmsKeyId storageClass tags",
    outputs="arn etag versionId",
    local="sourceHash",
    witness=dict.fromkeys(("content", "contentBase64", "source"), "etag"),
    filled="serverSideEncryption",
    replaces="bucket key",
    name="key",
    identity="bucket key",
    defaults={"contentType": "application/octet-stream", "storageClass": "STANDARD"},
    upsert=_object_id,
    rename=_OBJECT_NAMES,
    read=_read_object,
    update=_put_object,
    delete=_delete_object,
    recomputed=lambda changed, new: ["etag", "versionId"],
)

TYPES = (BUCKET, *SETTINGS, OBJECT)
