"""SNS topics."""

from __future__ import annotations

from cellwave.sandbox.provider import tags
from cellwave.sandbox.provider.aws import Aws, text
from cellwave.sandbox.provider.model import ResourceType
from cellwave.sandbox.provider.values import Props

_SETTABLE = ("displayName", "kmsMasterKeyId", "policy", "deliveryPolicy", "contentBasedDeduplication")


def _attribute(prop: str) -> str:
    return prop[0].upper() + prop[1:]


def _create(aws: Aws, new: Props) -> str:
    given = {_attribute(p): text(new[p]) for p in (*_SETTABLE, "fifoTopic") if p in new}
    return str(aws.call("sns", "create_topic", new, Attributes=given)["TopicArn"])


def _existing(aws: Aws, new: Props) -> str:
    return aws.arn("sns", new["name"])


def _read(aws: Aws, arn: str, prior: Props) -> Props | None:
    found = aws.find("sns", "get_topic_attributes", TopicArn=arn)
    return found and {**TOPIC.props(found["Attributes"]), "name": arn.rsplit(":", 1)[-1], "arn": arn}


def _update(aws: Aws, arn: str, new: Props, old: Props) -> None:
    for prop in _SETTABLE:
        if new.get(prop) != old.get(prop):
            value = text(new.get(prop, ""))
            aws.call(
                "sns",
                "set_topic_attributes",
                TopicArn=arn,
                AttributeName=_attribute(prop),
                AttributeValue=value,
            )


def _delete(aws: Aws, arn: str, state: Props) -> None:
    aws.call("sns", "delete_topic", TopicArn=arn)


TOPIC = ResourceType(
    "aws:sns/topic:Topic",
    inputs="name displayName kmsMasterKeyId policy deliveryPolicy fifoTopic contentBasedDeduplication tags",
    outputs="arn owner",
    filled="policy",
    replaces="name fifoTopic",
    name="name",
    tags=tags.SNS,
    upsert=_existing,
    create=_create,
    read=_read,
    update=_update,
    delete=_delete,
)

TYPES = (TOPIC,)
