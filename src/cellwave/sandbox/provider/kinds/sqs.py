"""SQS queues and their policies."""

from __future__ import annotations

from typing import Any

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws, text
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props

# The attributes whose names the API and Pulumi spell differently; the others agree.
_RENAME = {
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "arn": "QueueArn",
}
_DEFAULTS = {
    "delaySeconds": 0,
    "maxMessageSize": 262144,
    "messageRetentionSeconds": 345600,
    "receiveWaitTimeSeconds": 0,
    "visibilityTimeoutSeconds": 30,
}


def _attributes(props: Props) -> dict[str, str]:
    return {
        _RENAME.get(key, key[0].upper() + key[1:]): text(value)
        for key, value in props.items()
        if key not in ("name", "tags", "region")
    }


def _create(aws: Aws, new: Props) -> str:
    return str(
        aws.call("sqs", "create_queue", new, {"name": "QueueName"}, Attributes=_attributes(new))["QueueUrl"]
    )


def _existing(aws: Aws, new: Props) -> str | None:
    found = aws.find("sqs", "get_queue_url", QueueName=new["name"])
    return found["QueueUrl"] if found else None


def _read(aws: Aws, url: str, prior: Props) -> Props | None:
    found = attributes(aws, url)
    return None if found is None else {**QUEUE.props(found), "name": url.rsplit("/", 1)[-1], "url": url}


def attributes(aws: Aws, url: str) -> dict[str, Any] | None:
    """A queue's attributes, None when there is no such queue."""
    found = aws.find("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    return None if found is None else found.get("Attributes", {})


def _update(aws: Aws, url: str, new: Props, old: Props) -> None:
    changed = _attributes(new)
    # An attribute taken back is emptied: the defaults are already in `new`.
    changed |= dict.fromkeys(_attributes(old).keys() - changed.keys(), "")
    aws.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes=changed)


def _delete(aws: Aws, url: str, state: Props) -> None:
    aws.call("sqs", "delete_queue", QueueUrl=url)


QUEUE = ResourceType(
    "aws:sqs/queue:Queue",
    inputs="name delaySeconds maxMessageSize messageRetentionSeconds receiveWaitTimeSeconds visibilityTimeoutSeconds "
    "fifoQueue contentBasedDeduplication deduplicationScope fifoThroughputLimit kmsMasterKeyId policy "
    "kmsDataKeyReusePeriodSeconds sqsManagedSseEnabled redrivePolicy redriveAllowPolicy tags",
    outputs="arn url",
    filled="policy redrivePolicy redriveAllowPolicy kmsDataKeyReusePeriodSeconds sqsManagedSseEnabled",
    replaces="name fifoQueue",
    name="name",
    defaults=_DEFAULTS,
    tags=tags.SQS,
    upsert=_existing,
    rename=_RENAME,
    create=_create,
    read=_read,
    update=_update,
    delete=_delete,
)


def _attribute_type(token: str, prop: str, attribute: str) -> ResourceType:
    """A resource that is one attribute of a queue."""

    def put(aws: Aws, url: str, new: Props, old: Props) -> None:
        aws.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes={attribute: new[prop]})

    def create(aws: Aws, new: Props) -> str:
        put(aws, new["queueUrl"], new, {})
        return str(new["queueUrl"])

    def read(aws: Aws, url: str, prior: Props) -> Props | None:
        value = (attributes(aws, url) or {}).get(attribute)
        return {"queueUrl": url, prop: value} if value else None

    def delete(aws: Aws, url: str, state: Props) -> None:
        aws.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes={attribute: ""})

    return ResourceType(
        token,
        inputs=f"queueUrl {prop}",
        replaces="queueUrl",
        create=create,
        read=read,
        update=put,
        delete=delete,
    )


TYPES = (
    QUEUE,
    _attribute_type("aws:sqs/queuePolicy:QueuePolicy", "policy", "Policy"),
    _attribute_type("aws:sqs/redrivePolicy:RedrivePolicy", "redrivePolicy", "RedrivePolicy"),
)
